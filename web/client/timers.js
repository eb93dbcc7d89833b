// Named timers, and a stopwatch that only goes forward.

/** Setting a timer again replaces it. All can be stopped at once. */
export function createTimers(clock) {
  const handles = new Map();
  const has = (name) => handles.has(name);
  const clear = (...names) => {
    for (const name of names) {
      if (has(name)) clock.clearTimeout(handles.get(name));
      handles.delete(name);
    }
  };
  const clearAll = () => clear(...handles.keys());
  const set = (name, ms, run) => {
    clear(name);
    // Timers overflow at 2^31 and would fire at once.
    if (!(ms < 2 ** 31)) return;
    const fire = () => {
      handles.delete(name);
      run();
    };
    handles.set(name, clock.setTimeout(fire, ms));
  };
  return { has, set, clear, clearAll };
}

/** Returns a function that counts milliseconds, including those in which the machine slept. It never goes back. */
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
