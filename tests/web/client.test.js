// The client's tests. run.js runs them in each runtime, and over each kind of socket.

import "./client/sockets.js";
import "./client/connecting.js";
import "./client/sending.js";
import "./client/receiving.js";
import "./client/tokens.js";
import "./client/renewal.js";
import "./client/refusals.js";
import "./client/handover.js";
import "./client/subscriptions/listening.js";
import "./client/subscriptions/refusals.js";
import "./client/subscriptions/connections.js";
import "./client/subscriptions/order.js";
import "./client/hello.js";
import "./client/order.js";
import "./client/history.js";
import "./client/losses.js";
import "./client/ending.js";
import "./client/promises.js";
import "./client/throttling.js";
import "./client/browser-events.js";
import "./client/limits.js";
import "./client/together.js";
import "./client/random.js";
