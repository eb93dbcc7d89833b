// Messages as an asynchronous iterator, for `for await`.

/** Ends with its client, when its signal is aborted, and when its reader leaves the loop. Holds `limit` messages. */
export class Stream {
  #waiting = [];
  #readers = [];
  #isOver = false;
  #end;

  constructor({ client, isWanted, signal, limit, onOverflow }) {
    let isOverflowing = false;
    const off = [
      client.on("message", (message) => {
        if (!isWanted(message)) return;
        const reader = this.#readers.shift();
        if (reader) return reader({ value: message, done: false });
        if (this.#waiting.push(message) <= limit) {
          isOverflowing = false;
          return;
        }
        this.#waiting.shift();
        if (!isOverflowing) onOverflow(`a loop over messages() is too slow: ${limit} wait (bufferLimit), the oldest are dropped`);
        isOverflowing = true;
      }),
      client.on("state", ({ name }) => /^(closed|failed)$/.test(name) && this.#end()),
    ];
    const abort = () => {
      this.#waiting = [];
      this.#end();
    };
    this.#end = () => {
      this.#isOver = true;
      for (const run of off) run();
      signal?.removeEventListener("abort", abort);
      for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true });
    };
    signal?.addEventListener("abort", abort);
    if (signal?.aborted || /^(closed|failed)$/.test(client.state.name)) abort();
  }

  next() {
    if (this.#waiting.length) return Promise.resolve({ value: this.#waiting.shift(), done: false });
    if (this.#isOver) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return() {
    this.#waiting = [];
    this.#end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator ?? "@@asyncIterator"]() {
    return this;
  }
}
