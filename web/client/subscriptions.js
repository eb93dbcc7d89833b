// Sessions that are listened to beside the client's own: subscribed to on each connection, and compared with what the hub has.

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

const NONE = "this hub has no subscriptions: a client hears its own session alone";

const TOO_MANY = `a client hears at most ${SUBSCRIPTIONS} sessions beside its own`;

export class Subscriptions {
  #entries = new Map(); // By session: what is listened to, and what the hub may still have.
  #requests = new Map(); // Without an answer, by id. No session is in two of them.
  #order;
  #on;
  #clock;
  #link = null;
  #isOff = false; // The hub has none.
  #isUnnamed = false; // The hub did not say in time which session is the client's own.
  #hello = null; // The one without an answer, and what the hub had when it was asked.
  #timers; // Of this link.
  #sweeping; // The timer of what nothing listens to any more.
  #isDue = false;
  #isOver = false;

  /** `on` has `changed(session)` and `refused(error)`. */
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

  isReady(session) {
    return this.#entries.get(session)?.isReady ?? false;
  }

  error(session) {
    return this.#entries.get(session)?.error ?? null;
  }

  /** Whether this connection is still to be subscribed to a session, or to any. */
  isPending(session) {
    return this.#others.some((entry) => isPending(entry) && (session ?? entry.name) === entry.name);
  }

