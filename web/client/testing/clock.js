// A clock for tests: its time moves only when a test moves it.

import { hasEvents, nextTask, realNow } from "./tasks.js";

// A longer delay overflows in every runtime, and fires at once.
const LONGEST_DELAY = 2 ** 31 - 1;

// A timer that starts itself again without a delay would never let the clock move on.
const MOST_RUNS = 100_000;

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
      await nextTask();
    } while (hasEvents() || this.next <= 0);
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
