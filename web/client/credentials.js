// What a handshake presents: the address and the token, and when that token ends.

import { HubError } from "./errors.js";
import { readUrl } from "./options.js";

// Beyond about these sizes, something on the way to the hub rejects the handshake without saying why.
const MAX_TOKEN_BYTES = 8_000;
const MAX_URL_LENGTH = 4_000;

const MINUTE = 60_000;

// What a subprotocol may be made of: a token, as RFC 9110 defines it for HTTP.
const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

export class Credentials {
  #options;
  #asked = null; // The last call of token().
  #last = {}; // When the last token ends.

  constructor(options) {
    this.#options = options;
  }

  /**
   * The arguments of the socket: the address, and the subprotocols if one carries the token. Notes on the link whether it
   * presents a token, and when that ends: `expires` as it says itself, `endsAt` by this machine's clock.
   */
  async present(link, request) {
    // A client that is closed in the same breath asks for no token.
    await null;
    if (link.ended) return [];
    const { tokenIn, session } = this.#options;
    const [address, given] = await this.#ask(link, request);
    if (link.ended) return [];
    const bearer = this.#read(link, given);
    const [base, query = ""] = readUrl(address).split(/\?(.*)/s);
    // The hub refuses a handshake that names its session, or has a token, twice.
    const replaced = [...(session ? ["session_id"] : []), ...(bearer ? ["token"] : [])];
    const parameters = query.split("&").filter((part) => part && !replaced.includes(part.split("=")[0]));
    if (session) parameters.push(`session_id=${encodeURIComponent(session)}`);
    if (bearer && tokenIn === "query") parameters.push(`token=${encodeURIComponent(bearer)}`);
    const target = parameters.length ? `${base}?${parameters.join("&")}` : base;
    if (!bearer) return [target];

    link.presented = true;
    if (tokenIn === "query") {
      checkSize("the address with the token", target.length, MAX_URL_LENGTH, ', or use tokenIn: "protocol"');
      return [target];
    }
    if (!HTTP_TOKEN.test(bearer)) {
      throw new TypeError('the token has characters that a subprotocol cannot carry: use tokenIn: "query"');
    }
    checkSize("the token", bearer.length, MAX_TOKEN_BYTES);
    return [target, ["hub.v1", `bearer.${bearer}`]];
  }

  /** This machine's clock was set back, and takes its marks along. */
  shift(link, back) {
    if (this.#last.expires === link.expires) this.#last.endsAt -= back;
  }

  /** What the functions return. A call that is under way is not made a second time, unless it takes for ever. */
  async #ask(link, request) {
    const { url, token, clock, tokenTimeout } = this.#options;
    const now = clock.uptime();
    const last = this.#asked;
    if (last?.pending && now - last.at < 2 * tokenTimeout) {
      try {
        return await last.answer;
      } catch (error) {
        // Where it was told to stop, and did, it is asked anew.
        if (!last.signal.aborted) throw error;
      }
    }
    const { signal } = link.dial;
    const call = (what, ...args) => (typeof what === "function" ? what(...args) : what);
    const asked = (this.#asked = { at: now, signal, pending: true });
    const done = () => (asked.pending = false);
    asked.answer = Promise.all([call(url), (async () => call(token, { ...request, signal }))()]);
    asked.answer.then(done, done);
    return asked.answer;
  }

  /** The token, if there is one. When it ends is noted on the link. */
  #read(link, given) {
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
    const now = this.#options.clock.now();
    const last = this.#last;
    if (claims.expires !== last.expires) {
      this.#last = { expires: claims.expires, endsAt: now + timeLeft(claims, now) };
    } else if (now >= last.endsAt) {
      // The same token after its end. If the hub still accepts it, then not for long.
      last.endsAt = now + MINUTE;
    }
    Object.assign(link, this.#last);
    return token;
  }
}

function checkSize(what, size, limit, advice = "") {
  if (size <= limit) return;
  const text = `${what} has ${size} characters and may have ${limit}: issue tokens with fewer claims${advice}`;
  throw new HubError("token_too_large", text);
}

/** When a JWT ends, and was issued, in milliseconds. One that does not say so readably has no known end. */
function readJwt(token) {
  try {
    const { exp, iat } = JSON.parse(decodeBase64(token.split(".")[1]));
    if (Number.isFinite(exp)) return { expires: exp * 1_000, issued: iat < exp ? iat * 1_000 : 0 };
  } catch {}
  return { expires: Infinity };
}

/** The bytes as characters: what is not ASCII stays unreadable, which numbers do not mind. */
function decodeBase64(text) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  let bits = 0;
  let decoded = "";
  [...text].forEach((digit, index) => {
    bits = ((bits & 0xfff) << 6) | digits.indexOf(digit);
    const left = ((index + 1) * 6) % 8;
    if (index % 4) decoded += String.fromCharCode((bits >> left) & 0xff);
  });
  return decoded;
}

/** How long a token is still good. The hub accepts none that has ended, so if it seems to have, this clock is wrong. */
function timeLeft({ expires, issued = 0 }, now) {
  const left = expires - Math.max(now, issued);
  // Never so little that this clock could not tell it from nothing.
  if (left > 0) return Math.max(left, 5_000);
  return issued ? expires - issued : MINUTE;
}
