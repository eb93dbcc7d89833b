// The client: a connection that reconnects by itself, and sends that always end with a receipt or an error.

import { nextAttempt, noFailures } from "./backoff.js";
import { watchBrowser } from "./browser-events.js";
import { readCredentials } from "./credentials.js";
import { HubError, SignedOut, explain } from "./errors.js";
import { findMissing, unanswered } from "./features.js";
import { gainsNothing, hasSlept, isDue, nextLook, plan, retire } from "./handover.js";
import { BACKED_UP, CHECKED, CHECKS, FRESH, STABLE_AFTER, STALE_DIAL, WAKE_TIMEOUT } from "./limits.js";
import { Link } from "./link.js";
import { createListeners } from "./listeners.js";
import { checkSession, isPosition, readOptions } from "./options.js";
import { Order } from "./order.js";
import { Outbox } from "./outbox.js";
import { rememberRecent } from "./recent.js";
import { mayBeRefusal } from "./runtimes.js";
import { stream, watch } from "./stream.js";
import { Subscriptions } from "./subscriptions.js";
import { createTimers, stopwatch } from "./timers.js";

export { HubError, SignedOut };

const EVENTS = ["message", "state", "duplicate", "gap", "lost", "refused", "error", "frame"];

const EVENTS_OF_SESSION = ["message", "change", "gap", "lost", "error"];

const NO_HISTORY = "this hub keeps no history, or the client has the option history: false";

const CLOSED = new HubError("closed", "the client is closed: make a new one to send");

/** Connects to a hub. */
export function connect(options) {
  return new HubClient(options);
}

export class HubClient {
  #options;
  #stopwatch;
  #credentials;
  #outbox;
  #order;
  #subscriptions;
  #hasCome;
  #timers;
  #unwatch;
  #on;
  #emit;

  #state = {};
  #over = null; // Why the client has ended: it is closed, or has failed.
  #halted = new Set(); // What has paused it: "user", "page", or both.
  #draining = null; // The promise that close() waits for, and what resolves it.
  #drained = null;
  #link = null; // The open connection, which carries the sends.
  #dialing = null; // The connection being opened: the first, one after a loss, or a replacement.
  #retiring = new Set(); // Replaced connections, open until their sends are answered.
  #failures = noFailures();
  #checkedUntil = -Infinity; // Limits check() to one attempt per second, after a few at once.
  #dials = 0;
  #served = new Set(); // The features that the hub has shown to have, by an answer.
  #stats = { connections: 0, handovers: 0, resent: 0, duplicates: 0, dropped: 0 };

