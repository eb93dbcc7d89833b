// The sessions with listeners, beside the client's own: subscribes each connection to them, and compares them with the
// hub's.

import { HubError } from "./errors.js";
import {
  ANSWERED_WITHIN,
  HELLO_INTERVAL,
  LINGER,
  NAMED_WITHIN,
  REFUSED_WITHIN,
  SECOND,
  SUBSCRIPTIONS,
  TOGETHER,
} from "./limits.js";
import { newId } from "./outbox.js";
import { createTimers } from "./timers.js";

const NONE = "this hub has no subscriptions";

const TOO_MANY = `a client has at most ${SUBSCRIPTIONS} subscriptions`;

export class Subscriptions {
  #entries = new Map(); // By session: those with listeners, and those to which the hub may still have the connection subscribed.
  #requests = new Map(); // Without an answer, by id. A session is in at most one that changes its subscription.
  #order;
  #on;
  #clock;
  #link = null;
  #isOff = false; // The hub has no subscriptions.
  #isAsked = false; // A hello was sent over this link, to learn the client's own session.
  #timers; // Of this link.
  #sweeping; // The timer of sessions that have lost their last listener.
  #isDue = false;
  #isOver = false;

  /** `on` has `changed(session)`, `refused(error)`, and `proceeded()`, called after any change. */
  constructor({ clock }, order, on) {
    this.#clock = clock;
    this.#order = order;
    this.#on = on;
    this.#timers = createTimers(clock);
    this.#sweeping = createTimers(clock);
  }

  has(session) {
    return session !== this.#order.joined && this.#entries.get(session)?.isLeft === false;
  }

  /** A session's `isReady` and `error`. */
  get(session) {
    return this.#entries.get(session);
  }

  /** Whether this connection is not yet subscribed to the session, or to any. */
  isPending(session) {
    return this.#others.some((entry) => isPending(entry) && (session ?? entry.name) === entry.name);
  }

  /** Adds a listener. Returns a function that removes it. */
  listen(session) {
    if (this.#isOver) return () => {};
    const entry = this.#entry(session);
    entry.listeners++;
    entry.error = null;
    entry.isLeft = false;
    this.#proceedSoon();
    let isEnded = false;
    return () => {
      if (isEnded) return;
      isEnded = true;
      entry.listeners--;
      entry.leftAt = this.#clock.uptime();
      this.#sweepLater();
    };
  }

  /** From now on, this link is the connection. It has no subscriptions yet. */
  use(link) {
    // Until the hub has answered, the replaced connection has them.
    this.#reset(link && this.#link);
    this.#link = link;
    this.#isOff = this.#isAsked = false;
    if (link) {
      for (const entry of this.#all) Object.assign(entry, { error: null, failures: 0 });
      this.#helloLater();
    }
    this.#proceed();
  }

  end() {
    this.#isOver = true;
    this.#sweeping.clearAll();
    this.#entries.clear();
  }

  /** An answer to subscribe, unsubscribe or hello. */
  answer({ id, session, sessions = [], subscriptions = [], positions = sessions }) {
    const request = this.#requests.get(id);
    if (!request) return;
    const { action, entries } = request;
    const isSubscribed = action === "subscribe";
    this.#forget(request);
    if (action === "hello") {
      this.#order.join(session);
      // Requests sent since are not in the answer.
      for (const entry of entries) if (!subscriptions.includes(entry.name)) turn(entry, false);
      for (const name of subscriptions) if (!this.#entries.has(name)) this.#entry(name).isOn = true;
    } else for (const entry of entries) turn(entry, isSubscribed);
    for (const { session, ...position } of positions) this.#order.stands(session, position, isSubscribed);
    this.#proceed();
  }

  /** Returns whether the error is handled; undefined if it is not about a request of this class. */
  refuse(id, code, text) {
    const request = this.#requests.get(id);
    if (!request) return;
    if (code === "not_connected") return true;
    const { action, entries } = request;
    if (code === "internal" || action !== "subscribe") {
      this.#again(request);
      return false;
    }
    this.#forget(request);
    // The hub refuses the whole frame, perhaps for a single session.
    const wanted = entries.filter(({ listeners }) => listeners);
    const half = Math.ceil(wanted.length / 2);
    if (entries.length > 1) for (const part of [wanted.slice(0, half), wanted.slice(half)]) this.#ask(action, part);
    else for (const entry of wanted) this.#refuse(entry, code, text);
    this.#proceed();
    return true;
  }

  /** The hub has no subscriptions. */
  off() {
    this.#isOff = true;
    this.#reset();
    this.#proceed();
  }

  /** The hub has refused a request for history, so the connection may not be subscribed to the session. */
  doubt(session) {
    const entry = this.#entries.get(session);
    if (!isSteady(entry)) return;
    turn(entry, false);
    this.#again((entry.request = { entries: [entry] }));
  }

  /** The gateway has refused a frame without saying which: any recent one. */
  suspect() {
    const since = this.#clock.uptime() - REFUSED_WITHIN;
    for (const request of this.#requests.values()) if (request.askedAt >= since) this.#again(request);
  }

  /** Sends a hello: the answer says what the hub knows of this connection. */
  hello() {
    if (!this.#link || this.#isOff || this.#timers.has("asked")) return;
    this.#timers.set("asked", NAMED_WITHIN, () => this.#proceed());
    this.#isAsked = true;
    this.#helloLater();
    this.#write("hello", this.#others.filter(isSteady));
  }

  get #all() {
    return [...this.#entries.values()];
  }

  get #others() {
    return this.#all.filter(({ name }) => name !== this.#order.joined);
  }

  #entry(name) {
    const entry = this.#entries.get(name) ?? { name, listeners: 0, isLeft: true, failures: 0 };
    this.#entries.set(name, entry);
    return entry;
  }

  /** A listener that ends may be replaced at once, as React does. */
  #isLingering({ listeners, leftAt }) {
    return !listeners && this.#clock.uptime() - leftAt < LINGER - TOGETHER;
  }

  #sweepLater() {
    if (this.#sweeping.has("sweep")) return;
    const left = this.#all.filter((entry) => this.#isLingering(entry)).map(({ leftAt }) => leftAt);
    this.#sweeping.set("sweep", Math.min(...left) + LINGER - this.#clock.uptime(), () => {
      this.#proceed();
      this.#sweepLater();
    });
  }

