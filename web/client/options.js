// The client's options: their defaults and bounds, and what is refused at once.

const OFF = true;

// Default, least value, whether `false` (or Infinity) switches it off.
const NUMBERS = {
  ttl: [60_000, 1, OFF],
  queueLimit: [256, 1],
  bufferLimit: [1_000, 1],
  // API Gateway closes the socket on a larger frame, and a browser cannot split one.
  maxFrameBytes: [32 * 1024, 128],
  // API Gateway closes a socket after 10 idle minutes; many a router on the way forgets one after about 5.
  pingInterval: [4 * 60_000, 10_000, OFF],
  pongTimeout: [10_000, 1_000],
  connectTimeout: [15_000, 1_000],
  tokenTimeout: [30_000, 1_000],
  backoffBase: [500, 100],
  backoffMax: [30_000, 1_000],
  refusedRetry: [5 * 60_000, 1_000],
  // API Gateway closes every socket after 2 hours.
  handoverAfter: [115 * 60_000, 60_000, OFF],
  // A fan-out that has read the index just before may post to the old connection for 29 s.
  handoverOverlap: [35_000, 0],
  dedupeLimit: [10_000, 1],
};

// Visible ASCII without * " and \
const SESSION_ID = /^[!#-)+-[\]-~]{1,128}$/;

export function checkSession(name, what = "session") {
  if (typeof name !== "string" || !SESSION_ID.test(name)) {
    throw new TypeError(`${what} must be 1 to 128 visible ASCII characters, without * " and \\`);
  }
}

/** A number within its bounds; Infinity where the option is switched off. */
export function readNumber(name, value) {
  const [, least, canBeOff] = NUMBERS[name];
  if (canBeOff && (value === false || value === Infinity)) return Infinity;
  // Timers overflow at 2^31 and would fire at once.
  if (typeof value === "number" && value >= least && value < 2 ** 31) return value;
  throw new TypeError(`${name} must be a number from ${least} to 2147483647${canBeOff ? ", or false for off" : ""}`);
}

export function readOptions(given) {
  if (!given || typeof given !== "object") throw new TypeError("connect takes an object with options: url, session, …");
  const { url, session, token, tokenIn = "protocol", autoConnect = true, clock, ...numbers } = given;
  const { WebSocket = globalThis.WebSocket } = given;
  delete numbers.WebSocket;

  if (session !== undefined || token == null) checkSession(session);
  if (token != null && typeof token !== "string" && typeof token !== "function") {
    throw new TypeError("token must be a string, or a function that returns one");
  }
  if (tokenIn !== "protocol" && tokenIn !== "query") throw new TypeError('tokenIn must be "protocol" or "query"');
  if (typeof autoConnect !== "boolean") throw new TypeError("autoConnect must be true or false");
  // On a server that renders a page, a client that never connects needs none.
  if (typeof WebSocket !== "function" && (autoConnect || WebSocket !== undefined)) {
    throw new TypeError("this runtime has no WebSocket: pass one as the option WebSocket (Node 20: from the package ws)");
  }
  const options = { session, token, tokenIn, autoConnect, WebSocket };
  for (const [name, [standard]] of Object.entries(NUMBERS)) {
    options[name] = numbers[name] === undefined ? standard : readNumber(name, numbers[name]);
    delete numbers[name];
  }
  for (const name of Object.keys(numbers)) throw new TypeError(`there is no option ${name}`);
  options.url = typeof url === "function" ? url : readUrl(url);
  options.clock = clock ?? systemClock;
  return options;
}

/** The address without a fragment, which a socket's may not have. */
export function readUrl(url) {
  const text = String(url).replace(/#.*/s, "");
  try {
    if (!/^wss?:\/\/[^\s/?]/i.test(text)) throw new TypeError();
    // Where URL is more than a stand-in, it knows better.
    if (typeof URL === "function") new URL(text);
  } catch {
    throw new TypeError("the hub's address, url, must look like wss://host/stage, or ws:// for one on this machine");
  }
  return text;
}

// Looked up at each call, so that a test's own timers are used.
const systemClock = {
  now: () => Date.now(),
  uptime: () => globalThis.performance?.now() ?? Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};
