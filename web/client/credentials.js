// The address and the token for a handshake, and when the token expires.

import { HubError } from "./errors.js";
import { MINUTE } from "./limits.js";
import { readUrl } from "./options.js";

/**
 * Returns a function that resolves with the arguments of a link's socket: the address, and the subprotocols if one
 * carries the token. The link notes whether it presents a token, and when that expires: `expires` by its own claim,
 * `endsAt` by the stopwatch.
 */
export function readCredentials({ url, token, session, tokenIn, tokenTimeout, clock }, stopwatch) {
  let asked; // The pending call of the functions.
  let last = {}; // When the last token expires.

  /** What the functions return. While a call is pending there is no second one, unless it takes too long. */
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
    // The call was aborted for another link: this link needs one of its own.
    return ask(signal, request);
  }

  /** The token, if there is one. Its expiry is noted on the link. */
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
      // The same token after its expiry. If the hub still accepts it, then not for long.
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
    // Beyond about these sizes, a proxy or the gateway rejects the handshake without a reason.
    const [size, limit] = inQuery ? [url.length, 4_000] : [token.length, 8_000];
    if (size > limit) {
      const text = `tokenIn: "${tokenIn}" makes ${size} characters of ${limit}: issue tokens with fewer claims`;
      throw new HubError("token_too_large", text);
    }
    if (inQuery) return [url];
    // The characters of a token in RFC 9110.
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

/** When a JWT expires and was issued, in milliseconds. Without a readable `exp`, its expiry is unknown. */
function readJwt(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    if (Number.isFinite(exp)) return { expires: exp * 1_000, issued: iat < exp ? iat * 1_000 : 0 };
  } catch {}
  return { expires: Infinity };
}

/**
 * How long a token remains valid. The hub accepts no expired token, so if this one seems to have expired, this clock
 * is wrong.
 */
function timeLeft({ expires, issued = 0 }, now) {
  const left = expires - Math.max(now, issued);
  // Clocks differ, so a shorter time would mean nothing.
  if (left > 0) return Math.max(left, 5_000);
  return issued ? expires - issued : MINUTE;
}
