// A client for the hub, for browsers and programs: a connection that comes back by itself, and sends that always end.

import { Credentials } from "./credentials.js";
import { HubError, SignedOut } from "./errors.js";
import { Link } from "./link.js";
import { watchMachine } from "./machine.js";
import { checkSession, readNumber, readOptions } from "./options.js";
import { Outbox } from "./outbox.js";
import { Recent } from "./recent.js";
import { Stream } from "./stream.js";
import { Timers } from "./timers.js";

export { HubError, SignedOut };

// A connection that has lasted this long counts as a success, and the next loss starts the backoff from its beginning.
const STABLE_AFTER = 5_000;

// Timers stand still while a machine sleeps, so hand-overs go by the wall clock, which is looked at this often.
const WATCH_INTERVAL = 30_000;

// What was heard this lately needs no ping: when a tab comes to the front, and when check() is called.
const FRESH = 30_000;
const CHECKED = 2_000;

// After the network has changed, the old connection has this long to answer, and an attempt to get somewhere.
const WAKE_TIMEOUT = 3_000;
const STALE_DIAL = 2_000;

// check() dials at once, this often in a row. Then it is once a second.
const CHECKS = 5;

// After this many refused handshakes in a row, the next one is unlikely to fare better.
const REFUSALS = 5;

// A post is dropped while this many bytes wait to leave the machine.
const BACKED_UP = 64 * 1024;

const MINUTE = 60_000;

/** Connects to a hub. */
export function connect(options) {
  return new HubClient(options);
}

export class HubClient {
  #options;
  #clock;
  #credentials;
  #outbox;
  #recent;
  #timers;
  #unwatch;
  #listeners = new Map();

  #state;
  #over = null; // Why nothing is sent any more: the client is closed, or has failed.
  #halted = new Set(); // Who has paused it.
  #drained = null; // Ends the wait of close().
  #links = 0;
  #link = null; // Carries the sends.
  #dialing = null; // Is being opened: the first, the one after a loss, or the one that takes over.
  #retiring = new Set(); // Have been taken over from, and stay until what they carry has been answered.
  #isDoubted = false; // The network is said to be gone, and the link has not answered since.
  #attempt = 0;
  #refusals = 0; // In a row.
  #checkedUntil = 0; // The time by which the calls of check() would be once a second.
  #stats = { rtt: null, connections: 0, handovers: 0, duplicates: 0, dropped: 0 };

