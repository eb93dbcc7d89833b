// Sends that have no answer yet: how many are written at once, which are written again, and when one is given up.

import { HubError } from "./errors.js";
import { Timers } from "./timers.js";

// How many may be written and unanswered, and how many of a backlog are written at once.
const WINDOW = 50;
const SLICE = 10;

// A send that has gone down with this many connections is given up, and so is one that the gateway keeps refusing.
const LOSSES = 3;
const REPEATS = 3;

export class Outbox {
  resent = 0;
  #sends = new Map(); // By id, oldest first. One without a link waits for it.
  #link = null; // Carries what is written.
  #stopwatch;
  #timers;
  #onSettled;

  /** Calls `onSettled` with the link that carried a send, or null, when it no longer does. */
  constructor({ clock }, stopwatch, onSettled) {
    this.#timers = new Timers(clock);
    this.#stopwatch = stopwatch;
    this.#onSettled = onSettled;
  }

  get size() {
    return this.#sends.size;
  }

  has(id) {
    return this.#sends.has(id);
  }

  carriedBy(link) {
    return [...this.#sends.values()].filter((send) => send.link === link);
  }

  /** Resolves with the receipt. */
  add(id, frame, ttl, signal) {
    return new Promise((resolve, reject) => {
      const send = { id, frame, link: null, writes: 0, losses: 0, repeats: 0, deadline: this.#stopwatch() + ttl };
      const settle = (how, value) => {
        if (this.#sends.get(id) !== send) return;
        this.#timers.clear(send);
        signal?.removeEventListener("abort", abort);
        this.#sends.delete(id);
        how(value);
        this.#onSettled(send.link);
      };
      const abort = () => settle(reject, signal.reason ?? new Error("aborted"));
      send.succeed = (receipt) => settle(resolve, receipt);
      send.fail = (code, text, details) =>
        settle(reject, new HubError(code, text, { id, mayHaveArrived: send.writes > 0, ...details }));
      send.expire = () => {
        const fate = send.writes ? "it may have arrived, or not" : "it was never sent";
        send.fail("timeout", `no answer within ${ttl / 1_000} s (ttl): ${fate}`);
      };
      this.#timers.set(send, ttl, send.expire);
      signal?.addEventListener("abort", abort);
      this.#sends.set(id, send);
      this.flush();
    });
  }

  /** From now on, this link carries what is written; without one, everything waits. */
  use(link) {
    this.#link = link;
    this.flush();
  }

  receipt(receipt) {
    this.#sends.get(receipt.id)?.succeed(receipt);
  }

  /** Returns whether the hub's error was about one of these. */
  refuse(code, text, id) {
    const send = this.#sends.get(id);
    // Its connection's loss comes next, for this reason.
    if (send && code === "not_connected") send.refusal = [code, text];
    // One that was written before may have arrived then.
    else send?.fail(code, text, { mayHaveArrived: code === "internal" || send.writes > 1 });
    return Boolean(send);
  }

  /** The link is gone, and what it carried waits for the next one. */
  lost(link, code) {
    if (this.#link === link) this.#link = null;
    const carried = this.carriedBy(link);
    for (const send of carried) send.link = null;
    // 1009 says that a frame was too large. It was the largest; sent again, it would close the next connection too.
    const [largest] = carried.slice().sort((a, b) => b.frame.length - a.frame.length);
    if (code === 1009 && largest) {
      const text = "the gateway refused a frame of this size: send a link, or split it";
      largest.fail("message_too_large", text, { mayHaveArrived: false });
      carried.splice(carried.indexOf(largest), 1);
    }
    // Without a code nobody but the client itself has ended it.
    for (const send of code === null ? [] : carried) {
      const text = `${LOSSES} connections were lost with it: perhaps something on the way rejects this message`;
      if (++send.losses >= LOSSES) send.fail(...(send.refusal ?? ["connection_lost", text]));
    }
  }

  /** The gateway has refused a frame without saying which: what is still unanswered after a while is written again. */
  repeat(link) {
    const carried = this.carriedBy(link);
    const delay = 250 * 2 ** link.throttled * (1 + Math.random());
    if (this.#timers.has(link)) return;
    this.#timers.set(link, delay, () => {
      for (const send of carried.filter(({ id, link: by }) => by === link && this.has(id))) {
        send.link = null;
        if (++send.repeats > REPEATS) send.fail("gateway", "the gateway keeps refusing this message: try again later");
      }
      this.#onSettled(link);
    });
  }

  /** A backlog is written in slices with pauses, so that a crowd that comes back does not come all at once. */
  flush() {
    if (this.#timers.has("flush")) return;
    let slice = SLICE;
    for (const send of this.carriedBy(null)) {
      const carried = this.carriedBy(this.#link);
      // Whoever listens to frames may have ended the link.
      if (!this.#link || carried.length >= WINDOW) return;
      // What went down with a connection may be the reason: such sends go one at a time.
      if (send.losses && carried.some(({ losses }) => losses)) continue;
      if (!slice--) {
        this.#timers.set("flush", 50 + 100 * Math.random(), () => this.flush());
        return;
      }
      // Timers stand still while a machine sleeps.
      if (this.#stopwatch() >= send.deadline) {
        send.expire();
        continue;
      }
      send.link = this.#link;
      if (send.writes++) this.resent++;
      this.#link.ask(send.frame);
    }
  }

  /** Ends every send. */
  end(code, text) {
    this.#link = null;
    for (const { fail } of this.carriedBy(null)) fail(code, text, { retryable: false });
    this.#timers.clearAll();
  }
}
