// A clock that stands still until a test winds it.

export class Clock {
  #now = 0;
  #timers = new Set();
  #ids = 0;

  /** Replaces the timers until it is called upon to `restore` them. */
  constructor() {
    const { setTimeout, clearTimeout } = globalThis;
    this.restore = () => Object.assign(globalThis, { setTimeout, clearTimeout });
    globalThis.setTimeout = (run, ms = 0, ...args) => {
      const timer = { at: this.#now + ms, run: () => run(...args), id: ++this.#ids };
      timer.ref = timer.unref = () => timer;
      this.#timers.add(timer);
      return timer;
    };
    globalThis.clearTimeout = (timer) => this.#timers.delete(timer);
  }

  /** How many timers are running. */
  get running() {
    return this.#timers.size;
  }

  tick(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.id - b.id)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = end;
  }
}
