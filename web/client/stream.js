// Messages as an asynchronous iterator, for `for await`.

/** Calls `look` whenever the hub's state changes, or the signal is aborted. Returns a function that ends this. */
export function watch(hub, signal, look) {
  const off = hub.on("state", look);
  signal?.addEventListener("abort", look);
  return () => {
    off();
    signal?.removeEventListener("abort", look);
  };
}

/** The hub's messages for which `isWanted`, until the hub `isOver` or the signal is aborted. */
export function stream(hub, isWanted, isOver, signal, limit, onOverflow) {
  const waiting = [];
  let isFull = false;
  let wake = () => {};
  const off = [
    watch(hub, signal, () => wake()),
    hub.on("message", (message) => {
      if (!isWanted(message)) return;
      const wasFull = isFull;
      isFull = waiting.push(message) > limit;
      if (isFull) waiting.shift();
      if (isFull && !wasFull) onOverflow();
      wake();
    }),
  ];
  const messages = async function* () {
    try {
      while (!signal?.aborted) {
        if (waiting.length) yield waiting.shift();
        else if (isOver()) return;
        else await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      for (const end of off) end();
    }
  };
  return messages();
}
