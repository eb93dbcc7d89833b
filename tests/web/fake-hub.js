// A small hub on loopback for the client's tests, which does as it should until a test tells it not to.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

export class FakeHub {
  /** Every handshake that came: { url, query, protocols, token }. */
  attempts = [];
  /** The query of every handshake that was let through, in order; those still open are in `open`. */
  handshakes = [];
  open = new Set();
  /** Frames that clients have sent, in order: { link, frame }. */
  frames = [];

  // What a test may change.
  refuse = false; // Handshakes are answered with this status; true is 400.
  auth = false; // Handshakes need a JWT that has not ended; others are answered with 403.
  now = () => Date.now();
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
    const verifyClient = ({ req }, answer) => {
      const { token } = (req.attempt = hub.#attempt(req));
      const status = hub.refuse === true ? 400 : hub.refuse || (hub.auth && !(endOf(token) > hub.now()) && 403);
      if (!hub.hang) answer(!status, status);
    };
    const handleProtocols = (offered) => offered.has("hub.v1") && "hub.v1";
    const sockets = new WebSocketServer({ server: hub.#server, verifyClient, handleProtocols });
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

  #attempt({ url, headers }) {
    const query = new URL(url, this.url).searchParams;
    const protocols = headers["sec-websocket-protocol"]?.split(/, */) ?? [];
    const tokens = protocols.filter((name) => name.startsWith("bearer.")).map((name) => name.slice("bearer.".length));
    const [token, second] = [...tokens, ...query.getAll("token")];
    const attempt = { url, query, protocols, token: second ? undefined : token };
    this.attempts.push(attempt);
    return attempt;
  }

  #connected(socket, { attempt }) {
    const { query, token } = attempt;
    const link = {
      socket,
      token,
      ended: () => this.auth && endOf(token) <= this.now(),
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
    if (link.ended() && frame.action !== "ping") {
      link.say({ type: "error", code: "not_connected", message: "connect again", id: frame.id });
    } else if (frame.action === "ping") link.say({ type: "pong" });
    else if (frame.action === "sendMessage") link.say(this.deliver(link.session, frame));
    else link.say({ type: "error", code: "unknown_action", message: "no such action" });
  }

  /** Delivers, and returns the receipt. A connection whose token has ended hears nothing, and is closed. */
  deliver(from, { id, sessions, message }) {
    const delivery = { type: "message", id, from, message, sent_at: new Date().toISOString() };
    const tallies = sessions.map((session) => {
      const all = [...this.open].filter((link) => link.session === session);
      const links = all.filter((link) => !link.ended());
      for (const link of all) link.ended() ? link.socket.close() : link.say(delivery);
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

/** An unsigned JWT. */
export function jwt(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part(claims)}.x`;
}

/** When a JWT ends, in milliseconds. */
function endOf(token) {
  return JSON.parse(Buffer.from(token?.split(".")[1] ?? "e30", "base64url")).exp * 1_000;
}
