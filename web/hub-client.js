// A client for the hub, for browsers and Node: a connection that comes back by itself, and sends that always get an answer.

const DEFAULTS = {
  // A socket's route has 29 s for its answer.
  sendTimeout: 35_000,
  queueLimit: 256,
  // API Gateway closes the socket on a larger frame, and a browser cannot split one.
  maxFrameBytes: 32 * 1024,
  // API Gateway closes a socket after 10 idle minutes; many a router on the way forgets one after about 5.
  pingInterval: 4 * 60_000,
  pongTimeout: 10_000,
  connectTimeout: 15_000,
  backoffBase: 500,
  backoffMax: 30_000,
  refusedRetry: 5 * 60_000,
  // API Gateway closes every socket after 2 hours.
  handoverAfter: 115 * 60_000,
  // Long enough for the new connection to be found by every sender: the hub's index lags a little.
  handoverOverlap: 5_000,
  dedupeLimit: 10_000,
};

// A connection that has lasted this long counts as a success, and the next loss starts the backoff from its beginning.
const STABLE_AFTER = 5_000;

// Timers stand still while a machine sleeps, so hand-overs go by the wall clock, which is looked at this often.
const WATCH_INTERVAL = 30_000;

// After this many refused handshakes in a row, the next one is unlikely to fare better.
const REFUSALS = 5;

// Beyond about these sizes, something on the way to the hub rejects the handshake without saying why.
const MAX_TOKEN_BYTES = 8_000;
const MAX_URL_LENGTH = 4_000;

const MINUTE = 60_000;

