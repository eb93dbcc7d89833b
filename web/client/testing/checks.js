// Which frames the fake hub refuses, by the rules of the real one.

import { isSession } from "../options.js";

/** Whether a connection receives a session's messages. */
export const isIn = ({ session, subscriptions }, name) => session === name || subscriptions.has(name);

const bad = (text) => ["bad_request", text];

export const isBadId = (id) => id != null && !(typeof id === "string" && /^.{1,128}$/su.test(id));

/** Why a hub refuses this frame, as a code and a text; undefined if it does not. */
export function whatIsWrong(frame, link) {
  const { action, sessions, message, id, receipt, store } = frame;
  if (isBadId(id)) return bad("id must be 1 to 128 characters");
  if (action === "hello") return;
  if (action === "history") return whatIsWrongToAsk(frame, link);
  if (receipt !== undefined && typeof receipt !== "boolean") return bad("receipt must be true or false");
  if (store !== undefined && typeof store !== "boolean") return bad("store must be true or false");
  if (!Array.isArray(sessions) || !sessions.length || !sessions.every(isSession)) {
    return bad("sessions must be a list of 1 to 100 session ids");
  }
  const isSubscribing = action === "subscribe";
  if (!isSubscribing && new Set(sessions).size > 100) {
    return ["too_many_sessions", "one request may name at most 100 sessions; send several requests"];
  }
  if (action === "sendMessage" && message === undefined) return bad("message is missing");
}

function whatIsWrongToAsk({ session, epoch, after, last, limit }, link) {
  const isBad = (value, least, most) =>
    value !== undefined && !(Number.isSafeInteger(value) && value >= least && value <= most);
  if (!isSession(session)) return bad("session must be a session id");
  if (epoch !== undefined && typeof epoch !== "string") return bad("epoch must be a string");
  if (isBad(after, 0, Number.MAX_SAFE_INTEGER)) return bad("after must be an offset");
  if (isBad(limit, 1, 100) || isBad(last, 1, 100)) return bad("limit and last must be 1 to 100");
  if (after !== undefined && (epoch === undefined || last !== undefined)) {
    return bad("after needs an epoch, and no last");
  }
  if (!isIn(link, session)) return ["forbidden", "another's history"];
}
