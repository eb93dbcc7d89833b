// Which messages have come before, so that repetitions are dropped.

const REMEMBERED = 10 * 60_000;

/** Keys of the last ten minutes, in two maps that take turns: an old one is dropped as a whole. */
export class Recent {
  #clock;
  #limit;
  #current = new Map();
  #previous = new Map();
  #turnedAt;

  constructor(clock, limit) {
    this.#clock = clock;
    this.#limit = limit;
    this.#turnedAt = clock.now();
  }

  /** Whether the key has come within the last ten minutes. It counts from the first time. */
  has(key) {
    const now = this.#clock.now();
    const isRecent = (at) => Math.abs(now - at) < REMEMBERED;
    const seenAt = this.#current.get(key) ?? this.#previous.get(key);
    if (seenAt !== undefined && isRecent(seenAt)) return true;
    if (this.#current.size >= this.#limit || !isRecent(this.#turnedAt)) {
      this.#previous = this.#current;
      this.#current = new Map();
      this.#turnedAt = now;
    }
    this.#current.set(key, now);
    return false;
  }
}
