// Messages as an asynchronous iterator, for `for await`.

/** `listen(message, over)` calls these as messages come and when the client is over, and returns a function that ends it. */
export function stream(listen, { limit, signal, onOverflow }) {
  const waiting = [];
  let isOver = false;
  let isFull = false;
  let wake = () => {};
  const over = () => {
    isOver = true;
    wake();
  };
  const abort = () => {
    waiting.length = 0;
    over();
  };
  const take = (message) => {
    const wasFull = isFull;
    isFull = waiting.push(message) > limit;
    if (isFull) waiting.shift();
    if (isFull && !wasFull) onOverflow();
    wake();
  };
  const off = listen(take, over);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  const messages = async function* () {
    try {
      for (;;) {
        if (waiting.length) yield waiting.shift();
        else if (isOver) return;
        else await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      off();
      signal?.removeEventListener("abort", abort);
    }
  };
  return messages();
}
