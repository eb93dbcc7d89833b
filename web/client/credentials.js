// What a handshake presents: the address and the token, and when that token ends.

import { HubError } from "./errors.js";
import { readUrl } from "./options.js";

const MINUTE = 60_000;

export class Credentials {
  #options;
  #stopwatch;
  #asked; // The last call of the functions.
  #last = {}; // When the last token ends.

  constructor(options, stopwatch) {
    this.#options = options;
    this.#stopwatch = stopwatch;
  }

  /**
   * The arguments of the socket: the address, and the subprotocols if one carries the token. Notes on the link whether it
   * presents a token, and when that ends: `expires` as it says itself, `endsAt` by the stopwatch.
   */
  async present(link, request) {
    const { session, tokenIn } = this.#options;
    // A client that is closed in the same breath asks for nothing.
    await null;
    if (link.ended) return [];
    const [address, given] = await this.#ask(link, request);
    const token = this.#read(link, given);
    let url = readUrl(address);
    if (session) url = withParameter(url, "session_id", session);
    if (!token) return [url];
    link.presented = true;
    const inQuery = tokenIn === "query";
    // The hub refuses a handshake with two tokens.
    url = withParameter(url, "token", inQuery ? token : undefined);
    // Beyond about these sizes, something on the way to the hub rejects the handshake without saying why.
    const [size, limit] = inQuery ? [url.length, 4_000] : [token.length, 8_000];
    if (size > limit) {
      const what = inQuery ? 'the address with the token (tokenIn: "query")' : "the token";
      const text = `${what} has ${size} characters and may have ${limit}: issue tokens with fewer claims`;
      throw new HubError("token_too_large", text);
    }
    if (inQuery) return [url];
    // What RFC 9110 calls a token.
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(token)) {
      throw new TypeError('a subprotocol cannot carry this token: use tokenIn: "query"');
    }
    return [url, ["hub.v1", `bearer.${token}`]];
  }

  /** What the functions return. A call that is under way is not made a second time, unless it takes for ever. */
  async #ask(link, request) {
    const { url, token, tokenTimeout } = this.#options;
    const now = this.#stopwatch();
    const last = this.#asked;
    if (last?.isPending && now - last.at < 2 * tokenTimeout) {
      try {
        return await last.answer;
      } catch (error) {
        // Where it was told to stop, and did, it is asked anew.
        if (!last.signal.aborted) throw error;
      }
    }
    const { signal } = link.dial;
    const call = async (what) => (typeof what === "function" ? what({ ...request, signal }) : what);
    const asked = (this.#asked = { at: now, signal, isPending: true, answer: Promise.all([call(url), call(token)]) });
    const settled = () => (asked.isPending = false);
    asked.answer.then(settled, settled);
    return asked.answer;
  }

  /** The token, if there is one. When it ends is noted on the link. */
  #read(link, given) {
    const isObject = Object(given) === given;
    if (isObject && !("token" in given)) throw new TypeError("token() has returned an object without a token");
    const { token, expiresAt } = isObject ? given : { token: given };
    if (!token) return null;
    if (typeof token !== "string") throw new TypeError("the token must be a string");
    const claims = expiresAt == null ? readJwt(token) : { expires: Number(expiresAt) };
    // A smaller number can only be seconds: as milliseconds it would be in 1973 or earlier.
    if (!(claims.expires >= (expiresAt == null ? -Infinity : 1e11))) {
      throw new TypeError("expiresAt must be a Date, or milliseconds since 1970");
    }
    const now = this.#stopwatch();
    const last = this.#last;
    if (claims.expires !== last.expires) {
      this.#last = { expires: claims.expires, endsAt: now + timeLeft(claims, this.#options.clock.now()) };
    } else if (now >= last.endsAt) {
      // The same token after its end. If the hub still accepts it, then not for long.
      last.endsAt = now + MINUTE;
    }
    Object.assign(link, this.#last);
    return token;
  }
}

/** The address with that parameter once, or without it. */
function withParameter(url, name, value) {
  const bare = url
    .replace(new RegExp(`([?&])${name}=[^&]*`, "g"), "$1")
    .replace(/([?&])&+/g, "$1")
    .replace(/[?&]$/, "");
  return value === undefined ? bare : `${bare}${bare.includes("?") ? "&" : "?"}${name}=${encodeURIComponent(value)}`;
}

/** When a JWT ends, and was issued, in milliseconds. One that does not say so readably has no known end. */
function readJwt(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
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