  constructor(options) {
    this.#options = readOptions(options);
    this.#clock = this.#options.clock;
    this.#timers = new Timers(this.#clock);
    this.#credentials = new Credentials(this.#options);
    this.#recent = new Recent(this.#clock, this.#options.dedupeLimit);
    this.#outbox = new Outbox(this.#options, (link) => this.#settled(link));
    this.#unwatch = watchMachine({
      wake: () => this.#check({ within: WAKE_TIMEOUT }),
      look: () => this.#check({ unlessHeardWithin: FRESH }),
      offline: () => this.#doubt("the network is gone"),
      // With an open socket, browsers keep no page in their cache.
      hide: () => this.#halt("page", "the page is in the browser's page cache"),
      show: () => this.#proceed("page"),
    });
    if (this.#options.autoConnect) this.#dial();
    else this.#halt("user", "not connected yet: call resume()");
  }

  /** The session that was asked for; null if it was left to the token. */
  get name() {
    return this.#options.session ?? null;
  }

  get state() {
    return this.#state;
  }

  get stats() {
    return { ...this.#stats, resent: this.#outbox.resent, unanswered: this.#outbox.size };
  }

  /** Calls the listener at each event of that type until the function that it returns is called. */
  on(type, listener) {
    if (!EVENTS.has(type)) throw new TypeError(`there is no event ${type}: take one of ${[...EVENTS].join(", ")}`);
    if (typeof listener !== "function") throw new TypeError("the listener must be a function");
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    const entry = { listener };
    listeners.add(entry);
    return () => void listeners.delete(entry);
  }

  /** Messages as they come, from now on. The loop ends when the client ends, or the signal is aborted. */
  messages({ signal } = {}) {
    return this.#stream(() => true, signal);
  }

  /** Resolves when the client is open; rejects when it has ended, or the signal is aborted. */
  ready({ signal } = {}) {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.#state.name === "open") end(resolve);
        else if (this.#over) end(reject, this.#over);
        else if (signal?.aborted) end(reject, signal.reason ?? new Error("aborted"));
      };
      const off = this.on("state", look);
      const end = (how, value) => {
        off();
        signal?.removeEventListener("abort", look);
        how(value);
      };
      signal?.addEventListener("abort", look);
      look();
    });
  }

  /**
   * Delivers `message`, any JSON, to every connection of the sessions. Resolves with the hub's receipt.
   * Without a connection it waits for one; if a connection is lost before the answer, it is sent again with the same id.
   */
  async send(sessions, message, { id = newId(), ttl, signal } = {}) {
    const fail = (code, text, details) => new HubError(code, text, { id, ...details });
    if (typeof id !== "string" || !/^.{1,128}$/su.test(id)) {
      throw fail("bad_request", "id must be a string of 1 to 128 characters, or be left out");
    }
    const limit = ttl === undefined ? this.#options.ttl : readNumber("ttl", ttl);
    const frame = this.#encode({ sessions, message, id });
    if (this.#over) {
      const { code, message: text, cause } = this.#over;
      throw fail(code, text, { cause });
    }
    if (this.#drained) throw fail("closed", "the client is being closed: make a new one to send");
    if (this.#outbox.has(id)) {
      throw fail("bad_request", "a send with this id is still unanswered: use another id");
    }
    if (signal?.aborted) throw signal.reason ?? new Error("aborted");
    if (this.#outbox.isFull) {
      const { queueLimit } = this.#options;
      throw fail("queue_full", `${queueLimit} sends are unanswered already (queueLimit): try again later`);
    }
    return this.#outbox.add(id, frame, { ttl: limit, signal });
  }

  /** Sends without a receipt, once, and only if the client is open. Returns whether it was sent. */
  post(sessions, message) {
    const frame = this.#encode({ sessions, message, receipt: false });
    const isReady = this.#state.name === "open" && this.#link.buffered < BACKED_UP;
    if (isReady) this.#link.write(frame);
    else this.#stats.dropped++;
    return isReady;
  }

  /** One session's messages, and sends to it. */
  session(name) {
    checkSession(name, "the session's name");
    const isMine = (message) => message.session === name;
    return {
      name,
      send: (message, options) => this.send(name, message, options),
      post: (message) => this.post(name, message),
      on: (type, listener) => {
        if (type !== "message") throw new TypeError("a session has the event message alone");
        return this.on(type, (message) => isMine(message) && listener(message));
      },
      messages: ({ signal } = {}) => this.#stream(isMine, signal),
    };
  }

  /** Without a connection: connects at once. With one: finds out whether it still works. */
  check() {
    this.#check({ unlessHeardWithin: CHECKED });
  }

  /** Closes the connection, and keeps what is unanswered for `resume()`. */
  pause() {
    this.#halt("user", "paused");
  }

  resume() {
    this.#proceed("user");
  }

  /** Ends the client for good. With `drain`, in milliseconds, it first waits that long for what is unanswered. */
  async close({ drain = 0 } = {}) {
    if (this.#over) return;
    if (drain > 0 && this.#outbox.size && !this.#halted.size && !this.#drained) {
      await new Promise((resolve) => {
        this.#drained = resolve;
        this.#timers.set("drain", Math.min(drain, 2 ** 31 - 1), resolve);
      });
      if (this.#over) return;
    }
    this.#end("closed", new HubError("closed", "the client is closed: make a new one to send"));
  }

  [Symbol.asyncDispose ?? "asyncDispose"]() {
    return this.close({ drain: STABLE_AFTER });
  }

  // States

  #become(name, { reason = null, error = null, retryAt = null } = {}) {
    const before = this.#state;
    const since = before?.name === name ? before.since : new Date(this.#clock.now());
    const endsAt = name === "open" ? this.#link.endsAt : Infinity;
    const expiresAt = endsAt === Infinity ? null : new Date(endsAt);
    this.#state = Object.freeze({
      name,
      since,
      reason,
      error,
      attempt: this.#attempt,
      refused: this.#refusals,
      retryAt,
      expiresAt,
    });
    if (before) this.#emit("state", this.#state, before);
  }

  #emit(type, ...args) {
    for (const { listener } of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        // A listener's fault is its owner's to see, and none of the client's.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  #problem(code, text, details) {
    const error = new HubError(code, text, details);
    this.#emit("error", error);
    return error;
  }

  /** No further attempt can succeed. */
  #end(name, error) {
    if (this.#over) return;
    this.#over = error;
    this.#unwatch();
    this.#drop();
    const details = { retryable: false };
    this.#outbox.end(error.code, `the client has ${name} before the hub's answer: ${error.message}`, details);
    this.#drained?.();
    this.#become(name, { reason: error.message, error: name === "failed" ? error : null });
  }

  /** Ends every connection, and every timer. */
  #drop() {
    this.#timers.clearAll();
    const links = [this.#link, this.#dialing, ...this.#retiring];
    this.#link = this.#dialing = null;
    this.#retiring.clear();
    this.#isDoubted = false;
    for (const link of links) {
      if (!link) continue;
      this.#outbox.lost(link, { isCounted: false });
      link.end();
    }
  }

  #halt(who, reason) {
    if (this.#over || this.#halted.has(who)) return;
    this.#halted.add(who);
    this.#drop();
    this.#drained?.();
    if (this.#state?.name !== "paused") this.#become("paused", { reason });
  }

  #proceed(who) {
    if (!this.#halted.delete(who) || this.#halted.size || this.#over) return;
    this.#attempt = 0;
    this.#dial();
  }

  // Connections

  #check({ within, unlessHeardWithin = 0 }) {
    if (this.#over || this.#halted.size) return;
    const link = this.#link;
    if (link) {
      const age = this.#clock.now() - link.heardAt;
      this.#watch(link);
      if (!(age >= 0 && age < unlessHeardWithin)) link.ping(within);
    } else if (this.#dialing) {
      // It may hang in a network that is gone.
      const dialing = this.#dialing;
      if (!dialing.isOpening) return;
      const age = this.#clock.uptime() - dialing.dialedAt;
      this.#timers.set("redial", Math.max(0, STALE_DIAL - age), () => {
        if (dialing === this.#dialing) this.#redial();
      });
      if (age >= STALE_DIAL) this.#redial();
    } else {
      this.#attempt = 0;
      const now = this.#clock.uptime();
      this.#checkedUntil = Math.max(this.#checkedUntil, now - CHECKS * 1_000) + 1_000;
      const delay = this.#checkedUntil - now;
      if (delay <= 0) this.#dial();
      else this.#timers.set("retry", delay, () => this.#dial());
    }
  }

  #redial() {
    this.#timers.clear("redial");
    const dialing = this.#dialing;
    this.#dialing = null;
    dialing.end({ cut: true });
    if (!this.#over && !this.#halted.size && !this.#dialing) this.#dial();
  }

  /** Sends wait until the link has answered once more. */
  #doubt(reason) {
    const link = this.#link;
    if (!link) return;
    this.#isDoubted = true;
    this.#outbox.use(null);
    link.ping(WAKE_TIMEOUT);
    this.#become("waiting", { reason });
  }

  async #dial() {
    this.#timers.clear("retry");
    const link = new Link(++this.#links, this.#options, {
      admitted: () => (this.#refusals = 0),
      heard: (data, rtt) => this.#heard(link, data, rtt),
      wrote: (data) => this.#emit("frame", { direction: "out", connection: link.number, data }),
      lost: (how) => this.#lost(link, how),
    });
    this.#dialing = link;
    if (!this.#link) {
      const { reason, error } = this.#state ?? {};
      this.#become("connecting", this.#state?.name === "paused" ? {} : { reason, error });
      if (link.ended) return;
    }
    const { tokenTimeout } = this.#options;
    link.timers.set("token", tokenTimeout, () => {
      const reason = `token() has not answered within ${tokenTimeout / 1_000} s (tokenTimeout)`;
      this.#lost(link, { reason, error: "token_failed" });
    });
    let target;
    try {
      target = await this.#credentials.present(link, { attempt: this.#attempt, refused: this.#refusals });
    } catch (cause) {
      if (link.ended) return;
      if (cause instanceof SignedOut || cause?.name === "SignedOut") {
        this.#end("failed", new HubError("signed_out", cause.message || "the user has signed out", { cause }));
      } else if (cause instanceof HubError && cause.code === "token_too_large") {
        this.#end("failed", cause);
      } else {
        this.#lost(link, { cause, error: "token_failed" });
      }
      return;
    }
    if (link.ended || this.#gainsNothing(link)) return;
    link.timers.clear("token");
    try {
      link.open(...target);
    } catch (cause) {
      const text = `this address can never be connected to: ${cause.message}`;
      this.#end("failed", new HubError("cannot_connect", text, { cause }));
    }
  }

  /** Whether a hand-over would only bring the same token again. Then the next attempt comes before its end. */
  #gainsNothing(link) {
    const current = this.#link;
    const now = this.#clock.now();
    if (!current || now >= current.replaceAt || link.expires > current.expires) return false;
    this.#dialing = null;
    link.end();
    current.renewAt = now + Math.max(1_000, (current.endsAt - now) / 2);
    this.#watch(current);
    return true;
  }

  /** Hands over when the connection's age or its token calls for it. */
  #watch(link) {
    const now = this.#clock.now();
    const at = this.#clock.uptime();
    const passed = at - link.watchedAt;
    // How far the wall clock and the timers have moved apart: it was set, or the machine has slept.
    const ahead = now - link.watched - passed;
    Object.assign(link, { watched: now, watchedAt: at });
    if (ahead < -1_000) {
      // A wall clock that is set back takes its marks along.
      for (const mark of ["replaceAt", "renewAt", "endsAt"]) link[mark] += ahead;
      this.#credentials.shift(link, ahead);
    }
    if (ahead > WATCH_INTERVAL || passed > 3 * WATCH_INTERVAL) link.ping(WAKE_TIMEOUT);
    const due = now >= Math.min(link.replaceAt, link.renewAt);
    if (due && !this.#dialing && !this.#timers.has("retry")) this.#dial();
    if (link.ended) return;
    if (now >= link.endsAt) {
      this.#lost(link, { reason: "the token has ended" });
      return;
    }
    const marks = [link.replaceAt, link.renewAt, link.endsAt].map((mark) => mark - now).filter((ms) => ms > 0);
    link.timers.set("watch", Math.min(WATCH_INTERVAL, ...marks), () => this.#watch(link));
  }

  #opened(link) {
    const { handoverAfter, handoverOverlap } = this.#options;
    const previous = this.#link;
    this.#link = link;
    this.#dialing = null;
    this.#isDoubted = false;
    this.#timers.clear("redial");
    link.up();
    link.timers.set("stable", STABLE_AFTER, () => (this.#attempt = 0));
    this.#stats.connections++;
    // Up to a tenth early, so that clients which came together do not all hand over together.
    const now = this.#clock.now();
    const left = link.endsAt - now;
    const early = Math.min(MINUTE, left / 4) + Math.random() * Math.min(MINUTE, left / 10);
    link.replaceAt = now + Math.max(1_000, handoverAfter * (1 - Math.random() / 10));
    link.renewAt = Math.max(now + 1_000, link.endsAt - early);
    if (previous) {
      this.#stats.handovers++;
      previous.timers.clear("watch");
      this.#retiring.add(previous);
      // Once its token has ended, it hears nothing any more.
      const overlap = Math.min(handoverOverlap, Math.max(0, previous.endsAt - now));
      previous.timers.set("overlap", overlap, () => {
        previous.overlapped = true;
        this.#settled(previous);
      });
    }
    this.#watch(link);
    if (link.ended) return;
    this.#become("open");
    if (!link.ended) this.#outbox.use(link);
  }

  /** A send is over, or no longer carried by this link. */
  #settled(link) {
    if (!this.#outbox.size) this.#drained?.();
    this.#outbox.flush();
    if (!this.#retiring.has(link) || !link.overlapped || this.#outbox.carriedBy(link).length) return;
    this.#retiring.delete(link);
    link.end();
  }

  /** A link has ended, or never came to be. What it carried without an answer goes to the next one. */
  #lost(link, { code, reason, cause, error = "connect_failed" }) {
    if (link.ended) return;
    link.end({ cut: code === undefined });
    // Closed by whoever listens to the signal.
    if (this.#over || this.#halted.size) return;
    const why = [code, reason || cause?.message].filter(Boolean).join(" ") || "no reason given";
    const isRetired = this.#retiring.delete(link);
    const isCurrent = link === this.#link;
    if (isCurrent) this.#link = null;
    else if (link === this.#dialing) this.#dialing = null;
    this.#outbox.lost(link, { code });
    if (this.#over || this.#halted.size) return;
    if (isRetired) {
      this.#outbox.flush();
    } else if (isCurrent) {
      this.#isDoubted = false;
      if (this.#dialing) this.#become("connecting", { reason: why });
      else this.#wait(this.#retryLater(), why);
    } else {
      // Without a code it was the client that gave up.
      const refused = link.presented && code !== undefined && mayBeRefusal(cause);
      if (link.presented) this.#refusals = refused ? this.#refusals + 1 : 0;
      const retryAt = this.#retryLater({ refused });
      const problem = this.#problem(error, `no connection to the hub: ${why}`, { cause });
      if (!this.#link) this.#wait(retryAt, why, problem);
      if (refused && this.#refusals >= REFUSALS && this.#timers.has("retry")) {
        this.#emit("refused", { refused: this.#refusals, retryAt, reason: why });
      }
    }
  }

  #wait(retryAt, reason, error) {
    // Whoever was told may have ended it, or dialled.
    if (this.#timers.has("retry")) this.#become("waiting", { retryAt, reason, error });
  }

  /**
   * Full jitter: any time up to the exponential bound, so that a crowd that was cut together spreads out. After refusals
   * it is minutes in the end, but not at once: in a browser, a hub that is out of reach for a moment looks the same.
   */
  #retryLater({ refused = false } = {}) {
    const { backoffBase, backoffMax, refusedRetry } = this.#options;
    const backoff = Math.random() * Math.min(backoffMax, backoffBase * 2 ** this.#attempt++);
    const slow = Math.min(refusedRetry, MINUTE * 2 ** (this.#refusals - REFUSALS));
    const delay = refused && this.#refusals >= REFUSALS ? (slow * (1 + Math.random())) / 2 : backoff;
    this.#timers.set("retry", delay, () => this.#dial());
    return new Date(this.#clock.now() + delay);
  }

  // Frames

  /** The frame of a send or a post, as text. */
  #encode({ sessions, message, ...rest }) {
    const fail = (code, text, cause) => new HubError(code, text, { id: rest.id, cause });
    let frame;
    try {
      if (JSON.stringify(message) === undefined) throw new TypeError(`a ${typeof message} is not JSON`);
      const list = typeof sessions === "string" ? [sessions] : [...sessions];
      frame = JSON.stringify({ action: "sendMessage", sessions: list, message, ...rest });
    } catch (cause) {
      throw fail("bad_request", `this cannot be sent as JSON: ${cause.message}`, cause);
    }
    const limit = this.#options.maxFrameBytes;
    const size = encodeURIComponent(frame).replace(/%../g, "x").length;
    if (size > limit) {
      throw fail("message_too_large", `the frame has ${size} bytes and may have ${limit}: send a link, or split it`);
    }
    return frame;
  }

  #heard(link, data, rtt) {
    let frame;
    try {
      if (typeof data !== "string") data = new TextDecoder().decode(data);
      frame = JSON.parse(data);
    } catch (cause) {
      this.#emit("frame", { direction: "in", connection: link.number, data: String(data) });
      this.#problem("bad_frame", "the hub sent a frame that is not JSON", { cause });
      return;
    }
    this.#emit("frame", { direction: "in", connection: link.number, data });
    if (link.ended) return;

    const { type, ...rest } = frame ?? {};
    // The gateway's own: {"message":"Too Many Requests",…}. It has no id, so it may be the answer to anything.
    const isGateway = type === undefined && typeof rest.message === "string";
    if (typeof type === "string") link.throttled = 0;
    if (link === this.#dialing) {
      // Whoever forbids, or says something else, is no hub.
      if (isGateway && rest.message !== "Forbidden") {
        link.pingAgain();
        this.#problem("gateway", `the gateway says: ${rest.message}`);
        return;
      }
      if (typeof type !== "string") {
        this.#lost(link, { reason: rest.message ?? "the other end is no hub" });
        return;
      }
      this.#opened(link);
    } else if (this.#isDoubted && link === this.#link) {
      this.#isDoubted = false;
      this.#become("open");
      if (link === this.#link) this.#outbox.use(link);
    }
    if (link.ended) return;
    if (type === "message") this.#message(rest);
    else if (type === "receipt") this.#outbox.receipt(withReachedAll(rest));
    else if (type === "error") this.#refused(link, rest);
    else if (type === "pong" && rtt !== null) this.#stats.rtt = rtt;
    else if (isGateway) {
      if (rtt !== null) link.pingAgain();
      this.#outbox.repeat(link);
      this.#problem("gateway", `the gateway says: ${rest.message}`);
    }
  }

  #message({ id, from = null, session = this.name, message, sent_at }) {
    const receivedAt = new Date(this.#clock.now());
    const delivery = { id, from, session, message, sentAt: new Date(sent_at), receivedAt };
    // The id is the sender's own choice, so it tells repetitions apart only together with the sender.
    if (!this.#recent.has(JSON.stringify([session, from, id]))) {
      this.#emit("message", delivery);
    } else {
      this.#stats.duplicates++;
      this.#emit("duplicate", delivery);
    }
  }

  #refused(link, { code, message, id }) {
    if (code === "not_connected") {
      // The hub has lost sight of this connection, so no message reaches it any more: a new one is known again.
      this.#outbox.notConnected(message, id);
      this.#lost(link, { reason: "the hub no longer knows this connection" });
    } else if (!this.#outbox.refuse(code, message, id)) {
      this.#problem(code, message, { id });
    }
  }

  #stream(isWanted, signal) {
    return new Stream({
      client: this,
      isWanted,
      signal,
      limit: this.#options.bufferLimit,
      onOverflow: (text) => this.#problem("overflow", text),
    });
  }
}

const EVENTS = new Set(["message", "state", "duplicate", "refused", "error", "frame"]);

/** Not crypto.randomUUID: browsers have that only on pages served by https. */
function newId() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.random() * 256));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Beside what the hub says, and not part of it as JSON. */
function withReachedAll(receipt) {
  const counts = [receipt, ...(receipt.sessions ?? [])];
  const isWhole = counts.every(({ delivered, failed, complete }) => delivered > 0 && failed === 0 && complete !== false);
  return Object.defineProperty(receipt, "reachedAll", { value: isWhole });
}

/** Browsers do not say why a handshake failed. The package ws names the status, and network errors have a code. */
function mayBeRefusal(error) {
  if (globalThis.navigator?.onLine === false || typeof error?.code === "string") return false;
  return !/server response: (?!40[13]$)/.test(error?.message);
}
