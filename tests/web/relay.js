// Real sockets for hubs in another runtime: a server that a control connection directs.

import { createServer, STATUS_CODES } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

/** Listens on loopback. A test's runtime connects to `url`, and requests listeners. */
export async function startRelay() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("connection", control);
  await new Promise((resolve, reject) => server.once("listening", resolve).once("error", reject));
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    stop: () => {
      for (const socket of server.clients) socket.terminate();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One runtime's listeners and connections, until it disconnects. */
function control(socket) {
  const listeners = new Map();
  const connections = new Map();
  const tell = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  socket.on("message", async (data) => {
    const { call, command, hub, id, ...rest } = JSON.parse(data);
    let result;
    if (command === "create") {
      const listener = new Listener(hub, connections, tell);
      listeners.set(hub, listener);
      result = await listener.start();
    } else if (hub !== undefined) {
      result = await listeners.get(hub)[command](rest);
    } else {
      // A runtime that has disconnected gets nothing more.
      connections.get(id)?.[command]?.(rest);
    }
    if (call !== undefined) tell({ result: call, value: result });
  });
  socket.on("close", () => listeners.forEach((listener) => listener.stop()));
}

let count = 0;

class Listener {
  #hub;
  #connections;
  #tell;
  #server = createServer();
  #sockets = new Set();
  #port = 0;
  #silent = false;

  constructor(hub, connections, tell) {
    this.#hub = hub;
    this.#connections = connections;
    this.#tell = tell;
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("upgrade", (request, socket, head) => this.#handshake(request, socket, head));
  }

  async start() {
    await new Promise((resolve, reject) => {
      this.#server.once("error", reject).listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = this.#server.address().port;
    return this.#port;
  }

  /** Stops listening and cuts every connection, as a crash would. */
  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Whether closing handshakes are left without an answer. */
  silence({ silent }) {
    this.#silent = silent;
  }

  #handshake(request, socket, head) {
    const id = ++count;
    const leave = () => {
      this.#connections.delete(id);
      this.#tell({ id, event: "closed" });
    };
    socket.on("close", leave);
    this.#connections.set(id, {
      accept: ({ protocol }) => {
        socket.off("close", leave);
        const server = new WebSocketServer({ noServer: true, handleProtocols: () => protocol });
        server.handleUpgrade(request, socket, head, (opened) => {
          this.#connections.set(id, this.#connection(opened));
          opened.on("message", (data, binary) => {
            const content = binary ? { binary: data.toString("base64") } : { data: data.toString() };
            this.#tell({ id, event: "frame", ...content });
          });
          opened.on("error", () => {});
          opened.on("close", leave);
        });
      },
      refuse: ({ status }) => {
        const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, "Connection: close", "Content-Length: 0"];
        socket.end([...head, "", ""].join("\r\n"));
      },
    });
    const protocols = request.headers["sec-websocket-protocol"]?.split(/, */) ?? [];
    this.#tell({ id, event: "handshake", hub: this.#hub, url: request.url, protocols });
  }

  #connection(socket) {
    const close = socket.close.bind(socket);
    // The package answers a closing handshake by this method.
    socket.close = (...args) => this.#silent || close(...args);
    return {
      frame: ({ data, binary }) => socket.send(binary === undefined ? data : Buffer.from(binary, "base64")),
      close: ({ code, reason }) => close(code, reason),
      terminate: () => socket.terminate(),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    };
  }
}
