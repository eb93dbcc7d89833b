// Which messages have come before, so that repetitions are dropped.

const REMEMBERED = 10 * 60_000;

/** Keys of the last ten minutes, in two maps that take turns: an old one is dropped as a whole. */
export class Recent {
  #limit;
  #current = new Map();
  #previous;
  #turnedAt = 0;

  constructor(limit) {
    this.#limit = limit;
  }

  /** Whether the key has come within the last ten minutes. It counts from the first time. */
  has(key, now) {
    const seenAt = this.#current.get(key) ?? this.#previous?.get(key);
    if (now - seenAt < REMEMBERED) return true;
    if (this.#current.size >= this.#limit || now - this.#turnedAt > REMEMBERED) {
      this.#previous = this.#current;
      this.#current = new Map();
      this.#turnedAt = now;
    }
    this.#current.set(key, now);
    return false;
  }
}