// Visible ASCII without * " and \
const SESSION_ID = /^[!#-)+-[\]-~]{1,128}$/;

// What a subprotocol may be made of: a token, as RFC 9110 defines it for HTTP.
const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** Why a send failed, or what went wrong meanwhile. `code` is the hub's, or the client's own. */
export class HubError extends Error {
  constructor(code, message, { id, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "HubError";
    this.code = code;
    if (id !== undefined) this.id = id;
  }
}

/** Thrown by `token()`, it ends the client: there will be no further token. */
export class SignedOut extends Error {
  name = "SignedOut";
}

class HubEvent extends Event {
  constructor(type, fields) {
    super(type);
    Object.assign(this, fields);
  }
}

/** Timers by name, so that none is started twice and all can be stopped at once. */
class Timers {
  #handles = new Map();

  has(name) {
    return this.#handles.has(name);
  }

  set(name, ms, run) {
    this.clear(name);
    const handle = setTimeout(() => {
      this.#handles.delete(name);
      run();
    }, ms);
    this.#handles.set(name, handle);
  }

  clear(name) {
    clearTimeout(this.#handles.get(name));
    this.#handles.delete(name);
  }

  clearAll() {
    for (const handle of this.#handles.values()) clearTimeout(handle);
    this.#handles.clear();
  }
}

/** One socket. Once it has ended, whatever it still says is ignored. */
class Link {
  socket = null;
  timers = new Timers();
  ended = false;
  overlapped = false;
  dial = new AbortController(); // Aborted if the link is given up before it has opened.
  tokenPending = false; // A token is presented, and neither accepted nor refused yet.
  // When the token ends: as it says itself, and by this machine's clock.
  expires = Infinity;
  endsAt = Infinity;
  // When #watch last looked, by either clock.
  seen = NaN;
  seenAt = NaN;

  constructor(number) {
    this.number = number;
  }

  /** `cut` is for a peer that does not answer: it would not answer a closing handshake either. */
  end({ cut = false } = {}) {
    this.ended = true;
    this.timers.clearAll();
    this.dial?.abort();
    if (cut && this.socket?.terminate) this.socket.terminate();
    else this.socket?.close();
  }
}

export class HubClient extends EventTarget {
  #url;
  #session;
  #token;
  #tokenIn;
  #WebSocket;
  #options;

  #state = "connecting";
  #over = null; // Why nothing is sent any more: the client is closed, or has failed.
  #links = 0;
  #link = null; // Carries the sends.
  #dialing = null; // Is being opened: the first, the one after a loss, or the one that takes over.
  #retiring = new Set(); // Have been taken over from, and stay until what they carry has been answered.
  #sends = new Map(); // Unanswered, by id, oldest first. One without a link waits for it.
  #seen = new Set();
  #attempt = 0;
  #refusals = 0; // In a row.
  #lastToken = {}; // When it ends, as the fields of a link.
  #timers = new Timers();
  #wake = (event) => {
    if (event.type !== "visibilitychange" || document.visibilityState === "visible") this.check();
  };

  constructor(url, { session, token, tokenIn = "protocol", WebSocket = globalThis.WebSocket, ...options } = {}) {
    super();
    if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol)) {
      throw new TypeError("the hub's address must look like wss://host/stage, or ws:// for one on this machine");
    }
    this.#url = new URL(url);
    // A socket's address may have no fragment.
    this.#url.hash = "";
    if (typeof session !== "string" || !SESSION_ID.test(session)) {
      throw new TypeError('session must be 1 to 128 visible ASCII characters, without * " and \\');
    }
    if (token != null && !["string", "function"].includes(typeof token)) {
      throw new TypeError("token must be a string, or a function that returns one");
    }
    if (!["protocol", "query"].includes(tokenIn)) throw new TypeError('tokenIn must be "protocol" or "query"');
    if (typeof WebSocket !== "function") {
      throw new TypeError(
        "this runtime has no WebSocket: pass one as the option WebSocket (Node 20: from the package ws)",
      );
    }
    for (const [name, value] of Object.entries(options)) {
      if (!(name in DEFAULTS)) throw new TypeError(`there is no option ${name}`);
      if (value === undefined) delete options[name];
      // Timers overflow at 2^31 and would fire at once.
      else if (typeof value !== "number" || !(value >= 0 && value < 2 ** 31))
        throw new TypeError(`${name} must be a number from 0 to 2147483647`);
    }
    this.#session = session;
    this.#token = token;
    this.#tokenIn = tokenIn;
    this.#WebSocket = WebSocket;
    this.#options = { ...DEFAULTS, ...options };
    this.#listen("addEventListener");
    this.#dial();
  }

  get session() {
    return this.#session;
  }

  /** "connecting" until the first connection, then "open" or "reconnecting", and at last "closed" or "failed". */
  get state() {
    return this.#state;
  }

  /**
   * Delivers `message`, any JSON, to every connection of the sessions. Resolves with the hub's receipt.
   * Without a connection it waits for one; if a connection is lost before the answer, it is sent again with the same id.
   */
  async send(sessions, message, { id = newId(), signal } = {}) {
    const fail = (code, text, cause) => new HubError(code, text, { id, cause });
    if (this.#over) throw fail(this.#over.code, this.#over.message, this.#over.cause);
    if (typeof id !== "string" || !/^.{1,128}$/su.test(id)) {
      throw fail("bad_request", "id must be a string of 1 to 128 characters, or be left out");
    }
    if (this.#sends.has(id)) throw fail("bad_request", "a send with this id is still unanswered: use another id");
    signal?.throwIfAborted();

    let frame;
    try {
      if (JSON.stringify(message) === undefined) throw new TypeError(`a ${typeof message} is not JSON`);
      const list = typeof sessions === "string" ? [sessions] : [...sessions];
      frame = JSON.stringify({
        action: "sendMessage",
        sessions: list,
        message,
        id,
      });
    } catch (cause) {
      throw fail("bad_request", `this cannot be sent as JSON: ${cause.message}`, cause);
    }
    const { length: size } = new TextEncoder().encode(frame);
    if (size > this.#options.maxFrameBytes) {
      const limit = this.#options.maxFrameBytes;
      throw fail("message_too_large", `the frame has ${size} bytes and may have ${limit}: send a link, or split it`);
    }
    if (!this.#link && this.#carriedBy(null).length >= this.#options.queueLimit) {
      throw fail("queue_full", `${this.#options.queueLimit} sends already wait for a connection: try again later`);
    }

    return new Promise((resolve, reject) => {
      const send = {
        id,
        frame,
        size,
        link: null,
        retried: false,
        timer: null,
        settle: null,
      };
      const abort = () => send.settle(reject, signal.reason);
      send.settle = (how, value) => {
        clearTimeout(send.timer);
        signal?.removeEventListener("abort", abort);
        this.#sends.delete(id);
        if (this.#retiring.has(send.link)) this.#endIfDone(send.link);
        how(value);
      };
      send.fail = (code, text) => send.settle(reject, fail(code, text));
      send.succeed = (receipt) => send.settle(resolve, receipt);
      signal?.addEventListener("abort", abort);
      this.#sends.set(id, send);
      if (this.#link) this.#transmit(send);
    });
  }

  /** Without a connection: tries at once. With one: finds out whether the other end still answers. */
  check() {
    if (this.#link) this.#ping(this.#link);
    if (!this.#link && !this.#dialing && !this.#over) {
      this.#attempt = 0;
      this.#dial();
    }
  }

  /** Ends it for good. Sends without an answer are rejected with the code `closed`. */
  close() {
    if (this.#over) return;
    this.#end("closed", new HubError("closed", "the client is closed: make a new one to send"));
    this.#emit("close");
  }

  /** No further attempt can succeed. */
  #fail(error) {
    this.#end("failed", error);
    this.#emit("failed", { error });
  }

  #end(state, why) {
    this.#state = state;
    this.#over = why;
    this.#listen("removeEventListener");
    this.#timers.clearAll();
    for (const link of [this.#link, this.#dialing, ...this.#retiring]) link?.end();
    this.#link = this.#dialing = null;
    for (const send of [...this.#sends.values()]) {
      send.fail(why.code, `the client has ${state} before the hub's answer: the message may have arrived, or not`);
    }
  }

  #emit(type, fields) {
    this.dispatchEvent(new HubEvent(type, fields));
  }

  // Connections

  #listen(method) {
    for (const type of ["online", "pageshow"]) globalThis[method]?.(type, this.#wake);
    for (const type of ["visibilitychange", "resume"]) globalThis.document?.[method](type, this.#wake);
  }

  async #dial() {
    this.#timers.clear("retry");
    const link = (this.#dialing = new Link(++this.#links));
    link.timers.set("connect", this.#options.connectTimeout, () => this.#lost(link, { reason: "no answer in time" }));

    let address;
    try {
      address = await this.#address(link);
    } catch (cause) {
      if (link.ended) return;
      if (cause instanceof SignedOut || cause?.name === "SignedOut") {
        this.#fail(new HubError("signed_out", cause.message || "the user has signed out", { cause }));
      } else if (cause instanceof HubError && cause.code === "token_too_large") {
        this.#fail(cause);
      } else {
        this.#lost(link, { cause, error: "token_failed" });
      }
      return;
    }
    if (link.ended || this.#gainsNothing(link)) return;
    let socket;
    try {
      socket = link.socket = new this.#WebSocket(...address);
    } catch (cause) {
      this.#lost(link, { cause });
      return;
    }
    let cause; // Comes in an error event, before the close event that tells the rest.
    socket.addEventListener("error", (event) => (cause = event.error));
    socket.addEventListener("open", () => link.ended || this.#greet(link));
    socket.addEventListener("message", ({ data }) => link.ended || this.#received(link, data));
    socket.addEventListener("close", ({ code, reason }) => link.ended || this.#lost(link, { code, reason, cause }));
  }

  /** The arguments of the socket: the address, and the subprotocols if one carries the token. */
  async #address(link) {
    const url = new URL(this.#url);
    url.searchParams.set("session_id", this.#session);
    const token = await this.#askToken(link);
    if (!token) return [url.href];
    link.tokenPending = true;
    if (this.#tokenIn === "query") {
      url.searchParams.set("token", token);
      checkSize("the address with the token", url.href.length, MAX_URL_LENGTH, ', or use tokenIn: "protocol"');
      return [url.href];
    }
    if (!HTTP_TOKEN.test(token)) {
      throw new TypeError('the token has characters that a subprotocol cannot carry: use tokenIn: "query"');
    }
    checkSize("the token", token.length, MAX_TOKEN_BYTES);
    // The hub refuses a handshake with two tokens.
    url.searchParams.delete("token");
    return [url.href, ["hub.v1", `bearer.${token}`]];
  }

  /** The token, if there is one. When it ends is noted on the link. */
  async #askToken(link) {
    const { signal } = link.dial;
    let given = this.#token;
    if (typeof given === "function") given = await given({ attempt: this.#attempt, refused: this.#refusals, signal });
    if (given && typeof given === "object" && !("token" in given)) {
      throw new TypeError("token() must return a string, or an object with a token");
    }
    const { token, expiresAt } = given && typeof given === "object" ? given : { token: given };
    if (!token) return null;
    if (typeof token !== "string") throw new TypeError("the token must be a string");

    const claims = expiresAt == null ? readJwt(token) : { expires: Number(expiresAt) };
    // A smaller number can only be seconds: as milliseconds it would be in 1973 or earlier.
    if (expiresAt != null && !(claims.expires >= 1e11)) {
      throw new TypeError("expiresAt must be a Date, or milliseconds since 1970");
    }
    const now = Date.now();
    const last = this.#lastToken;
    if (claims.expires !== last.expires) {
      this.#lastToken = { expires: claims.expires, endsAt: now + timeLeft(claims, now) };
    } else if (now >= last.endsAt) {
      // The same token after its end. If the hub still accepts it, then not for long.
      last.endsAt = now + MINUTE;
    }
    Object.assign(link, this.#lastToken);
    return token;
  }

  /** Whether a hand-over would only bring the same token again. Then the next attempt comes before its end. */
  #gainsNothing(link) {
    const current = this.#link;
    const now = Date.now();
    if (!current || now >= current.replaceAt || link.expires > current.expires) return false;
    this.#dialing = null;
    link.end();
    current.renewAt = now + Math.max(1_000, (current.endsAt - now) / 2);
    this.#watch(current);
    return true;
  }

  /** Hands over when the connection's age or its token calls for it. */
  #watch(link) {
    const now = Date.now();
    const at = performance.now();
    // A wall clock that is set back takes its marks along.
    const back = link.seen + (at - link.seenAt) - now;
    const slept = now - link.seen > 3 * WATCH_INTERVAL;
    Object.assign(link, { seen: now, seenAt: at });
    if (back > 1_000) {
      for (const mark of ["replaceAt", "renewAt", "endsAt"]) link[mark] -= back;
      if (this.#lastToken.expires === link.expires) this.#lastToken.endsAt = link.endsAt;
    }
    if (slept) this.#ping(link);
    if (link.ended) return;
    const due = now >= Math.min(link.replaceAt, link.renewAt);
    if (due && !this.#dialing && !this.#timers.has("retry")) this.#dial();
    if (link.ended) return;
    if (now >= link.endsAt) {
      this.#lost(link, { reason: "the token has ended" });
      return;
    }
    const ahead = [link.replaceAt, link.renewAt, link.endsAt].map((at) => at - now).filter((ms) => ms > 0);
    link.timers.set("watch", Math.min(WATCH_INTERVAL, ...ahead), () => this.#watch(link));
  }

  /** A gateway may let us in while the hub behind it is still being set up: only the hub's answer counts. */
  #greet(link) {
    link.timers.clear("connect");
    link.tokenPending = false;
    this.#refusals = 0;
    this.#ping(link);
  }

  #opened(link) {
    const { handoverAfter, handoverOverlap } = this.#options;
    const previous = this.#link;
    this.#link = link;
    this.#dialing = null;
    link.dial = null;
    link.timers.set("stable", STABLE_AFTER, () => (this.#attempt = 0));
    // Up to a tenth early, so that clients which came together do not all hand over together.
    const now = Date.now();
    const left = link.endsAt - now;
    const early = Math.min(MINUTE, left / 4) + Math.random() * Math.min(MINUTE, left / 10);
    link.replaceAt = now + Math.max(1_000, handoverAfter * (1 - Math.random() / 10));
    link.renewAt = Math.max(now + 1_000, link.endsAt - early);
    if (previous) {
      previous.timers.clear("watch");
      this.#retiring.add(previous);
      previous.timers.set("overlap", handoverOverlap, () => {
        previous.overlapped = true;
        this.#endIfDone(previous);
      });
    }
    this.#watch(link);
    this.#flush();
    if (previous || link.ended) return;
    this.#state = "open";
    this.#emit("open");
  }

  #endIfDone(link) {
    if (!link.overlapped || this.#carriedBy(link).length) return;
    this.#retiring.delete(link);
    link.end();
  }

  /** A link has ended, or never came to be. What it carried without an answer goes to the next one. */
  #lost(link, { code, reason, cause, error = "connect_failed" }) {
    link.end({ cut: code === undefined });
    // Closed by whoever listens to the signal.
    if (this.#over) return;
    const carried = this.#carriedBy(link);
    for (const send of carried) {
      clearTimeout(send.timer);
      send.link = null;
    }
    // 1009 says that a frame was too large. It was the largest; sent again, it would close the next connection too.
    if (code === 1009 && carried.length) {
      const largest = carried.reduce((a, b) => (b.size > a.size ? b : a));
      largest.fail(
        "message_too_large",
        `the gateway refused a frame of ${largest.size} bytes: send a link, or split it`,
      );
    }

    const why = [code, reason || cause?.message].filter(Boolean).join(" ") || "no reason given";
    if (this.#retiring.delete(link)) {
      this.#flush();
    } else if (link === this.#dialing) {
      this.#dialing = null;
      // Without a code it was the client that gave up.
      const refused = link.tokenPending && code !== undefined && mayBeRefusal(cause);
      if (link.tokenPending) this.#refusals = refused ? this.#refusals + 1 : 0;
      const delay = this.#retryLater({ refused });
      this.#emit("error", { error: new HubError(error, `no connection to the hub: ${why}`, { cause }) });
      if (!this.#link) this.#reconnecting(delay, why);
      if (refused && this.#refusals >= REFUSALS && !this.#over) {
        this.#emit("refused", { refused: this.#refusals, delay, reason: why });
      }
    } else {
      this.#link = null;
      this.#reconnecting(this.#dialing ? 0 : this.#retryLater(), why);
    }
  }

  #reconnecting(delay, reason) {
    if (this.#over) return;
    this.#state = "reconnecting";
    this.#emit("reconnecting", { attempt: this.#attempt, delay, reason });
  }

  /**
   * Full jitter: any time up to the exponential bound, so that a crowd that was cut together spreads out. After refusals
   * it is minutes in the end, but not at once: in a browser, a hub that is out of reach for a moment looks the same.
   */
  #retryLater({ refused = false } = {}) {
    const { backoffBase, backoffMax, refusedRetry } = this.#options;
    const backoff = Math.random() * Math.min(backoffMax, backoffBase * 2 ** this.#attempt++);
    const slow = Math.min(refusedRetry, MINUTE * 2 ** (this.#refusals - REFUSALS));
    const delay = refused && this.#refusals >= REFUSALS ? (slow * (1 + Math.random())) / 2 : backoff;
    this.#timers.set("retry", delay, () => this.#dial());
    return delay;
  }

  // Frames

  #carriedBy(link) {
    return [...this.#sends.values()].filter((send) => send.link === link);
  }

  #flush() {
    for (const send of this.#carriedBy(null)) {
      if (this.#link) this.#transmit(send);
    }
  }

  #transmit(send) {
    const link = (send.link = this.#link);
    send.timer = setTimeout(
      () => send.fail("timeout", "the hub has not answered in time: the message may have arrived, or not"),
      this.#options.sendTimeout,
    );
    // Silence after a send is the first sign of a dead peer: ask, rather than wait for the next ping.
    if (!link.timers.has("doubt")) link.timers.set("doubt", this.#options.pongTimeout, () => this.#ping(link));
    this.#write(link, send.frame);
  }

  #ping(link) {
    if (link === this.#link) this.#watch(link);
    if (link.ended) return;
    if (link.timers.has("pong")) {
      this.#pingLater(link);
      return;
    }
    link.timers.set("pong", this.#options.pongTimeout, () => this.#lost(link, { reason: "the other end is silent" }));
    this.#write(link, '{"action":"ping"}');
  }

  #pingLater(link) {
    link.timers.set("ping", this.#options.pingInterval, () => this.#ping(link));
  }

  #write(link, data) {
    this.#pingLater(link);
    link.socket.send(data);
    this.#emit("frame", { direction: "out", connection: link.number, data });
  }

  #received(link, data) {
    link.timers.clear("pong");
    link.timers.clear("doubt");
    this.#emit("frame", { direction: "in", connection: link.number, data });
    if (link.ended) return;

    let frame;
    try {
      frame = JSON.parse(data);
    } catch (cause) {
      this.#emit("error", { error: new HubError("bad_frame", "the hub sent a frame that is not JSON", { cause }) });
      return;
    }
    const { type, ...rest } = frame ?? {};
    if (link === this.#dialing) {
      if (typeof type !== "string") {
        this.#lost(link, { reason: rest.message ?? "the other end is no hub" });
        return;
      }
      this.#opened(link);
      if (link.ended) return;
    }
    if (type === "message") this.#message(rest);
    else if (type === "receipt") this.#sends.get(rest.id)?.succeed(rest);
    else if (type === "error") this.#refused(link, rest);
    // The gateway's own: {"message":"Internal server error",…}. It has no id, so it is nobody's answer.
    else if (type === undefined && typeof rest.message === "string") {
      this.#emit("error", { error: new HubError("gateway", `the gateway says: ${rest.message}`) });
    }
  }

  #message({ id, from = null, message, sent_at }) {
    // The id is the sender's own choice, so it tells repetitions apart only together with the sender.
    const key = JSON.stringify([from, id]);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (this.#seen.size > this.#options.dedupeLimit) this.#seen.delete(this.#seen.values().next().value);
    this.#emit("message", { id, from, message, sentAt: new Date(sent_at) });
  }

  #refused(link, { code, message, id }) {
    const send = this.#sends.get(id);
    if (code === "not_connected") {
      // The hub has lost sight of this connection, so no message reaches it any more: a new one is known again.
      if (send?.retried) send.fail(code, message);
      else if (send) send.retried = true;
      this.#lost(link, { reason: "the hub no longer knows this connection" });
    } else if (send) {
      send.fail(code, message);
    } else {
      this.#emit("error", { error: new HubError(code, message, { id }) });
    }
  }
}

/** Not crypto.randomUUID: browsers have that only on pages served by https. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function checkSize(what, size, limit, advice = "") {
  if (size <= limit) return;
  const text = `${what} has ${size} characters and may have ${limit}: issue tokens with fewer claims${advice}`;
  throw new HubError("token_too_large", text);
}

/** When a JWT ends, and was issued, in milliseconds. One that does not say so readably has no known end. */
function readJwt(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    if (Number.isFinite(exp)) return { expires: exp * 1_000, issued: iat < exp ? iat * 1_000 : 0 };
  } catch {}
  return { expires: Infinity };
}

/** How long a token is still good. The hub accepts none that has ended, so if it seems to have, this clock is wrong. */
function timeLeft({ expires, issued = 0 }, now) {
  const left = expires - Math.max(now, issued);
  // Never so little that this clock could not tell it from nothing.
  if (left > 0) return Math.max(left, 5_000);
  return issued ? expires - issued : MINUTE;
}

/** Browsers do not say why a handshake failed. The package ws names the status, and network errors have a code. */
function mayBeRefusal(error) {
  if (globalThis.navigator?.onLine === false || typeof error?.code === "string") return false;
  return !/server response: (?!40[13]$)/.test(error?.message);
}