  #helloLater() {
    this.#timers.set("hello", HELLO_INTERVAL * (0.9 + Math.random() / 5), () => this.hello());
  }

  /** Requests made in one task go in one frame. */
  async #proceedSoon() {
    if (this.#isDue) return;
    this.#isDue = true;
    await null;
    this.#isDue = false;
    this.#proceed();
  }

  #flush() {
    if (!this.#link) return;
    const joining = this.#others.filter((entry) => entry.listeners && isPending(entry) && !entry.request);
    if (this.#isOff) {
      for (const entry of joining) this.#refuse(entry, "unknown_action", NONE);
      return;
    }
    // The client's own session needs no subscription, but which one that is may not be known yet.
    if (joining.length && this.#order.joined === undefined) {
      if (!this.#isAsked) this.hello();
      if (this.#timers.has("asked")) return;
    }
    const taken = this.#others.filter(({ isOn, request }) => isOn || request);
    const wanted = taken.filter(({ listeners }) => listeners);
    for (const entry of joining.splice(SUBSCRIPTIONS - wanted.length)) {
      this.#refuse(entry, "too_many_subscriptions", TOO_MANY);
    }
    // If there is no room, lingering sessions go at once.
    const room = Math.max(0, SUBSCRIPTIONS - taken.length);
    const isLeaving = (entry) => joining.length > room || !this.#isLingering(entry);
    const leaving = taken.filter((entry) => !entry.listeners && !entry.request && isLeaving(entry));
    for (const entry of leaving) {
      Object.assign(entry, { isReady: false, isLeft: true });
      this.#order.end(entry.name);
    }
    this.#ask("unsubscribe", leaving);
    // A session that was refused before goes alone: the others would be refused with it.
    const next = joining.slice(0, room);
    const doubtful = next.filter(({ isDoubtful }) => isDoubtful).map((entry) => [entry]);
    for (const part of [next.filter(({ isDoubtful }) => !isDoubtful), ...doubtful]) this.#ask("subscribe", part);
  }

  #ask(action, entries) {
    const names = entries.map(({ name }) => name);
    // A listener to frames or errors may have ended the link.
    if (entries.length && this.#link) this.#write(action, entries, names);
  }

  #write(action, entries, sessions) {
    const id = newId();
    const request = { id, action, entries, askedAt: this.#clock.uptime() };
    this.#requests.set(id, request);
    this.#timers.set(request, ANSWERED_WITHIN, () => this.#release(request));
    if (sessions) for (const entry of entries) entry.request = request;
    this.#link.ask(JSON.stringify({ action, sessions, id }), "subscriptions");
  }

  #again(request) {
    const failures = Math.max(1, ...request.entries.map((entry) => ++entry.failures));
    const wait = SECOND * 2 ** Math.min(failures, 5) * ((1 + Math.random()) / 2);
    this.#timers.set(request, wait, () => this.#release(request));
  }

  /**
   * The hub may have acted on the request or not. Assumes the opposite of what is wanted now, so that it is requested
   * again.
   */
  #release(request) {
    this.#forget(request);
    if (request.action === "hello") return;
    for (const entry of request.entries) turn(entry, !entry.listeners);
    this.#proceed();
  }

  #forget(request) {
    this.#timers.clear(request);
    this.#requests.delete(request.id);
    for (const entry of request.entries) if (entry.request === request) entry.request = null;
  }

  #reset(isKept) {
    this.#timers.clearAll();
    this.#requests.clear();
    for (const entry of this.#all)
      Object.assign(entry, { isOn: false, isReady: isKept && entry.isReady, request: null });
  }

  #refuse(entry, code, text) {
    entry.isDoubtful = true;
    entry.isReady = false;
    entry.error = new HubError(code, text, { session: entry.name });
    this.#order.reject(entry.name);
    this.#on.refused(entry.error);
  }

  #proceed() {
    this.#flush();
    for (const entry of this.#all) {
      const { name, listeners, isOn, request } = entry;
      // Neither side uses it any more.
      if (!listeners && !isOn && !request && !this.#isLingering(entry)) {
        this.#entries.delete(name);
        if (name !== this.#order.joined) this.#order.end(name);
      }
      this.#on.changed(name);
    }
    this.#on.proceeded();
  }
}

function turn(entry, isOn) {
  Object.assign(entry, { isOn, isReady: isOn });
  if (isOn) entry.isDoubtful = false;
}

/** Subscribed, without a pending request. */
function isSteady(entry) {
  return entry?.isOn && !entry.request;
}

function isPending({ isLeft, isOn, error }) {
  return !isLeft && !isOn && !error;
}
