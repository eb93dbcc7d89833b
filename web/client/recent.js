// Remembers recent messages, so that repetitions are dropped.

import { REMEMBERED } from "./limits.js";

/**
 * Returns a function that tells whether a key was first seen within the last ten minutes. The keys are in two maps, of
 * which the older one is dropped as a whole.
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
