// When a connection is replaced, when its token is renewed, and how long it stays open beside the next one.

import { MINUTE, SECOND, WATCH_INTERVAL } from "./limits.js";

/** For a link that has just opened. */
export function plan(link, now, { handoverAfter }) {
  // Up to a tenth early, so that clients that connected together do not hand over together.
  link.replaceAt = now + handoverAfter * (1 - Math.random() / 10);
  const left = link.endsAt - now;
  const early = Math.min(MINUTE, left / 4) + Math.random() * Math.min(MINUTE, left / 10);
  link.renewAt = Math.max(now + SECOND, link.endsAt - early);
}

export function isDue({ replaceAt, renewAt }, now) {
  return now >= Math.min(replaceAt, renewAt);
}

/** The time until the link is looked at again. */
export function nextLook({ replaceAt, renewAt, endsAt }, now) {
  return Math.min(...[replaceAt, renewAt, endsAt, now + WATCH_INTERVAL].filter((at) => at > now)) - now;
}

/** Whether the machine was asleep since the last look: the timers stood still. In a hidden tab they run once per minute. */
export function hasSlept(link, now, up) {
  const passed = now - link.seenAt;
  const ran = up - link.seenUp;
  Object.assign(link, { seenAt: now, seenUp: up });
  return passed - ran > WATCH_INTERVAL || passed > 3 * WATCH_INTERVAL;
}

/** Whether `next` would only present the same token again. The next attempt is then halfway to its expiry. */
export function gainsNothing(link, next, now) {
  if (now >= link.replaceAt || next.expires > link.expires) return false;
  link.renewAt = now + Math.max(SECOND, (link.endsAt - now) / 2);
  return true;
}

/** Calls `settle` when a replaced link may end: after the overlap, and when its token has expired. */
export function retire({ timers, endsAt }, now, { handoverOverlap }, settle) {
  timers.clear("watch");
  // The hub sends nothing to a connection whose token has expired.
  const left = Math.max(0, endsAt - now);
  timers.set("overlap", Math.min(handoverOverlap, left), settle);
  timers.set("end", left + SECOND, settle);
}
