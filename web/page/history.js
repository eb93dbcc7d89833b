// A session's history: the position up to which this browser has shown it, earlier messages, and missed ones.

// How many earlier messages are shown, and how long new ones wait for them.
const RECENT = 50;
const PATIENCE = 5_000;

const AWAY = "While you were away";
const CUT_OFF = "While the connection was lost";

/** The storage key of the own session, or of a room that was read as that session. */
function keyOf({ url, session }, name) {
  return `position ${JSON.stringify([url, session, ...(name === session ? [] : [name])])}`;
}

/** The positions up to which this browser has shown each session's messages. */
export function restore(place) {
  const positions = {};
  try {
    const begin = keyOf(place, place.session).slice(0, -1);
    for (const key of Object.keys(localStorage).filter((key) => key.startsWith(begin))) {
      const [, offset, epoch] = /^(\d{1,15}) (.+)$/.exec(localStorage.getItem(key)) ?? [];
      const name = JSON.parse(key.slice("position ".length)).at(-1);
      if (epoch) positions[name] = { epoch, offset: Number(offset) };
    }
  } catch {
    // The browser may not let this page store anything.
  }
  return positions;
}

function store(place, name, { epoch, offset }) {
  try {
    localStorage.setItem(keyOf(place, name), `${offset} ${epoch}`);
  } catch {
    // As above: the next visit starts afresh.
  }
}

/**
 * Shows a room's messages: earlier ones first, missed ones under a line that says so. The client begins after `position`.
 * Returns a function that stops it.
 */
export function follow(client, place, room, position) {
  const { name, conversation } = room;
  const session = client.session(name);
  const queue = []; // Events that are not shown yet.
  const isAgain = room.hasBegun; // This client replaces one that has failed.
  let isOver = false;
  let wasReady = false;
  let ready = isAgain ? Promise.resolve() : null; // Resolves when earlier messages are shown.
  let earlier; // The position of the last earlier message.
  let away = isAgain ? CUT_OFF : position && AWAY; // The heading for missed messages, until a new one arrives.

  async function showEarlier() {
    room.hasBegun = true;
    try {
      const messages = await recent(session, queue);
      if (isOver) return;
      earlier = messages.at(-1)?.position;
      conversation.showEarlier(messages.filter((message) => !room.isMine(message)));
    } catch ({ code }) {
      const isOurs = !isOver && session.isReady && code !== "unknown_action";
      if (isOurs) conversation.showNotice("What came earlier could not be loaded. Reload the page to try again.");
    }
  }

  function flush() {
    if (isOver) return;
    for (let event; (event = queue.shift());) {
      if (event.to) conversation.showNotice(inWords(event, queue), away);
      else show(event);
    }
    const reached = session.position();
    if (!reached || reached === position) return;
    position = reached;
    store(place, name, position);
  }

  function show(message) {
    // A delivery ends the absence. Messages that are fetched after it are merely late.
    if (message.position && !message.missed) away = null;
    if (isUpTo(earlier, message) || room.isMine(message)) return;
    room.received(message, (message.missed && away) || undefined);
  }

  // Events of the same task are shown together.
  const tell = () => ready?.then(flush);
  const hear = (message) => {
    queue.push(message);
    tell();
  };
  const look = () => {
    if (session.isReady) ready ??= showEarlier();
    else if (wasReady) away = client.state.name === "paused" ? AWAY : CUT_OFF;
    wasReady = session.isReady;
  };
  const offs = [
    session.on("message", hear),
    ...["lost", "gap"].map((type) => session.on(type, (missing) => hear({ type, ...missing }))),
    // The position also moves without messages.
    client.on("frame", tell),
    session.on("change", look),
    // Rooms lose their state before the client reports that it is paused.
    client.on("state", ({ name }) => name === "paused" && away && (away = AWAY)),
  ];
  look();
  return () => {
    isOver = true;
    for (const off of offs) off();
  };
}

function isUpTo(position, message) {
  return position && message.position?.epoch === position.epoch && message.position.offset <= position.offset;
}

/** The newest messages before those that the client passes on, of which some may wait in the `queue`. */
async function recent(session, queue) {
  const signal = AbortSignal.timeout(PATIENCE);
  for (let wait = 250; ; wait *= 2) {
    const { epoch, offset, more, messages } = await session.history({ last: RECENT, signal });
    const told = queue.find(({ position }) => position)?.position;
    const known = session.position();
    const before = told ? { epoch: told.epoch, offset: told.offset - 1 } : known;
    // Try again if the client has no position yet or a later one, or if a message may still be written.
    const isWhole = before && !more && (epoch !== before.epoch || offset >= before.offset);
    if (isWhole) return messages.filter((message) => isUpTo(before, message));
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function inWords({ type, from, to }, told) {
  const isSince = from?.epoch === to.epoch && to.offset > from.offset;
  // Not every offset has a message.
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