  /** Returns a function that ends this listener. */
  listen(session) {
    if (this.#isOver || session === this.#order.joined) return () => {};
    const entry = this.#entry(session);
    entry.listeners++;
    entry.error = null;
    entry.isLeft = false;
    this.#flushSoon();
    let isEnded = false;
    return () => {
      if (isEnded || this.#isOver) return;
      isEnded = true;
      entry.listeners--;
      entry.leftAt = this.#clock.uptime();
      this.#sweepLater();
    };
  }

  /** From now on, this link counts. It has no subscriptions yet. */
  use(link) {
    const isHandOver = Boolean(link && this.#link);
    this.#link = link;
    this.#isOff = false;
    this.#hello = null;
    this.#timers.clearAll();
    this.#requests.clear();
    for (const entry of [...this.#entries.values()]) {
      // Until the hub has answered, the connection that is taken over from has it.
      Object.assign(entry, { isOn: false, isReady: isHandOver && entry.isReady, request: null, failures: 0 });
      if (link) entry.error = null;
      this.#settle(entry);
      this.#on.changed(entry.name);
    }
    if (link) this.#helloLater();
    this.#flush();
  }

  end() {
    this.#isOver = true;
    this.#sweeping.clearAll();
    this.#entries.clear();
  }

  answer({ id, sessions }) {
    const request = this.#requests.get(id);
    if (!request) return;
    const isOn = request.action === "subscribe";
    this.#close(request, isOn);
    if (isOn) for (const { session, ...position } of sessions) this.#order.stands(session, position, true);
    this.#proceed(request.entries);
  }

  asked(id) {
    return id !== undefined && (this.#requests.has(id) || id === this.#hello?.id);
  }

  /** Returns whether the error is about a subscription, and has been seen to. */
  refuse(id, code, text) {
    const request = this.#requests.get(id);
    if (!request || code === "not_connected") return Boolean(request);
    const { action, entries } = request;
    if (code === "internal" || action === "unsubscribe") {
      this.#again(request);
      return false;
    }
    this.#close(request, false);
    const wanted = entries.filter(({ listeners }) => listeners);
    // The hub refuses a frame as a whole, and perhaps for one session in it.
    const half = Math.ceil(wanted.length / 2);
    const isOne = entries.length === 1;
    for (const part of [wanted.slice(0, half), wanted.slice(half)]) {
      if (!isOne) this.#ask("subscribe", part);
      else for (const entry of part) this.#refuse(entry, code, text);
    }
    this.#proceed(entries);
    return true;
  }

  /** The hub has none. */
  off() {
    this.#isOff = true;
    this.#timers.clearAll();
    for (const request of this.#requests.values()) this.#close(request, false);
    this.#proceed([...this.#entries.values()]);
  }

  /** The hub has refused a question about a session as if this connection were not subscribed to it. */
  doubt(session) {
    const entry = this.#entries.get(session);
    if (!entry?.isOn || entry.request) return;
    entry.isOn = entry.isReady = false;
    this.#again((entry.request = { entries: [entry] }));
  }

  /** The gateway has refused a frame without saying which: any that was written lately. */
  suspect() {
    const since = this.#clock.uptime() - REFUSED_WITHIN;
    for (const request of this.#requests.values()) if (request.askedAt >= since) this.#again(request);
  }

  /** Asks what the hub knows of this connection. */
  hello() {
    if (!this.#link || this.#isOff || this.#timers.has("asked")) return;
    const id = newId();
    this.#hello = { id, entries: this.#others.filter(({ isOn, request }) => isOn && !request) };
    this.#timers.set("asked", NAMED_WITHIN, () => {});
    this.#helloLater();
    this.#link.ask(JSON.stringify({ action: "hello", id }), "subscriptions");
  }

  greet({ id, session, subscriptions, positions = [] }) {
    if (id !== this.#hello?.id) return;
    const { entries } = this.#hello;
    this.#hello = null;
    this.#timers.clear("asked");
    this.#order.join(session);
    for (const { session, ...position } of positions) this.#order.stands(session, position);
    // What has been asked since is not in the answer.
    for (const entry of entries) {
      if (entry.isOn && !entry.request && !subscriptions.includes(entry.name)) entry.isOn = entry.isReady = false;
    }
    for (const name of subscriptions) if (!this.#entries.has(name)) this.#entry(name).isOn = true;
    this.#proceed([...this.#entries.values()]);
  }

  get #others() {
    return [...this.#entries.values()].filter(({ name }) => name !== this.#order.joined);
  }

  #entry(name) {
    let entry = this.#entries.get(name);
    if (!entry) {
      entry = {
        name,
        listeners: 0,
        isLeft: true,
        isOn: false,
        isReady: false,
        request: null,
        error: null,
        failures: 0,
      };
      this.#entries.set(name, entry);
    }
    return entry;
  }

  /** Who ends a listener may begin the next one at once, as React does. */
  #isLingering({ listeners, leftAt }) {
    return !listeners && this.#clock.uptime() - leftAt < LINGER - TOGETHER;
  }

  #sweepLater() {
    if (this.#sweeping.has("sweep")) return;
    const lingering = [...this.#entries.values()].filter((entry) => this.#isLingering(entry));
    const first = Math.min(...lingering.map(({ leftAt }) => leftAt));
    this.#sweeping.set("sweep", first + LINGER - this.#clock.uptime(), () => {
      this.#proceed([...this.#entries.values()]);
      this.#sweepLater();
    });
  }

  #helloLater() {
    this.#timers.set("hello", HELLO_INTERVAL * (0.9 + Math.random() / 5), () => this.hello());
  }

  /** What is asked for in one breath is asked in one frame. */
  async #flushSoon() {
    if (this.#isDue) return;
    this.#isDue = true;
    await null;
    this.#isDue = false;
    this.#flush();
  }

  #flush() {
    if (!this.#link) return;
    const joining = this.#others.filter((entry) => isPending(entry) && !entry.request);
    if (this.#isOff) {
      for (const entry of joining) this.#refuse(entry, "unknown_action", NONE);
      return;
    }
    // To be told of one's own session takes no subscription.
    if (joining.length && this.#order.joined === undefined && !this.#isUnnamed) {
      if (this.#timers.has("name")) return;
      this.#timers.set("name", NAMED_WITHIN, () => {
        this.#isUnnamed = true;
        this.#flush();
      });
      return this.hello();
    }
    const taken = this.#others.filter(({ isOn, request }) => isOn || request);
    const wanted = taken.filter(({ listeners }) => listeners);
    for (const entry of joining.splice(SUBSCRIPTIONS - wanted.length)) {
      this.#refuse(entry, "too_many_subscriptions", TOO_MANY);
    }
    const room = Math.max(0, SUBSCRIPTIONS - taken.length);
    const isLeaving = (entry) => joining.length > room || !this.#isLingering(entry);
    const leaving = taken.filter((entry) => !entry.listeners && !entry.request && isLeaving(entry));
    this.#ask("unsubscribe", leaving);
    const next = joining.slice(0, room);
    this.#ask(
      "subscribe",
      next.filter(({ isDoubtful }) => !isDoubtful),
    );
    for (const entry of next) if (entry.isDoubtful) this.#ask("subscribe", [entry]);
  }

  #ask(action, entries) {
    // Whoever listens to frames or errors may have ended it meanwhile.
    if (!entries.length || !this.#link) return;
    const id = newId();
    const request = { id, action, entries, askedAt: this.#clock.uptime() };
    this.#requests.set(id, request);
    for (const entry of entries) {
      entry.request = request;
      if (action === "subscribe") continue;
      Object.assign(entry, { isReady: false, isLeft: true });
      this.#order.end(entry.name);
    }
    this.#timers.set(request, ANSWERED_WITHIN, () => this.#release(request));
    this.#link.ask(JSON.stringify({ action, sessions: entries.map(({ name }) => name), id }), "subscriptions");
  }

  #again(request) {
    const failures = Math.max(...request.entries.map((entry) => ++entry.failures));
    const wait = SECOND * 2 ** Math.min(failures, 5) * ((1 + Math.random()) / 2);
    this.#timers.set(request, wait, () => this.#release(request));
  }

  /** It was done or not. Both are mended by what is wanted now. */
  #release(request) {
    this.#close(request, false);
    for (const entry of request.entries) entry.isOn = !entry.listeners;
    this.#proceed(request.entries);
  }

  #close(request, isOn) {
    this.#timers.clear(request);
    this.#requests.delete(request.id);
    for (const entry of request.entries) {
      Object.assign(entry, { isOn, isReady: isOn, request: null });
      if (isOn) entry.isDoubtful = false;
    }
  }

  #refuse(entry, code, text) {
    entry.isDoubtful = true;
    entry.isReady = false;
    entry.error = new HubError(code, text, { session: entry.name });
    this.#order.reject(entry.name);
    this.#on.refused(entry.error);
    this.#on.changed(entry.name);
  }

  #proceed(entries) {
    this.#flush();
    for (const entry of entries) {
      this.#settle(entry);
      this.#on.changed(entry.name);
    }
  }

  /** Forgets what is of no concern any more. */
  #settle(entry) {
    const { name, listeners, isOn, request } = entry;
    if (listeners || isOn || request || this.#isLingering(entry)) return;
    this.#entries.delete(name);
    if (name !== this.#order.joined) this.#order.end(name);
  }
}

function isPending({ listeners, isOn, error }) {
  return listeners > 0 && !isOn && !error;
}
