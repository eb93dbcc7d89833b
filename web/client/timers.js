// Time: timers with names, and a clock that only goes forward.

/** None is started twice, and all can be stopped at once. */
export class Timers {
  #clock;
  #handles = new Map();

  constructor(clock) {
    this.#clock = clock;
  }

  has(name) {
    return this.#handles.has(name);
  }

  set(name, ms, run) {
    this.clear(name);
    // Timers overflow at 2^31 and would fire at once.
    if (!(ms < 2 ** 31)) return;
    const fire = () => {
      this.#handles.delete(name);
      run();
    };
    this.#handles.set(name, this.#clock.setTimeout(fire, ms));
  }

  clear(name) {
    if (this.has(name)) this.#clock.clearTimeout(this.#handles.get(name));
    this.#handles.delete(name);
  }

  clearAll() {
    for (const name of [...this.#handles.keys()]) this.clear(name);
  }
}

/** Returns a function that tells how many milliseconds have passed: those that the machine slept too, and none twice. */
export function stopwatch(clock) {
  let passed = 0;
  let last = [clock.now(), clock.uptime()];
  return () => {
    const now = [clock.now(), clock.uptime()];
    passed += Math.max(now[0] - last[0], now[1] - last[1]);
    last = now;
    return passed;
  };
}
