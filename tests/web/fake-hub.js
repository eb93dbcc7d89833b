// A small hub on loopback for the client's tests, which does as it should until a test tells it not to.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

export class FakeHub {
  /** Every handshake that was let through, in order; those still open are in `open`. */
  handshakes = [];
  open = new Set();
  /** Frames that clients have sent, in order: { link, frame }. */
  frames = [];

  // What a test may change.
  refuse = false; // Handshakes are answered with 400.
  hang = false; // Handshakes are not answered.
  mute = false; // Frames are read, and neither answered nor passed on.
  greeting = { type: "pong" }; // The answer to a connection's first ping.
  /** Takes a frame instead of the hub; returning true says that it is dealt with. */
  intercept = () => false;

  #server;
  #sockets = new Set();

  static async start(port = 0) {
    const hub = new FakeHub();
    hub.#server = createServer();
    hub.#server.on("connection", (socket) => {
      hub.#sockets.add(socket);
      socket.on("close", () => hub.#sockets.delete(socket));
    });
    const verifyClient = (_, answer) => hub.hang || answer(!hub.refuse, 400);
    const sockets = new WebSocketServer({ server: hub.#server, verifyClient });
    sockets.on("connection", (socket, request) => hub.#connected(socket, request));
    await new Promise((resolve) => hub.#server.listen(port, "127.0.0.1", resolve));
    hub.url = `ws://127.0.0.1:${hub.#server.address().port}/live`;
    return hub;
  }

  /** Stops listening and cuts every connection, as a crash would. */
  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  cut() {
    for (const { socket } of this.open) socket.terminate();
  }

  #connected(socket, request) {
    const query = new URL(request.url, this.url).searchParams;
    const link = {
      socket,
      session: query.get("session_id"),
      query: Object.fromEntries(query),
      number: this.handshakes.push(query),
      say: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    };
    this.open.add(link);
    socket.on("close", () => this.open.delete(link));
    socket.on("error", () => {});
    socket.on("message", (data) => {
      const frame = JSON.parse(data);
      // The ping that every connection begins with is not counted.
      if (!link.greeted && frame.action === "ping") {
        link.greeted = true;
        if (!this.mute) link.say(this.greeting);
        return;
      }
      this.frames.push({ link, frame });
      if (!this.mute && !this.intercept(link, frame)) this.answer(link, frame);
    });
  }

  answer(link, frame) {
    if (frame.action === "ping") link.say({ type: "pong" });
    else if (frame.action === "sendMessage") link.say(this.deliver(link.session, frame));
    else link.say({ type: "error", code: "unknown_action", message: "no such action" });
  }

  /** Delivers, and returns the receipt. */
  deliver(from, { id, sessions, message }) {
    const delivery = { type: "message", id, from, message, sent_at: new Date().toISOString() };
    const tallies = sessions.map((session) => {
      const links = [...this.open].filter((link) => link.session === session);
      for (const link of links) link.say(delivery);
      return { session, delivered: links.length, gone: 0, failed: 0 };
    });
    const delivered = tallies.reduce((sum, tally) => sum + tally.delivered, 0);
    return { type: "receipt", id, delivered, gone: 0, failed: 0, sessions: tallies };
  }

  /** The messages that clients have sent, leaving out pings. */
  get sent() {
    return this.frames.map(({ frame }) => frame).filter(({ action }) => action === "sendMessage");
  }

  get pings() {
    return this.frames.filter(({ frame }) => frame.action === "ping").length;
  }
}
