// A hub and a clock for tests: in memory, without a network, a dependency or a wait.

import { isSession } from "./options.js";

// Taken before a test puts fake ones in their place.
const { setImmediate, setTimeout, MessageChannel } = globalThis;
const realNow = Date.now.bind(Date);

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

// A longer delay overflows in every runtime, and fires at once.
const LONGEST_DELAY = 2 ** 31 - 1;

// A timer that starts itself again without a delay would never let the clock get on.
const MOST_RUNS = 100_000;

// What a subprotocol may be made of: a token, as RFC 9110 defines it for HTTP.
const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

// Not TextEncoder and TextDecoder, which jsdom lacks: the UTF-8 of a text as one character for each byte, and back.
const toBytes = (text) =>
  encodeURIComponent(text).replace(/%(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
const fromBytes = (bytes) =>
  decodeURIComponent(bytes.replace(/[^]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`));

/** Runs a function in a task of its own, after those that were queued before it. */
const enqueue = setImmediate ?? (MessageChannel ? overChannel() : (run) => setTimeout(run, 0));

/** For browsers: their timers wait for 4 ms. */
function overChannel() {
  let ports;
  const queue = [];
  return (run) => {
    if (!ports) {
      ports = new MessageChannel();
      ports.port1.onmessage = () => queue.shift()();
    }
    queue.push(run);
    ports.port2.postMessage(null);
  };
}

/** How many events in memory are queued. */
let queued = 0;

/** Each event is a task, as in a browser: what it sets off in promises ends before the next event. */
function later(run) {
  queued++;
  enqueue(() => {
    queued--;
    run();
  });
}

/** Time that stands still until a test moves it: timers, and the time of day. */
export class Clock {
  skew = 0;
  #begin;
  #now = 0;
  #slept = 0;
  #timers = new Set();
  #count = 0;

  constructor({ time = realNow() } = {}) {
    // A whole second, as tokens count them.
    this.#begin = Math.floor(Number(time) / 1_000) * 1_000;
  }

  get time() {
    return this.#begin + this.#now + this.#slept;
  }

  get running() {
    return this.#timers.size;
  }

  get next() {
    return Math.min(...[...this.#timers].map(({ at }) => at - this.#now));
  }

  now() {
    return Math.floor(this.time + this.skew);
  }

  uptime() {
    return this.#now;
  }

  setTimeout(run, ms = 0) {
    const delay = ms > LONGEST_DELAY ? 1 : Math.max(0, ms) || 0;
    const timer = { at: this.#now + delay, number: ++this.#count, run };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer) {
    this.#timers.delete(timer);
  }

  tick(ms) {
    this.#runUntil(this.#now + ms);
  }

  async advance(ms) {
    if (!(ms >= 0)) throw new TypeError("advance() takes milliseconds");
    for (const end = this.#now + ms; ;) {
      await this.settle();
      if (this.#now >= end) return;
      this.#runUntil(Math.min(this.#now + this.next, end));
    }
  }

  async settle() {
    do {
      this.tick(0);
      await new Promise(enqueue);
    } while (queued > 0 || this.next <= 0);
  }

  sleep(ms) {
    this.#slept += ms;
  }

  #runUntil(end) {
    for (let runs = 0; ; runs++) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.number - b.number)[0];
      if (!due) break;
      if (runs >= MOST_RUNS) throw new Error(`more than ${MOST_RUNS} timers ran: one starts itself again at once`);
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = Math.max(this.#now, end);
  }
}

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
    // It is the gateway that knows no other action, and nothing of an id.
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

  /** What subscribes, unsubscribes, or asks what the hub knows of a connection. */
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
        // As the hub does, when a message meets a connection whose token has ended.
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

  /** The answer to a handshake: null to leave it open, a status to refuse it, or what becomes of its connection. */
  #handshake({ url, protocols }) {
    const query = new URL(url, this.url).searchParams;
    const tokens = protocols.filter((name) => name.startsWith("bearer.")).map((name) => name.slice("bearer.".length));
    const [token, second] = [...tokens, ...query.getAll("token")];
    const attempt = { url, query, protocols, token: second === undefined ? token : undefined };
    this.attempts.push(attempt);
    if (this.hang) return null;
    const session = query.get("session_id") ?? claimsOf(attempt.token).session_id;
    // What another token names is for its test to say.
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
    // The ping that every connection begins with is not counted.
    if (!link.greeted && frame.action === "ping") {
      link.greeted = true;
      if (!this.mute) link.say(this.greeting);
      return;
    }
    this.frames.push({ link, frame });
    if (!this.mute && !this.intercept(link, frame)) this.answer(link, frame);
  }
}

const MEMBERSHIP = ["subscribe", "unsubscribe", "hello"];
const MOST_SUBSCRIPTIONS = 100;
const LONGEST_CONNECTION = 2 * 60 * 60 * 1_000;

/** Whether a connection is sent a session's messages. */
const isIn = ({ session, subscriptions }, name) => session === name || subscriptions.has(name);

const UNKNOWN_ACTION = { type: "error", code: "unknown_action", message: "no such action" };

const ANSWER_BYTES = 30 * 1024;
const sizeOf = (frame) => toBytes(JSON.stringify(frame)).length;

/** A number that a message may still be written to. */
const YOUNG = {};

/** What a hub with history keeps of a session: its head, and an item for each number. */
class Log {
  static #count = 0;

  items = new Map();
  #session;
  #now;
  #epoch = `e${String(++Log.#count).padStart(7, "0")}`;
  #last = 0;
  #takenAt;

  constructor(session, now) {
    this.#session = session;
    this.#now = now;
  }

  get head() {
    return { epoch: this.#epoch, offset: this.#last };
  }

  take() {
    this.#takenAt = this.#now();
    return { epoch: this.#epoch, offset: ++this.#last };
  }

  keep(delivery) {
    const place = this.take();
    this.items.set(place.offset, { frame: { ...delivery, ...place }, at: this.#takenAt });
    return place;
  }

  answer({ id, epoch, after, last, limit: asked = 100 }) {
    const limit = after === undefined ? 100 : asked;
    const isAhead = after !== undefined && (epoch !== this.#epoch || after > this.#last);
    const begin = last ? this.#beginOf(last) : isAhead ? 0 : (after ?? this.#last);
    const messages = [];
    let complete = !isAhead;
    let more = false;
    for (let offset = begin + 1, size = 0; offset <= this.#last && !more; offset++) {
      const item = this.items.get(offset) ?? this.#seal(offset);
      if (!item) complete = false;
      if (!item?.frame) {
        more = item === YOUNG;
        continue;
      }
      size += sizeOf(item.frame);
      more = messages.length > 0 && (messages.length >= limit || size > ANSWER_BYTES);
      if (!more) messages.push(item.frame);
    }
    const head = { type: "history", id, session: this.#session, ...this.head, more };
    return { ...head, ...(after !== undefined && { complete }), messages };
  }

  /** What the newest messages come after: as many as are asked for, and fit. */
  #beginOf(count) {
    let offset = this.#last;
    for (let found = 0, size = 0; offset > 0; offset--) {
      const { frame } = this.items.get(offset) ?? {};
      if (!frame) continue;
      size += sizeOf(frame);
      if (found === count || (found > 0 && size > ANSWER_BYTES)) break;
      found++;
    }
    return offset;
  }

  /** A number without an item, after one that is there, is one that its sender has left: sealed, unless it is young. */
  #seal(offset) {
    if (!this.items.has(offset - 1)) return undefined;
    let later = offset + 1;
    while (later <= this.#last && !this.items.has(later)) later++;
    const since = this.items.get(later)?.at ?? this.#takenAt;
    if (this.#now() - since < 1_000) return YOUNG;
    const item = {};
    this.items.set(offset, item);
    return item;
  }
}

export function jwt(claims) {
  const part = (value) =>
    btoa(toBytes(JSON.stringify(value)))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replace(/=+$/, "");
  return `${part({ alg: "none" })}.${part(claims)}.x`;
}

function claimsOf(token) {
  try {
    const binary = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(fromBytes(binary)) ?? {};
  } catch {
    return {};
  }
}

/** When a JWT ends, in milliseconds since 1970; NaN if it does not say. */
function endOf(token) {
  return claimsOf(token).exp * 1_000;
}

const bad = (text) => ["bad_request", text];

const isBadId = (id) => id != null && !(typeof id === "string" && /^.{1,128}$/su.test(id));

/** Why a hub refuses this frame, as a code and a text; undefined if it does not. */
function whatIsWrong(frame, link) {
  const { action, sessions, message, id, receipt, store } = frame;
  if (isBadId(id)) return bad("id must be 1 to 128 characters");
  if (action === "hello") return;
  if (action === "history") return whatIsWrongToAsk(frame, link);
  if (receipt !== undefined && typeof receipt !== "boolean") return bad("receipt must be true or false");
  if (store !== undefined && typeof store !== "boolean") return bad("store must be true or false");
  if (!Array.isArray(sessions) || !sessions.length || !sessions.every(isSession)) {
    return bad("sessions must be a list of 1 to 100 session ids");
  }
  const isSubscribing = action === "subscribe";
  if (!isSubscribing && new Set(sessions).size > 100) return ["too_many_sessions", "at most 100 sessions"];
  if (action === "sendMessage" && message === undefined) return bad("message is missing");
}

/** The same for a question about the history. */
function whatIsWrongToAsk({ session, epoch, after, last, limit }, link) {
  const isBad = (value, least, most) =>
    value !== undefined && !(Number.isSafeInteger(value) && value >= least && value <= most);
  if (!isSession(session)) return bad("session must be a session id");
  if (epoch !== undefined && typeof epoch !== "string") return bad("epoch must be a string");
  if (isBad(after, 0, Number.MAX_SAFE_INTEGER)) return bad("after must be an offset");
  if (isBad(limit, 1, 100) || isBad(last, 1, 100)) return bad("limit and last must be 1 to 100");
  if (after !== undefined && (epoch === undefined || last !== undefined)) {
    return bad("after needs an epoch, and no last");
  }
  if (!isIn(link, session)) return ["forbidden", "another's history"];
}

const isBinary = (data) => data instanceof ArrayBuffer || ArrayBuffer.isView(data);

/** The way to a hub in memory. A transport over real sockets has the same members. */
class Memory {
  static #count = 0;

  silent = false;
  /** What cuts each of the sockets. */
  cuts = new Set();
  #answer;
  #listening = true;

  constructor({ terminate }) {
    // No name under .invalid exists, so a client that takes another WebSocket reaches nothing.
    this.url = `wss://hub${++Memory.#count}.invalid/live`;
    const network = this;
    this.WebSocket = class WebSocket extends MemorySocket {
      constructor(url, protocols = []) {
        super(url, protocols, network);
        if (terminate) this.terminate = () => this[TERMINATE]();
      }
    };
  }

  serve(answer) {
    this.#answer = answer;
  }

  async stop() {
    this.#listening = false;
    for (const cut of this.cuts) cut();
  }

  async start() {
    this.#listening = true;
  }

  handshake({ host, pathname, search }, protocols) {
    const reached = this.#listening && host === new URL(this.url).host;
    return reached ? this.#answer({ url: pathname + search, protocols }) : { status: 0 };
  }
}

const TERMINATE = Symbol("terminate");

class MemorySocket extends EventTarget {
  binaryType = "blob";
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  #network;
  #url;
  #protocol = "";
  #readyState = CONNECTING;
  #bufferedAmount = 0;
  #hub = null; // Its end of the connection, while it has one.
  #unread = null; // What waits while the hub does not read.
  #cut = () => this.#ended(1006);

  constructor(url, protocols, network) {
    super();
    this.#url = new URL(url);
    const offered = [protocols].flat();
    const valid =
      /^wss?:$/.test(this.#url.protocol) && !this.#url.hash && offered.every((name) => HTTP_TOKEN.test(name));
    if (!valid || new Set(offered).size < offered.length) {
      throw new DOMException("the address or a subprotocol is invalid", "SyntaxError");
    }
    this.#network = network;
    later(() => this.#dial(offered));
  }

  get url() {
    return this.#url.href;
  }

  get protocol() {
    return this.#protocol;
  }

  get extensions() {
    return "";
  }

  get readyState() {
    return this.#readyState;
  }

  get bufferedAmount() {
    return this.#bufferedAmount;
  }

  send(data) {
    if (this.#readyState === CONNECTING) throw new DOMException("the socket is not open yet", "InvalidStateError");
    const frame = isBinary(data) ? bytesOf(data).slice() : String(data);
    const size = isBinary(data) ? frame.length : toBytes(frame).length;
    this.#bufferedAmount += size;
    if (this.#readyState !== OPEN) return;
    this.#toHub(() => {
      this.#bufferedAmount -= size;
      this.#hub?.received(frame);
    });
  }

  close(code, reason = "") {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("the code must be 1000, or from 3000 to 4999", "InvalidAccessError");
    }
    if (toBytes(reason).length > 123) {
      throw new DOMException("the reason has more than 123 bytes", "SyntaxError");
    }
    const before = this.#readyState;
    if (before === CLOSING || before === CLOSED) return;
    this.#readyState = CLOSING;
    if (before === CONNECTING) {
      later(() => this.#ended(1006, "", { failed: true }));
      return;
    }
    this.#toHub(() => {
      if (this.#network.silent) return;
      this.#leaveHub();
      later(() => this.#ended(code ?? 1005, reason));
    });
  }

  [TERMINATE]() {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CLOSING;
    later(this.#cut);
  }

  #dial(protocols) {
    if (this.#readyState !== CONNECTING) return;
    const answer = this.#network.handshake(this.#url, protocols);
    this.#network.cuts.add(this.#cut);
    if (!answer) return;
    if (!answer.connect) {
      later(this.#cut);
      return;
    }
    this.#hub = answer.connect({
      send: (data) => this.#hub && later(() => this.#received(data)),
      close: (code, reason) => this.#hub && later(() => this.#closedByHub(code, reason)),
      terminate: () => {
        this.#leaveHub();
        later(this.#cut);
      },
      pause: () => (this.#unread ??= []),
      resume: () => {
        const unread = this.#unread ?? [];
        this.#unread = null;
        unread.forEach(later);
      },
    });
    later(() => this.#opened(answer.protocol));
  }

  #opened(protocol) {
    if (this.#readyState !== CONNECTING) return;
    this.#readyState = OPEN;
    this.#protocol = protocol;
    this.#emit("open");
  }

  #received(data) {
    if (this.#readyState !== OPEN) return;
    if (!isBinary(data)) this.#emit("message", { data });
    else if (this.binaryType === "blob") this.#emit("message", { data: new Blob([data]) });
    else this.#emit("message", { data: bytesOf(data).slice().buffer });
  }

  #closedByHub(code = 1005, reason = "") {
    if (this.#readyState === OPEN) this.#readyState = CLOSING;
    this.#leaveHub();
    later(() => this.#ended(code, reason));
  }

  #ended(code, reason = "", { failed = this.#readyState === CONNECTING } = {}) {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CLOSED;
    this.#network.cuts.delete(this.#cut);
    this.#leaveHub();
    if (failed) this.#emit("error");
    this.#emit("close", { code, reason, wasClean: code !== 1006 });
  }

  #leaveHub() {
    const hub = this.#hub;
    this.#hub = null;
    hub?.closed();
  }

  /** What the socket has sent reaches the hub in its order. */
  #toHub(run) {
    if (this.#unread) this.#unread.push(run);
    else later(run);
  }

  #emit(type, fields) {
    const event = Object.assign(new Event(type), fields);
    this[`on${type}`]?.(event);
    this.dispatchEvent(event);
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
  MemorySocket[name] = MemorySocket.prototype[name] = value;
}

function bytesOf(data) {
  return data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
