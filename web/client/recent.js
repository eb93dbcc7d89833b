// Which messages have come before, so that repetitions are dropped.

import { REMEMBERED } from "./limits.js";

/**
 * Returns a function that tells whether a key has come within the last ten minutes, counted from the first time. The keys
 * are in two maps that take turns: an old one is dropped as a whole.
 */
export function rememberRecent(limit) {
  let current = new Map();
  let previous = current;
  let turnedAt = 0;
  return (key, now) => {
    if (now - (current.get(key) ?? previous.get(key)) < REMEMBERED) return true;
    if (current.size >= limit || now - turnedAt > REMEMBERED) {
      previous = current;
      current = new Map();
      turnedAt = now;
    }
    current.set(key, now);
    return false;
  };
}
