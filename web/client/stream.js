// Messages as an asynchronous iterator, for `for await`.

/** Calls `look` at each event of this type, and when the signal is aborted. Returns a function that stops it. */
export function watch(source, type, signal, look) {
  const off = source.on(type, look);
  signal?.addEventListener("abort", look);
  return () => {
    off();
    signal?.removeEventListener("abort", look);
  };
}

/** The messages of a source, the hub or a session of it, until the hub `isOver` or the signal is aborted. */
export function stream(hub, source, isOver, signal, limit, onOverflow) {
  const waiting = [];
  const readers = [];
  let isFull = false;
  let isEnded = false;
  const end = () => {
    isEnded = true;
    unwatch();
    off();
  };
  const look = () => {
    if (signal?.aborted) waiting.length = 0;
    if (signal?.aborted || isOver()) end();
    while (readers.length && (waiting.length || isEnded)) {
      const done = !waiting.length;
      readers.shift()({ value: waiting.shift(), done });
    }
  };
  const unwatch = watch(hub, "state", signal, look);
  const off = source.on("message", (message) => {
    const wasFull = isFull;
    isFull = waiting.push(message) > limit;
    if (isFull) waiting.shift();
    if (isFull && !wasFull) onOverflow();
    look();
  });
  return {
    next: () =>
      new Promise((resolve) => {
        readers.push(resolve);
        look();
      }),
    async return() {
      waiting.length = 0;
      end();
      look();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator ?? "@@asyncIterator"]() {
      return this;
    },
  };
}
