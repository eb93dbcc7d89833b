// Writes down what passes between clients and a real hub where HUB_FRAMES names a folder: a line for each frame, in a file of
// this process. protocol.test.js reads it.

import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const { HUB_FRAMES: folder } = process.env;
if (folder) mkdirSync(folder, { recursive: true });
const file = folder && join(folder, `web-${process.pid}-${Date.now()}.jsonl`);
let count = 0;

/** A function that takes a connection's frames: who has sent it, and what it is. */
function recorder() {
  const connection = ++count;
  return (by, data) => {
    const line = { channel: "socket", connection, by, text: String(data) };
    if (file) appendFileSync(file, `${JSON.stringify(line)}\n`);
  };
}

/** That class of sockets, whose frames are written down. */
export function recorded(WebSocket) {
  return class extends WebSocket {
    #record = recorder();

    constructor(...args) {
      super(...args);
      this.addEventListener("message", ({ data }) => this.#record("hub", data));
    }

    send(data) {
      this.#record("client", data);
      super.send(data);
    }
  };
}

/** Writes down the frames of a browser's pages. Those of sockets that a test answers are none of the network's. */
export function recordPages(context) {
  context.on("page", (page) => {
    page.on("websocket", (socket) => {
      const record = recorder();
      socket.on("framesent", ({ payload }) => record("client", payload));
      socket.on("framereceived", ({ payload }) => record("hub", payload));
    });
  });
  return context;
}
