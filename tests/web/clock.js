// A clock that stands still until a test winds it: the timers, and the time of day.

export class Clock {
  /** How far this machine's time of day is ahead of the true one. */
  skew = 0;

  // A whole second, as tokens count them.
  #begin = Math.floor(Date.now() / 1_000) * 1_000;
  #now = 0;
  #slept = 0;
  #timers = new Set();
  #ids = 0;

  /** Replaces the timers, Date.now and performance.now until it is called upon to `restore` them. */
  constructor() {
    const { setTimeout, clearTimeout } = globalThis;
    const { now } = Date;
    this.restore = () => {
      Object.assign(globalThis, { setTimeout, clearTimeout });
      Date.now = now;
      delete performance.now;
    };
    // As the timers do, it stands still while the machine sleeps.
    performance.now = () => this.#now;
    Date.now = () => Math.floor(this.time + this.skew);
    globalThis.setTimeout = (run, ms = 0, ...args) => {
      const timer = { at: this.#now + ms, run: () => run(...args), id: ++this.#ids };
      timer.ref = timer.unref = () => timer;
      this.#timers.add(timer);
      return timer;
    };
    globalThis.clearTimeout = (timer) => this.#timers.delete(timer);
  }

  /** The true time, which a hub goes by. */
  get time() {
    return this.#begin + this.#now + this.#slept;
  }

  /** How many timers are running. */
  get running() {
    return this.#timers.size;
  }

  /** How long until the next of them is due. */
  get next() {
    return Math.min(...[...this.#timers].map(({ at }) => at - this.#now));
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

  /** Time passes while the machine sleeps, and its timers stand still. */
  sleep(ms) {
    this.#slept += ms;
  }
}
