// Records the frames between clients and a real hub if HUB_FRAMES names a folder: a line for each frame, in a file
// for each process. protocol.test.js reads it.

import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const { HUB_FRAMES: folder } = process.env;
if (folder) mkdirSync(folder, { recursive: true });
const file = folder && join(folder, `web-${process.pid}-${Date.now()}.jsonl`);
let count = 0;

/** A function that records a frame of one connection: its sender and its text. */
function recorder() {
  const connection = ++count;
  return (by, data) => {
    const line = { channel: "socket", connection, by, text: String(data) };
    if (file) appendFileSync(file, `${JSON.stringify(line)}\n`);
  };
}

/** The class of sockets, with its frames recorded. */
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

/** Records the frames of a browser's pages. Sockets that a test answers do not reach the network and are left out. */
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
