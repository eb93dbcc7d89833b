// What a handshake presents: the address and the token, and when that token ends.

import { HubError } from "./errors.js";
import { MINUTE } from "./limits.js";
import { readUrl } from "./options.js";

/**
 * Returns a function that resolves with the arguments of a link's socket: the address, and the subprotocols if one carries
 * the token. It notes on the link whether it presents a token, and when that ends: `expires` as it says itself, `endsAt` by
 * the stopwatch.
 */
export function readCredentials({ url, token, session, tokenIn, tokenTimeout, clock }, stopwatch) {
  let asked; // The call of the functions that is under way.
  let last = {}; // When the last token ends.

  /** What the functions return. A call that is under way is not made a second time, unless it takes for ever. */
  async function ask(signal, request) {
    const now = stopwatch();
    if (!asked || now - asked.at >= 2 * tokenTimeout) {
      const call = async (what) => (typeof what === "function" ? what({ ...request, signal }) : what);
      asked = { at: now, signal, answer: Promise.all([call(url), call(token)]) };
    }
    const awaited = asked;
    try {
      return await awaited.answer;
    } catch (error) {
      if (awaited.signal === signal || !awaited.signal.aborted) throw error;
    } finally {
      if (asked === awaited) asked = null;
    }
    // Where it was told to stop, and did, it is asked anew.
    return ask(signal, request);
  }

  /** The token, if there is one. When it ends is noted on the link. */
  function read(link, given) {
    const { token, expiresAt } = Object(given) === given && "token" in given ? given : { token: given };
    if (!token) return null;
    if (typeof token !== "string") throw new TypeError("the token must be a string");
    // A smaller number can only be seconds: as milliseconds it would be in 1973 or earlier.
    if (expiresAt != null && !(expiresAt >= 1e11)) {
      throw new TypeError("expiresAt must be a Date, or milliseconds since 1970");
    }
    const claims = expiresAt == null ? readJwt(token) : { expires: Number(expiresAt) };
    const now = stopwatch();
    if (claims.expires !== last.expires) {
      last = { expires: claims.expires, endsAt: now + timeLeft(claims, clock.now()) };
    } else if (now >= last.endsAt) {
      // The same token after its end. If the hub still accepts it, then not for long.
      last.endsAt = now + MINUTE;
    }
    Object.assign(link, last, { presented: true });
    return token;
  }

  return async (link, request) => {
    const [address, given] = await ask(link.dial.signal, request);
    const token = read(link, given);
    const inQuery = tokenIn === "query";
    let url = readUrl(address);
    if (session) url = withParameter(url, "session_id", session);
    if (!token) return [url];
    // The hub refuses a handshake with two tokens.
    url = withParameter(url, "token", inQuery && token);
    // Beyond about these sizes, something on the way to the hub rejects the handshake without saying why.
    const [size, limit] = inQuery ? [url.length, 4_000] : [token.length, 8_000];
    if (size > limit) {
      const text = `tokenIn: "${tokenIn}" makes ${size} characters of ${limit}: issue tokens with fewer claims`;
      throw new HubError("token_too_large", text);
    }
    if (inQuery) return [url];
    // What RFC 9110 calls a token.
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(token)) {
      throw new TypeError('a subprotocol cannot carry this token: use tokenIn: "query"');
    }
    return [url, ["hub.v1", `bearer.${token}`]];
  };
}

/** The address with that parameter once, or without it. */
function withParameter(url, name, value) {
  const [path, query = ""] = url.split(/\?(.*)/s);
  const parameters = query.split("&").filter((other) => other && !other.startsWith(`${name}=`));
  if (value) parameters.push(`${name}=${encodeURIComponent(value)}`);
  return parameters.length ? `${path}?${parameters.join("&")}` : path;
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
