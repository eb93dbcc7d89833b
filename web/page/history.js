// A session's history: how far this browser has read it, what came earlier, and what was missed meanwhile.

import * as conversation from "./conversation.js";

// How many of the messages that came earlier are shown, and how long live ones wait for them.
const RECENT = 50;
const PATIENCE = 5_000;

const AWAY = "While you were away";
const CUT_OFF = "While the connection was lost";

function keyOf({ url, session }) {
  return `position ${JSON.stringify([url, session])}`;
}

/** Up to where this browser has shown the session's messages, if it ever has. */
export function restore(place) {
  try {
    const [, offset, epoch] = /^(\d{1,15}) (.+)$/.exec(localStorage.getItem(keyOf(place))) ?? [];
    return epoch && { epoch, offset: Number(offset) };
  } catch {
    // The browser may let this page keep nothing.
    return undefined;
  }
}

function store(place, { epoch, offset }) {
  try {
    localStorage.setItem(keyOf(place), `${offset} ${epoch}`);
  } catch {
    // As above: the next visit begins anew.
  }
}

/**
 * Shows what the client tells, after what came earlier, and what was missed under a line that says so. The client begins after
 * `position`; `isAgain` says that it takes over from one that has failed, `isCurrent()` that it is still the page's, and
 * `isOwn(message)` that this page has sent the message, and shows it as sent.
 */
export function follow(client, { place, position, isAgain, isCurrent, isOwn, received, answer }) {
  const queue = []; // Has come, and is not shown yet.
  let ready = isAgain ? Promise.resolve() : null; // What came earlier is shown.
  let earlier; // Up to here, everything was shown as having come earlier.
  let away = isAgain ? CUT_OFF : position && AWAY; // When the hub sent what is missed from here on.

  async function showEarlier() {
    try {
      const messages = await recent(client, queue);
      if (!isCurrent()) return;
      earlier = messages.at(-1)?.position;
      conversation.showEarlier(
        messages.filter((message) => !isOwn(message)),
        answer,
      );
    } catch ({ code }) {
      const isOurs = isCurrent() && client.state.name === "open" && code !== "unknown_action";
      if (isOurs) conversation.showNotice("What came earlier could not be loaded. Reload the page to try again.");
    }
  }

  function flush() {
    if (!isCurrent()) return;
    for (let event; (event = queue.shift());) {
      if (event.to) conversation.showNotice(inWords(event, queue), away);
      else show(event);
    }
    const reached = client.position();
    if (!reached || reached === position) return;
    position = reached;
    store(place, position);
  }

  function show(message) {
    // What comes by itself ends the absence. After that, what was asked for is no more than late.
    if (message.position && !message.missed) away = null;
    if (isUpTo(earlier, message) || isOwn(message)) return;
    received(message, (message.missed && away) || undefined);
  }

  // What is told together is shown together.
  const tell = () => ready?.then(flush);
  client.on("message", (message) => {
    queue.push(message);
    tell();
  });
  for (const type of ["lost", "gap"]) {
    client.on(type, (missing) => {
      queue.push({ type, ...missing });
      tell();
    });
  }
  // The position moves without messages too.
  client.on("frame", tell);
  client.on("state", (now, before) => {
    if (now.name === "open") ready ??= showEarlier();
    else if (before.name === "open") away = now.name === "paused" ? AWAY : CUT_OFF;
  });
}

function isUpTo(position, message) {
  return position && message.position?.epoch === position.epoch && message.position.offset <= position.offset;
}

/** The newest messages before those that the client tells, of which some may wait in the `queue`. */
async function recent(client, queue) {
  const signal = AbortSignal.timeout(PATIENCE);
  for (let wait = 250; ; wait *= 2) {
    const { epoch, offset, more, messages } = await client.history({ last: RECENT, signal });
    const told = queue.find(({ position }) => position)?.position;
    const known = client.position();
    const before = told ? { epoch: told.epoch, offset: told.offset - 1 } : known;
    // The client may not have been told yet where it begins, or later than this; and a message may still be on its way.
    const isWhole = before && !more && (epoch !== before.epoch || offset >= before.offset);
    if (isWhole) return messages.filter((message) => isUpTo(before, message));
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function inWords({ type, from, to }, told) {
  const isSince = from?.epoch === to.epoch && to.offset > from.offset;
  // Not every number has a message.
  const count = isSince ? to.offset - from.offset - told.filter((message) => isUpTo(to, message)).length : 0;
  const what = count > 1 ? `Up to ${count} messages are` : count === 1 ? "A message is" : "Messages may be";
  const why =
    type === "gap"
      ? "not received in time. Reload the page to look again."
      : count > 0
        ? "no longer kept by the hub."
        : "the hub’s history has begun anew.";
  return `${what} missing here: ${why}`;
}
