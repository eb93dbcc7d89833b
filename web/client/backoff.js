// How long the client waits before it reconnects.

import { MINUTE, REFUSALS } from "./limits.js";

/** The attempts since a connection last counted as a success, and the handshakes refused in a row. */
export const noFailures = () => ({ attempt: 0, refused: 0 });

/**
 * Counts a failed attempt, or a lost connection. Returns the time to the next attempt, and whether attempts are rare
 * now, after many refusals.
 */
export function nextAttempt(failures, { presented }, isRefused, { backoffBase, backoffMax, refusedRetry }) {
  if (presented) failures.refused = isRefused ? failures.refused + 1 : 0;
  const bound = Math.min(backoffMax, backoffBase * 2 ** failures.attempt++);
  // Full jitter: clients that were cut together spread out.
  if (!isRefused || failures.refused < REFUSALS) return [bound * Math.random()];
  // Not sooner, since in a browser a hub that is unreachable for a moment looks the same.
  const rare = Math.min(refusedRetry, MINUTE * 2 ** (failures.refused - REFUSALS));
  return [(rare * (1 + Math.random())) / 2, true];
}
