// The hooks, with the newest React and the oldest that they work with. The tests are in react/.

import "./react/connecting.js";
import "./react/messages.js";
import "./react/rendering.js";
import { runWith } from "./react/setup.js";

runWith("19", { react: "react", "react-dom": "react-dom" });
runWith("18", { react: "react-18/node_modules/react", "react-dom": "react-18/node_modules/react-dom" });
