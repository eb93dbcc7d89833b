// The client's options: their defaults, their bounds and their checks.

// Default, least value (1,000), and whether `false` or Infinity switches it off.
const NUMBERS = {
  ttl: [60_000, 1, true],
  queueLimit: [256, 1],
  bufferLimit: [1_000, 1],
  // API Gateway closes the socket on a larger frame, and a browser cannot split one.
  maxFrameBytes: [32 * 1024, 128],
  // API Gateway closes a socket after 10 idle minutes; many routers forget one after about 5.
  pingInterval: [4 * 60_000, 10_000, true],
  pongTimeout: [10_000],
  connectTimeout: [15_000],
  tokenTimeout: [30_000],
  backoffBase: [500, 100],
  backoffMax: [30_000],
  refusedRetry: [5 * 60_000],
  // API Gateway closes every socket after 2 hours.
  handoverAfter: [115 * 60_000, 60_000, true],
  // A fan-out that read the index just before may post to the old connection for 29 s.
  handoverOverlap: [35_000, 0],
  dedupeLimit: [10_000, 1],
};

function check(condition, text) {
  if (!condition) throw new TypeError(text);
}

/** Visible ASCII without * " and \ */
export function isSession(name) {
  return typeof name === "string" && /^[!#-)+-[\]-~]{1,128}$/.test(name);
}

export function checkSession(name) {
  check(isSession(name), 'session must be 1 to 128 visible ASCII characters, without * " and \\');
}

/** A number within its bounds; Infinity where it is switched off. */
export function readNumber(name, value) {
  const [standard, least = 1_000, canBeOff] = NUMBERS[name];
  if (value === undefined) return standard;
  if (canBeOff && (value === false || value === Infinity)) return Infinity;
  const isWithin = typeof value === "number" && value >= least && value < 2 ** 31;
  check(isWithin, `${name} must be a number from ${least} to 2^31${canBeOff ? ", or false" : ""}`);
  return value;
}

export function readOptions({
  url,
  session,
  token,
  tokenIn = "protocol",
  autoConnect = true,
  ordered = false,
  history = true,
  positions,
  clock = systemClock,
  // A server that renders a page may have none; it does not connect.
  WebSocket = globalThis.WebSocket,
  ...numbers
} = {}) {
  if (typeof url !== "function") url = readUrl(url);
  if (session !== undefined || token == null) checkSession(session);
  check(token == null || /string|function/.test(typeof token), "token must be a string or a function");
  check(/^(protocol|query)$/.test(tokenIn), 'tokenIn must be "protocol" or "query"');
  check(typeof ordered === "boolean", "ordered must be true or false");
  check(typeof history === "boolean", "history must be true or false");
  check(typeof WebSocket === "function" || !autoConnect, "this runtime has no WebSocket: pass one");
  for (const name of Object.keys({ ...NUMBERS, ...numbers })) {
    check(Object.keys(NUMBERS).includes(name), `unknown option ${name}`);
    numbers[name] = readNumber(name, numbers[name]);
  }
  positions = readPositions(positions ?? {});
  return { url, session, token, tokenIn, autoConnect, ordered, history, positions, clock, WebSocket, ...numbers };
}

/** As a map, without the sessions whose position is not known yet. */
function readPositions(given) {
  const positions = new Map();
  for (const [session, position] of Object.entries(given)) {
    if (position == null) continue;
    check(isSession(session) && isPosition(position), "positions must be { session: { epoch, offset } }");
    positions.set(session, { epoch: position.epoch, offset: position.offset });
  }
  return positions;
}

export function isPosition({ epoch, offset }) {
  return typeof epoch === "string" && Number.isSafeInteger(offset) && offset >= 0;
}

/** The address without its fragment, which a socket's address may not have. */
export function readUrl(url) {
  const text = String(url).replace(/#.*/s, "");
  check(/^wss?:\/\/[^\s/?]+(\/|\?|$)/i.test(text), "url must look like wss://host/stage, or ws:// on this machine");
  return text;
}

// Looked up at each call, so that a test's fake timers are used.
const systemClock = {
  now: () => Date.now(),
  uptime: () => (globalThis.performance ?? Date).now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};
