// Timers with names.

/** Timers by name, so that none is started twice and all can be stopped at once. */
export class Timers {
  #clock;
  #handles = new Map();

  constructor(clock) {
    this.#clock = clock;
  }

  has(name) {
    return this.#handles.has(name);
  }

  /** After an infinite time, nothing runs. */
  set(name, ms, run) {
    this.clear(name);
    if (ms === Infinity) return;
    const handle = this.#clock.setTimeout(() => {
      this.#handles.delete(name);
      run();
    }, ms);
    this.#handles.set(name, handle);
  }

  clear(name) {
    if (!this.#handles.has(name)) return;
    this.#clock.clearTimeout(this.#handles.get(name));
    this.#handles.delete(name);
  }

  clearAll() {
    for (const name of [...this.#handles.keys()]) this.clear(name);
  }
}
