// What the fake hub keeps of a session when it has history.

import { toBytes } from "./bytes.js";

const ANSWER_BYTES = 30 * 1024;
const sizeOf = (frame) => toBytes(JSON.stringify(frame)).length;

// A missing message that its sender may still write.
const YOUNG = {};

/** The newest offset, and an item for each offset: its message, or none if it is sealed. */
export class Log {
  static #count = 0;

  items = new Map();
  #session;
  #now;
  #epoch = `e${String(++Log.#count).padStart(7, "0")}`;
  #last = 0;
  #takenAt;

  constructor(session, now) {
    this.#session = session;
    this.#now = now;
  }

  get head() {
    return { epoch: this.#epoch, offset: this.#last };
  }

  take() {
    this.#takenAt = this.#now();
    return { epoch: this.#epoch, offset: ++this.#last };
  }

  keep(delivery) {
    const place = this.take();
    this.items.set(place.offset, { frame: { ...delivery, ...place }, at: this.#takenAt });
    return place;
  }

  answer({ id, epoch, after, last, limit: asked = 100 }) {
    const limit = after === undefined ? 100 : asked;
    const isAhead = after !== undefined && (epoch !== this.#epoch || after > this.#last);
    const begin = last ? this.#beginOf(last) : isAhead ? 0 : (after ?? this.#last);
    const messages = [];
    let complete = !isAhead;
    let more = false;
    for (let offset = begin + 1, size = 0; offset <= this.#last && !more; offset++) {
      const item = this.items.get(offset) ?? this.#seal(offset);
      if (!item) complete = false;
      if (!item?.frame) {
        more = item === YOUNG;
        continue;
      }
      size += sizeOf(item.frame);
      more = messages.length > 0 && (messages.length >= limit || size > ANSWER_BYTES);
      if (!more) messages.push(item.frame);
    }
    const head = { type: "history", id, session: this.#session, ...this.head, more };
    return { ...head, ...(after !== undefined && { complete }), messages };
  }

  /** What the newest messages come after: as many as are asked for, and fit. */
  #beginOf(count) {
    let offset = this.#last;
    for (let found = 0, size = 0; offset > 0; offset--) {
      const { frame } = this.items.get(offset) ?? {};
      if (!frame) continue;
      size += sizeOf(frame);
      if (found === count || (found > 0 && size > ANSWER_BYTES)) break;
      found++;
    }
    return offset;
  }

  /** A number without an item, after one that is there, is one that its sender has left: sealed, unless it is young. */
  #seal(offset) {
    if (!this.items.has(offset - 1)) return undefined;
    let later = offset + 1;
    while (later <= this.#last && !this.items.has(later)) later++;
    const since = this.items.get(later)?.at ?? this.#takenAt;
    if (this.#now() - since < 1_000) return YOUNG;
    const item = {};
    this.items.set(offset, item);
    return item;
  }
}
