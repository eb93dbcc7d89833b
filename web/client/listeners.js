// A client's listeners. All of them see its events in the same order.

/** Returns two functions: one adds a listener, and returns a function that removes it; the other emits an event. */
export function createListeners() {
  const listeners = new Set();
  const queue = [];

  const on = (events, type, listener, isWanted = () => true) => {
    if (!events.includes(type) || typeof listener !== "function") {
      throw new TypeError(`on() takes ${events.join(" or ")}, and a function`);
    }
    const entry = { type, listener, isWanted };
    listeners.add(entry);
    return () => void listeners.delete(entry);
  };

  /** An event that a listener causes waits until every listener has seen the present one. */
  const emit = (...event) => {
    if (queue.push(event) > 1) return;
    for (; queue.length; queue.shift()) {
      const [type, ...args] = queue[0];
      for (const entry of [...listeners]) {
        if (type !== entry.type || !listeners.has(entry) || !entry.isWanted(...args)) continue;
        try {
          entry.listener(...args);
        } catch (error) {
          // A listener's error is reported as uncaught, and does not stop the client.
          setTimeout(() => {
            throw error;
          });
        }
      }
    }
  };

  return [on, emit];
}
