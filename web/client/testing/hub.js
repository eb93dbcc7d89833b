// A hub in memory that answers as the real one does, and fails as a test wants it to.

import { isSession } from "../options.js";
import { isBinary } from "./bytes.js";
import { isBadId, isIn, whatIsWrong } from "./checks.js";
import { Log } from "./history.js";
import { claimsOf, endOf } from "./jwt.js";
import { Memory } from "./sockets.js";
import { realNow } from "./tasks.js";

const MEMBERSHIP = ["subscribe", "unsubscribe", "hello"];
const MOST_SUBSCRIPTIONS = 100;
const LONGEST_CONNECTION = 2 * 60 * 60 * 1_000;

const UNKNOWN_ACTION = { type: "error", code: "unknown_action", message: "no such action" };

export class FakeHub {
  attempts = [];
  handshakes = [];
  open = new Set();
  frames = [];

  refuse = false;
  auth = false;
  hang = false;
  mute = false;
  greeting = { type: "pong" };
  intercept = () => false;
  now;
  history;
  subscriptions;
  maySubscribe = () => true;

  #transport;
  #logs = new Map(); // Of each session.
  #dropping = 0;
  #losing = 0;

  constructor({
    clock,
    history = false,
    subscriptions = true,
    terminate = false,
    transport = new Memory({ terminate }),
  } = {}) {
    this.history = history;
    this.subscriptions = subscriptions;
    this.now = () => clock?.time ?? clock?.now() ?? realNow();
    this.#transport = transport;
    this.url = transport.url;
    this.WebSocket = transport.WebSocket;
    transport.serve((request) => this.#handshake(request));
  }

  get silent() {
    return this.#transport.silent;
  }

  set silent(silent) {
    this.#transport.silent = silent;
  }

  cut() {
    for (const link of this.open) link.terminate();
  }

  async stop() {
    await this.#transport.stop();
  }

  async start() {
    await this.#transport.start();
  }

  get sent() {
    return this.frames.map(({ frame }) => frame).filter(({ action }) => action === "sendMessage");
  }

  get pings() {
    return this.frames.filter(({ frame }) => frame.action === "ping").length;
  }

  answer(link, frame) {
    const { action, id, receipt } = frame;
    if (action === "ping") return link.say({ type: "pong" });
    const say = (answer) => (this.#losing > 0 ? this.#losing-- : link.say(answer));
    const isNamed = typeof id === "string" && !isBadId(id);
    const refuse = (code, message) => say({ type: "error", code, message, ...(isNamed && { id }) });
    const has = { sendMessage: true, history: this.history };
    for (const route of MEMBERSHIP) has[route] = this.subscriptions;
    // The gateway refuses any other action, and its answer has no id.
    if (has[action] !== true) return say(UNKNOWN_ACTION);
    if (link.ended()) return refuse("not_connected", "connect again");
    const wrong = whatIsWrong(frame, link);
    if (wrong) return refuse(...wrong);
    const known = { ...frame, id: id ?? `fake-${this.frames.length}` };
    if (action === "history") return say(this.#log(frame.session).answer(known));
    if (action !== "sendMessage") return this.#join(link, known, say, refuse);
    const answer = this.deliver(link.session, known);
    if (receipt !== false) say(answer);
  }

  /** Answers subscribe, unsubscribe and hello. */
  #join(link, { action, id, sessions }, say, refuse) {
    const { session: own, subscriptions } = link;
    const names = [...new Set(sessions)];
    const stand = (session) => ({ session, ...(this.history && this.#log(session).head) });
    if (action === "hello") {
      const expires = link.expires();
      const positions = this.history && { positions: [own, ...subscriptions].map(stand) };
      const times = { expires_at: expires, expires_in: expires - Math.floor(this.now() / 1_000) };
      return say({ type: "hello", id, session: own, ...times, subscriptions: [...subscriptions].sort(), ...positions });
    }
    if (action === "unsubscribe") {
      for (const name of names) subscriptions.delete(name);
      return say({ type: "unsubscribed", id, sessions: names });
    }
    const forbidden = names.find((name) => name !== own && !this.maySubscribe(link, name));
    if (forbidden) return refuse("forbidden", `the token does not allow to subscribe to ${forbidden}`);
    const all = new Set([...subscriptions, ...names]);
    all.delete(own);
    if (names.length > MOST_SUBSCRIPTIONS || all.size > MOST_SUBSCRIPTIONS) {
      return refuse("too_many_subscriptions", `at most ${MOST_SUBSCRIPTIONS} sessions beside a connection's own`);
    }
    link.subscriptions = all;
    say({ type: "subscribed", id, sessions: names.map(stand) });
  }

  deliver(from, { id, sessions, message, store = true }) {
    const sent_at = new Date(this.now()).toISOString();
    const counts = [...new Set(sessions)].map((session) => {
      const all = [...this.open].filter((link) => !link.forgotten && isIn(link, session));
      const links = all.filter((link) => !link.ended());
      const delivery = { type: "message", id, from, message, sent_at, session };
      const place = this.history && store ? this.#log(session).keep(delivery) : {};
      for (const link of all) {
        // Like the real hub, which closes a connection when it finds its token expired.
        if (link.ended()) link.close();
        else if (this.#dropping > 0) this.#dropping--;
        else link.say({ ...delivery, ...place });
      }
      return { session, delivered: links.length, gone: 0, failed: 0, ...place };
    });
    const delivered = counts.reduce((sum, count) => sum + count.delivered, 0);
    return { type: "receipt", id, delivered, gone: 0, failed: 0, sessions: counts };
  }

  drop(count = 1) {
    this.#dropping += count;
  }

  loseAnswers(count = 1) {
    this.#losing += count;
  }

  skip(session, count = 1) {
    for (; count; count--) this.#log(session).take();
  }

  forget() {
    for (const log of this.#logs.values()) log.items.clear();
  }

  reset() {
    this.#logs.clear();
  }

  #log(session) {
    if (!this.#logs.has(session)) this.#logs.set(session, new Log(session, () => this.now()));
    return this.#logs.get(session);
  }

  /** Returns null to leave a handshake unanswered, a status to refuse it, or the functions that accept it. */
  #handshake({ url, protocols }) {
    const query = new URL(url, this.url).searchParams;
    const tokens = protocols.filter((name) => name.startsWith("bearer.")).map((name) => name.slice("bearer.".length));
    const [token, second] = [...tokens, ...query.getAll("token")];
    const attempt = { url, query, protocols, token: second === undefined ? token : undefined };
    this.attempts.push(attempt);
    if (this.hang) return null;
    const session = query.get("session_id") ?? claimsOf(attempt.token).session_id;
    // A token without a session_id claim is accepted: its test says which session it stands for.
    const isNamed = isSession(session) || (session === undefined && attempt.token !== undefined);
    const isAllowed = !this.auth || endOf(attempt.token) > this.now();
    const status = this.refuse === true ? 400 : this.refuse || (!isAllowed && 403) || (!isNamed && 400);
    if (status) return { status };
    const protocol = protocols.includes("hub.v1") ? "hub.v1" : "";
    return { protocol, connect: (wire) => this.#connected(wire, attempt) };
  }

  #connected(wire, { query, protocols, token }) {
    const since = this.now();
    const link = {
      token,
      protocols,
      session: query.get("session_id") ?? claimsOf(token).session_id ?? null,
      query: Object.fromEntries(query),
      number: this.handshakes.push(query),
      greeted: false,
      subscriptions: new Set(),
      forgotten: false,
      forget: () => {
        link.forgotten = true;
        link.subscriptions = new Set();
      },
      ended: () => link.forgotten || (this.auth && endOf(token) <= this.now()),
      expires: () => Math.floor(Math.min(since + LONGEST_CONNECTION, endOf(token) || Infinity) / 1_000),
      say: (frame) => wire.send(typeof frame === "string" || isBinary(frame) ? frame : JSON.stringify(frame)),
      close: (code, reason) => wire.close(code, reason),
      terminate: () => wire.terminate(),
      pause: () => wire.pause(),
      resume: () => wire.resume(),
    };
    this.open.add(link);
    return {
      received: (data) => this.#received(link, data),
      closed: () => this.open.delete(link),
    };
  }

  #received(link, data) {
    let frame;
    try {
      frame = Object(JSON.parse(typeof data === "string" ? data : new TextDecoder().decode(data)));
    } catch {
      link.say(UNKNOWN_ACTION);
      return;
    }
    // The first ping of each connection is not counted.
    if (!link.greeted && frame.action === "ping") {
      link.greeted = true;
      if (!this.mute) link.say(this.greeting);
      return;
    }
    this.frames.push({ link, frame });
    if (!this.mute && !this.intercept(link, frame)) this.answer(link, frame);
  }
}
