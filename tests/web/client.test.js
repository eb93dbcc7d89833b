// The client's own tests. run.js runs them in each runtime, and over each kind of socket.

import "./client/sockets.js";