  constructor(options) {
    this.#options = readOptions(options);
    const { clock, dedupeLimit, autoConnect } = this.#options;
    this.#stopwatch = stopwatch(clock);
    this.#timers = createTimers(clock);
    [this.#on, this.#emit] = createListeners();
    this.#credentials = readCredentials(this.#options, this.#stopwatch);
    this.#hasCome = rememberRecent(dedupeLimit);
    this.#outbox = new Outbox(
      this.#options,
      this.#stopwatch,
      this.#stats,
      (link) => this.#settled(link),
      (session) => this.#subscriptions.isPending(session),
    );
    this.#order = new Order(this.#options, {
      tell: (frame, isMissed) => this.#message(frame, isMissed),
      repeated: (frame) => this.#repeated(this.#read(frame)),
      emit: (type, details) => this.#emit(type, details),
      isStopped: () => this.#isStopped,
      isPending: (session) => this.#subscriptions.isPending(session),
      link: () => this.#link,
      isSubscription: (session) => this.#subscriptions.has(session),
    });
    this.#subscriptions = new Subscriptions(this.#options, this.#order, {
      refused: (error) => this.#emit("error", error),
      changed: (session) => this.#emit("change", { session }),
      proceeded: () => {
        for (const link of [null, ...this.#retiring]) this.#settled(link);
      },
    });
    if (autoConnect) this.#dial();
    else this.pause();
  }

  get name() {
    return this.#options.session ?? null;
  }

  get state() {
    return this.#state;
  }

  get stats() {
    return { ...this.#stats, rtt: this.#link?.rtt ?? null, unanswered: this.#outbox.size };
  }

  on(type, listener) {
    return this.#on(EVENTS, type, listener);
  }

  messages(options) {
    return this.#stream(this, options);
  }

  ready(options) {
    return this.#ready(this, "state", () => this.#state.name === "open", options);
  }

  /**
   * Waits for a connection if there is none. A message whose connection is lost before the receipt is sent again with
   * the same id.
   */
  async send(sessions, message, options) {
    return this.#outbox.send(sessions, message, options);
  }

  position(session) {
    return this.#order.position(session);
  }

  async history({ session = this.#order.own, after, last = after ? undefined : 100, limit, ...options } = {}) {
    if (this.#order.isOff) throw new HubError("unknown_action", NO_HISTORY);
    if (after && !isPosition(after)) throw new HubError("bad_request", "after must be a position: { epoch, offset }");
    const question = { session, epoch: after?.epoch, after: after?.offset, last, limit };
    const answer = await this.#outbox.ask(question, options);
    return { ...answer, messages: answer.messages.map((frame) => this.#read(frame)) };
  }

  post(sessions, message) {
    const frame = this.#outbox.encode({ sessions, message, receipt: false, store: false });
    const isReady = this.#state.name === "open" && !(this.#link.socket.bufferedAmount > BACKED_UP);
    if (isReady) this.#link.write(frame);
    else this.#stats.dropped++;
    return isReady;
  }

  session(name) {
    checkSession(name);
    const subscriptions = this.#subscriptions;
    const isReady = () =>
      name === this.#order.joined ? this.#state.name === "open" : Boolean(subscriptions.get(name)?.isReady);
    const session = {
      name,
      get isReady() {
        return isReady();
      },
      get error() {
        return subscriptions.get(name)?.error ?? null;
      },
      ready: (options) => {
        const leave = subscriptions.listen(name);
        return this.#ready(session, "change", isReady, options).finally(leave);
      },
      on: (type, listener) => {
        const off = this.#on(EVENTS_OF_SESSION, type, listener, ({ session }) => session === name);
        const leave = type === "message" ? subscriptions.listen(name) : off;
        return () => (off(), leave());
      },
      messages: (options) => this.#stream(session, options),
      send: (message, options) => this.send(name, message, options),
      post: (message) => this.post(name, message),
      position: () => this.position(name),
      history: (query) => this.history({ ...query, session: name }),
    };
    return session;
  }

  check() {
    this.#check(CHECKED);
  }

  pause() {
    this.#halt("user", "paused: call resume()");
  }

  resume() {
    this.#proceed("user");
  }

  async close({ drain = 0 } = {}) {
    if (drain > 0 && this.#outbox.size && !this.#isStopped) {
      this.#outbox.over = CLOSED;
      this.#draining ??= new Promise((resolve) => (this.#drained = resolve));
      this.#timers.set("drain", drain, this.#drained);
      await this.#draining;
    }
    this.#end("closed", CLOSED);
  }

  [Symbol.asyncDispose ?? "asyncDispose"]() {
    return this.close({ drain: STABLE_AFTER });
  }

  // States

  get #isStopped() {
    return this.#over || this.#halted.size;
  }

  #become(name, details) {
    const before = this.#state;
    this.#state = Object.freeze({
      name,
      since: before.name === name ? before.since : this.#dateIn(0),
      reason: null,
      error: null,
      retryAt: null,
      ...this.#failures,
      expiresAt: null,
      ...details,
    });
    this.#emit("state", this.#state, before);
    this.#emit("change", { session: this.#order.joined });
  }

  #ready(source, event, isReady, { signal } = {}) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const error = this.#over ?? source.error;
        if (isReady()) resolve();
        else if (error) reject(error);
        else if (signal?.aborted) reject(signal.reason ?? new Error("aborted"));
        else return;
        off();
      };
      const off = watch(source, event, signal, look);
      look();
    });
  }

  #becomeOpen() {
    const left = this.#link.endsAt - this.#stopwatch();
    this.#become("open", left < Infinity && { expiresAt: this.#dateIn(left) });
  }

  #dateIn(ms) {
    return new Date(this.#options.clock.now() + ms);
  }

  #end(name, error) {
    if (this.#over) return;
    this.#over = error;
    this.#unwatch?.();
    this.#drop();
    this.#subscriptions.end();
    this.#outbox.end(error);
    this.#become(name, { reason: error.message, error });
  }

  /** Ends every connection and timer. */
  #drop() {
    const links = [this.#link, this.#dialing, ...this.#retiring];
    this.#retiring.clear();
    this.#timers.clearAll();
    this.#link = this.#dialing = null;
    this.#order.use(null);
    this.#subscriptions.use(null);
    for (const link of links) {
      link?.end();
      this.#outbox.lost(link, null);
    }
    this.#drained?.();
  }

  #halt(who, reason) {
    if (this.#over) return;
    this.#halted.add(who);
    this.#drop();
    if (this.#state.name !== "paused") this.#become("paused", { reason });
  }

  #proceed(who) {
    if (!this.#halted.delete(who) || this.#isStopped) return;
    this.#failures.attempt = 0;
    this.#dial();
  }

  // Connections

  /** Begins with the first attempt, so that a client that never connects adds no listeners to the page. */
  #watchBrowser() {
    this.#unwatch ??= watchBrowser({
      wake: () => {
        this.#check(0, WAKE_TIMEOUT);
        this.#subscriptions.hello();
      },
      look: () => this.#check(FRESH),
      offline: () => {
        const link = this.#link;
        if (!link) return;
        // Sends wait until the link has answered the ping.
        this.#outbox.use(null);
        this.#become("waiting", { reason: "the network is gone" });
        link.ping(WAKE_TIMEOUT);
      },
      // Browsers do not cache a page that has an open socket.
      hide: () => this.#halt("page", "the page is cached"),
      show: () => this.#proceed("page"),
    });
  }

  /** Without a connection: dials. With one: pings, unless the last frame came less than `lately` ms ago. */
  #check(lately, within) {
    if (this.#link) this.#watch();
    if (this.#isStopped) return;
    const now = this.#stopwatch();
    const dialing = this.#dialing;
    if (this.#link) {
      if (now - this.#link.heardAt >= lately) this.#link.ping(within);
    } else if (dialing) {
      // The attempt may hang in a network that no longer exists.
      dialing.timers.set("redial", Math.max(0, dialing.dialedAt + STALE_DIAL - now), () => {
        dialing.end(true);
        this.#dial();
      });
    } else {
      const at = Math.max(this.#checkedUntil, now - CHECKS * 1_000);
      const dial = () => {
        this.#checkedUntil = at + 1_000;
        this.#dial();
      };
      if (at > now) {
        this.#timers.set("retry", at - now, dial);
        const retryAt = this.#dateIn(at - now);
        const { reason, error } = this.#state;
        if (this.#state.retryAt - retryAt > 1_000) this.#become("waiting", { reason, error, retryAt });
      } else {
        // Calls in close succession do not reset the backoff.
        if (at - this.#checkedUntil > CHECKED) this.#failures.attempt = 0;
        dial();
      }
    }
  }

  async #dial() {
    this.#watchBrowser();
    this.#timers.clear("retry");
    const link = new Link(++this.#dials, this.#options, {
      heard: (data) => this.#heard(link, data),
      wrote: (data) => this.#emit("frame", { direction: "out", connection: link.number, data }),
      lost: (how) => this.#lost(link, how),
    });
    this.#dialing = link;
    if (!this.#link) {
      const { name, reason, error } = this.#state;
      this.#become("connecting", name === "waiting" && { reason, error });
      if (link.ended) return;
    }
    link.expect("tokenTimeout");
    try {
      // A client that is closed at once requests no token.
      await null;
      if (link.ended) return;
      const target = await this.#credentials(link, this.#failures);
      if (link.ended) return;
      if (this.#link && gainsNothing(this.#link, link, this.#stopwatch())) {
        this.#dialing = null;
        link.end();
        return this.#watch();
      }
      link.dialedAt = this.#stopwatch();
      link.open(...target);
    } catch (cause) {
      if (link.ended) return;
      const { name, code, message } = Object(cause);
      if (name === "SignedOut" || cause instanceof SignedOut) {
        this.#end("failed", new HubError("signed_out", message || "signed out", { cause }));
      } else if (code === "token_too_large" || code === "cannot_connect") {
        // No further attempt can fix this.
        this.#end("failed", cause);
      } else {
        this.#lost(link, { cause });
      }
    }
  }

  /** Starts a hand-over when the connection's age or its token requires one. */
  #watch() {
    const link = this.#link;
    const now = this.#stopwatch();
    if (hasSlept(link, now, this.#options.clock.uptime())) {
      link.ping(WAKE_TIMEOUT);
      this.#subscriptions.hello();
    }
    if (link.ended) return;
    if (isDue(link, now) && !this.#dialing && !this.#timers.has("retry")) this.#dial();
    if (link.ended) return;
    if (now >= link.endsAt) return this.#lost(link, { reason: "the token has expired" });
    link.timers.set("watch", nextLook(link, now), () => this.#watch());
  }

  #opened(link) {
    const previous = this.#link;
    const now = this.#stopwatch();
    if (previous) {
      this.#stats.handovers++;
      this.#retiring.add(previous);
      retire(previous, now, this.#options, () => this.#settled(previous));
    }
    this.#link = link;
    this.#dialing = null;
    link.dial = null;
    link.timers.clear("step", "redial");
    this.#failures.refused = 0;
    link.timers.set("stable", STABLE_AFTER, () => {
      this.#failures.attempt = 0;
      if (this.#state.attempt && this.#state.name === "open") this.#becomeOpen();
    });
    this.#stats.connections++;
    plan(link, now, this.#options);
    this.#watch();
  }

  /** A send has ended or left this link, or the link that replaces it is subscribed: it may no longer be needed. */
  #settled(link) {
    if (!this.#outbox.size) this.#drained?.();
    const isNeeded = () =>
      this.#outbox.carriedBy(link).length || (this.#subscriptions.isPending() && this.#stopwatch() < link.endsAt);
    const isOverlapped = this.#retiring.has(link) && !link.timers.has("overlap");
    if (isOverlapped && !isNeeded() && this.#retiring.delete(link)) link.end();
    this.#outbox.flush();
  }

  /** A link has ended, or failed to open. Its unanswered sends go to the next one. */
  #lost(link, { code, reason, cause }) {
    if (link.ended) return;
    // Without a close code, it was the client that gave up.
    const isSilent = code === undefined;
    link.end(isSilent);
    // A listener to the signal may have closed the client.
    if (this.#isStopped) return;
    [reason, cause] = explain(cause, reason);
    const why = code ? `${code} ${reason}` : reason;
    const wasRetiring = this.#retiring.delete(link);
    const wasCurrent = link === this.#link;
    if (wasCurrent) {
      this.#link = null;
      this.#order.use(null);
      this.#subscriptions.use(null);
    }
    if (link === this.#dialing) this.#dialing = null;
    this.#outbox.lost(link, code);
    if (wasRetiring || this.#isStopped) return;
    if (wasCurrent && this.#dialing) return this.#become("connecting", { reason: why });
    const isRefused = link.presented && !link.isAdmitted && !isSilent && mayBeRefusal(cause);
    const [delay, isRare] = nextAttempt(this.#failures, link, isRefused, this.#options);
    this.#timers.set("retry", delay, () => this.#dial());
    const retryAt = this.#dateIn(delay);
    const problem = wasCurrent ? null : this.#problem(link.socket ? "connect_failed" : "token_failed", why, { cause });
    if (problem) this.#outbox.trouble = problem;
    // A listener may have acted on the error.
    if (!this.#link && this.#timers.has("retry")) this.#become("waiting", { reason: why, retryAt, error: problem });
    if (isRare && this.#timers.has("retry"))
      this.#emit("refused", { refused: this.#failures.refused, retryAt, reason: why });
  }

  // Frames

  #heard(link, data) {
    let frame;
    try {
      if (typeof data !== "string") data = new TextDecoder().decode(data);
      // API Gateway may send an empty frame if a function returns nothing.
      if (!data) return;
      frame = JSON.parse(data);
    } catch (cause) {
      this.#problem("bad_frame", "a frame is not JSON", { cause });
    }
    this.#emit("frame", { direction: "in", connection: link.number, data });
    if (link.ended || frame === undefined) return;

    const { type, ...rest } = frame ?? {};
    const isNew = link === this.#dialing;
    if (typeof type === "string") {
      link.heardAt = this.#stopwatch();
    } else if (typeof rest.message === "string" && !(isNew && rest.message === "Forbidden")) {
      // The gateway's own answer, such as {"message":"Too Many Requests",…}. It has no id, so any frame may have caused
      // it.
      this.#outbox.suspect(link);
      if (link === this.#link) this.#subscriptions.suspect();
      link.pingLater(() => this.#outbox.repeat(link));
      this.#problem("gateway", rest.message);
      return;
    } else if (isNew) {
      return this.#lost(link, { reason: rest.message ?? "this is not a hub" });
    }
    if (isNew) this.#opened(link);
    if (link === this.#link && (isNew || this.#state.name !== "open")) {
      this.#becomeOpen();
      if (isNew && link === this.#link) this.#order.use(link);
      if (isNew && link === this.#link) this.#subscriptions.use(link);
      if (link === this.#link) this.#outbox.use(link);
    }
    if (link.ended) return;
    if (type === "message") this.#order.message({ ...rest, session: rest.session ?? this.name });
    else if (type === "receipt") this.#outbox.answer(withReachedAll(rest));
    else if (type === "history") this.#answered(link, "history", rest);
    else if (/^((un)?subscribed|hello)$/.test(type)) this.#answered(link, "subscriptions", rest);
    else if (type === "error") this.#refused(link, rest);
    // This frame may have crossed the sends, so it does not show that the hub received them.
    if (!link.ended && this.#outbox.carriedBy(link).length) link.doubt();
  }

  #read({ id, from = null, session, message, sent_at, epoch, offset }, missed = false) {
    const position = epoch === undefined ? null : { epoch, offset };
    return { id, from, session, message, position, missed, sentAt: new Date(sent_at), receivedAt: this.#dateIn(0) };
  }

  #message(frame, isMissed) {
    const message = this.#read(frame, isMissed);
    const { session, from, id } = message;
    // Senders choose their ids, so an id is unique only together with its sender.
    if (this.#hasCome(JSON.stringify([session, from, id]), this.#stopwatch())) this.#repeated(message);
    else this.#emit("message", message);
  }

  #repeated(message) {
    this.#stats.duplicates++;
    this.#emit("duplicate", message);
  }

  #answered(link, about, answer) {
    this.#confirm(link, about);
    if (about === "subscriptions") this.#subscriptions.answer(answer);
    else if (Array.isArray(answer.messages) && !this.#order.answer(answer)) this.#outbox.answer(answer);
  }

  #confirm(link, about) {
    link.asked[about]--;
    this.#served.add(about);
    if (link.unknown) this.#judge(link);
  }

  #judge(link) {
    for (const about of findMissing(link, this.#served)) {
      if (about === "history") {
        this.#order.off();
        this.#outbox.refuseQuestions("unknown_action", NO_HISTORY);
      } else if (link === this.#link) this.#subscriptions.off();
    }
  }

  #refused(link, { code = "internal", message, id }) {
    code = String(code);
    if (code === "unknown_action" && id === undefined && unanswered(link, this.#served).length) {
      link.unknown++;
      return this.#judge(link);
    }
    // The same question would have the same answer.
    const doubtful = /^(bad_request|forbidden)$/.test(code) && this.#order.refuse(id);
    if (doubtful) this.#subscriptions.doubt(doubtful);
    const isHandled = this.#subscriptions.refuse(id, code, message);
    if (isHandled !== undefined) this.#confirm(link, "subscriptions");
    const isKnown = doubtful || isHandled || this.#outbox.refuse(code, message, id);
    // The hub no longer knows this connection and sends it nothing. It will know a new one.
    if (code === "not_connected") this.#lost(link, { reason: message });
    else if (!isKnown) this.#problem(code, message, { id });
  }

  #problem(code, text, details) {
    const error = new HubError(code, text, details);
    this.#emit("error", error);
    return error;
  }

  #stream(source, { signal } = {}) {
    const onOverflow = () =>
      this.#problem("overflow", "messages() is read too slowly: the oldest are dropped (bufferLimit)");
    return stream(this, source, () => this.#over, signal, this.#options.bufferLimit, onOverflow);
  }
}

/** Adds `reachedAll`, which JSON.stringify() leaves out. */
function withReachedAll(receipt) {
  const counts = [receipt].concat(receipt.sessions).map(Object);
  const value = counts.every(({ delivered, failed, complete = true }) => complete && delivered > 0 && !failed);
  return Object.defineProperty(receipt, "reachedAll", { value });
}
