// Sends that have no answer yet: how many are written at once, which are written again, and when one is given up.

import { HubError } from "./errors.js";
import { Timers } from "./timers.js";

// How many of them may be written and unanswered, and how many of a backlog are written at once.
const WINDOW = 50;
const SLICE = 10;

// A send that has gone down with this many connections is given up, and so is one that the gateway refused more often.
const LOSSES = 3;
const REPEATS = 3;

export class Outbox {
  resent = 0;
  #sends = new Map(); // By id, oldest first. One without a link waits for it.
  #link = null; // Carries what is written.
  #options;
  #clock;
  #timers;
  #onSettled;

  /** Calls `onSettled` with the link that carried a send, or null, when it no longer does. */
  constructor(options, onSettled) {
    this.#options = options;
    this.#clock = options.clock;
    this.#timers = new Timers(options.clock);
    this.#onSettled = onSettled;
  }

  get size() {
    return this.#sends.size;
  }

  get isFull() {
    return this.#sends.size >= this.#options.queueLimit;
  }

  has(id) {
    return this.#sends.has(id);
  }

  carriedBy(link) {
    return [...this.#sends.values()].filter((send) => send.link === link);
  }

  /** Resolves with the receipt. */
  add(id, frame, { ttl, signal }) {
    return new Promise((resolve, reject) => {
      const send = { id, frame, ttl, link: null, writes: 0, losses: 0, repeats: 0, refusal: null };
      send.deadline = this.#clock.now() + ttl;
      const timer = ttl === Infinity ? null : this.#clock.setTimeout(() => this.#expire(send), ttl);
      const abort = () => send.settle(reject, signal.reason ?? new Error("aborted"));
      send.settle = (how, value) => {
        if (this.#sends.get(id) !== send) return;
        if (timer !== null) this.#clock.clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#sends.delete(id);
        how(value);
        this.#onSettled(send.link);
      };
      send.succeed = (receipt) => send.settle(resolve, receipt);
      send.fail = (code, text, details) => {
        send.settle(reject, new HubError(code, text, { id, mayHaveArrived: send.writes > 0, ...details }));
      };
      signal?.addEventListener("abort", abort);
      this.#sends.set(id, send);
      this.flush();
    });
  }

  /** From now on, this link carries what is written; with null, everything waits. */
  use(link) {
    this.#link = link;
    if (link) this.flush();
    else this.#timers.clear("flush");
  }

  receipt(receipt) {
    this.#sends.get(receipt.id)?.succeed(receipt);
  }

  /** Whether the hub's error was about one of these. */
  refuse(code, text, id) {
    const send = this.#sends.get(id);
    // One that was written before may have arrived then.
    send?.fail(code, text, { mayHaveArrived: code === "internal" || send.writes > 1 });
    return Boolean(send);
  }

  /** The hub no longer knows the connection: its loss, which comes next, is for this reason. */
  notConnected(text, id) {
    const send = this.#sends.get(id);
    if (send) send.refusal = ["not_connected", text];
  }

  /** The link is gone; what it carried waits for the next one. */
  lost(link, { code, isCounted = true } = {}) {
    if (this.#link === link) this.use(null);
    const carried = this.carriedBy(link);
    for (const send of carried) send.link = null;
    if (!isCounted) return;
    // 1009 says that a frame was too large. It was the largest; sent again, it would close the next connection too.
    if (code === 1009 && carried.length) {
      const largest = carried.reduce((a, b) => (b.frame.length > a.frame.length ? b : a));
      largest.fail("message_too_large", "the gateway refused a frame of this size: send a link, or split it", {
        mayHaveArrived: false,
      });
    }
    for (const send of carried) {
      if (++send.losses < LOSSES) continue;
      const text = `${LOSSES} connections were lost before the hub's answer: perhaps something on the way rejects this message`;
      send.fail(...(send.refusal ?? ["connection_lost", text]));
    }
  }

  /** The gateway has refused a frame without saying which: what is still unanswered after a while is written again. */
  repeat(link) {
    const carried = this.carriedBy(link);
    const timer = `repeat ${link.number}`;
    if (!carried.length || this.#timers.has(timer)) return;
    const repeats = Math.max(...carried.map((send) => send.repeats));
    this.#timers.set(timer, 250 * 2 ** repeats * (1 + 2 * Math.random()), () => {
      for (const send of carried) {
        if (send.link !== link || !this.has(send.id)) continue;
        send.link = null;
        if (++send.repeats > REPEATS) send.fail("gateway", "the gateway keeps refusing this message: try again later");
      }
      this.#onSettled(link);
      this.flush();
    });
  }

  /** A backlog is written in slices with pauses, so that a crowd that comes back does not come all at once. */
  flush() {
    if (!this.#link || this.#timers.has("flush")) return;
    let slice = SLICE;
    for (const send of this.carriedBy(null)) {
      const carried = this.carriedBy(this.#link);
      if (carried.length >= WINDOW) return;
      // What went down with a connection may be the reason: such sends go one at a time.
      if (send.losses && carried.some(({ losses }) => losses)) continue;
      if (slice-- === 0) {
        this.#timers.set("flush", 50 + 100 * Math.random(), () => this.flush());
        return;
      }
      this.#write(send);
      // Whoever listens to frames may have ended the link.
      if (!this.#link) return;
    }
  }

  /** Ends every send. */
  end(code, text, details) {
    this.#timers.clearAll();
    this.#link = null;
    for (const send of [...this.#sends.values()]) send.fail(code, text, details);
  }

  #write(send) {
    // Timers stand still while a machine sleeps.
    if (this.#clock.now() >= send.deadline) return this.#expire(send);
    send.link = this.#link;
    if (send.writes++) this.resent++;
    this.#link.ask(send.frame);
  }

  #expire(send) {
    const seconds = send.ttl / 1_000;
    const fate = send.writes ? "it may have arrived, or not" : "it was never sent";
    send.fail("timeout", `the hub has not answered this message within ${seconds} s (ttl): ${fate}`);
  }
}
