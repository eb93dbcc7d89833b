// Sends without an answer: when they are written, written again, and given up.

import { HubError } from "./errors.js";
import { ANSWERED_WITHIN, LOSSES, REFUSED_WITHIN, SLICE, WINDOW } from "./limits.js";
import { readNumber } from "./options.js";
import { createTimers } from "./timers.js";

const TOO_LARGE = "message_too_large";

export class Outbox {
  over = null; // Why it accepts no more sends.
  trouble; // Why there is no connection.
  #sends = new Map(); // By id, oldest first. One without a link waits for it.
  #link = null; // Sends are written to this link.
  #options;
  #stopwatch;
  #stats;
  #timers;
  #answers; // The timers of the sends that are written.
  #onSettled;
  #isPending;

  /**
   * Calls `onSettled` when a send has ended or left its link, with that link, or null. Requests about the history of a
   * session wait while that `isPending`.
   */
  constructor(options, stopwatch, stats, onSettled, isPending) {
    this.#timers = createTimers(options.clock);
    this.#answers = createTimers(options.clock);
    this.#options = options;
    this.#stopwatch = stopwatch;
    this.#stats = stats;
    this.#onSettled = onSettled;
    this.#isPending = isPending;
  }

  get size() {
    return this.#sends.size;
  }

  carriedBy(link) {
    return [...this.#sends.values()].filter((send) => send.link === link);
  }

  /** The frame of a send or a post, as text. */
  encode({ sessions, message, ...rest }) {
    const { id } = rest;
    let frame;
    try {
      if (JSON.stringify(message) === undefined) throw new TypeError(`${typeof message} is not JSON`);
      const list = typeof sessions === "string" ? [sessions] : [...sessions];
      frame = JSON.stringify({ action: "sendMessage", sessions: list, message, ...rest });
    } catch (cause) {
      refuse(id, "bad_request", `this cannot be sent: ${cause.message}`, cause);
    }
    const { maxFrameBytes } = this.#options;
    const size = bytes(frame);
    if (size <= maxFrameBytes) return frame;
    refuse(id, TOO_LARGE, `the frame has ${size} bytes of ${maxFrameBytes}: send a link, or split it`);
  }

  /** Resolves with the receipt. */
  send(sessions, message, { store, ...options } = {}) {
    return this.#add((id) => this.encode({ sessions, message, id, store }), undefined, options);
  }

  /** Requests messages from the history. Resolves with the answer. */
  ask(question, options) {
    return this.#add((id) => JSON.stringify({ action: "history", ...question, id }), question, options);
  }

  #add(encode, question, { id = newId(), ttl = this.#options.ttl, signal, ...rest }) {
    return new Promise((resolve, reject) => {
      for (const name of Object.keys(rest)) refuse(id, "bad_request", `unknown option ${name}`);
      if (typeof id !== "string" || !/^.{1,128}$/su.test(id)) {
        refuse(id, "bad_request", "id must be a string of 1 to 128 characters");
      }
      const limit = readNumber("ttl", ttl);
      const frame = encode(id);
      if (this.over) refuse(id, this.over.code, this.over.message, this.over.cause);
      if (this.#sends.has(id)) refuse(id, "bad_request", "a send with this id is unanswered: use another id");
      const { queueLimit } = this.#options;
      if (this.size >= queueLimit)
        refuse(id, "queue_full", `${queueLimit} sends are unanswered (queueLimit): wait for some`);

      const send = { id, frame, question, link: null, writes: 0, losses: 0, endsAt: this.#stopwatch() + limit };
      const settle = (how, value) => {
        if (this.#sends.get(id) !== send) return;
        this.#timers.clear(send);
        this.#answers.clear(send);
        signal?.removeEventListener("abort", abort);
        this.#sends.delete(id);
        how(value);
        this.#onSettled(send.link);
      };
      const abort = () => settle(reject, signal.reason ?? new Error("aborted"));
      send.succeed = (answer) => settle(resolve, answer);
      send.fail = (code, text, details) =>
        settle(reject, new HubError(code, text, { id, mayHaveArrived: send.writes > 0, ...details }));
      send.expire = () => {
        send.fail("timeout", `no answer within ${limit / 1_000} s (ttl): ${fate()}`, { cause: this.trouble });
      };
      const fate = () => (send.writes ? "it may have arrived" : "it was never sent");
      this.#sends.set(id, send);
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      this.#timers.set(send, limit, send.expire);
      this.flush();
    });
  }

  /** From now on, sends are written to this link; without one they wait. */
  use(link) {
    this.#link = link;
    this.trouble = undefined;
    this.flush();
  }

  /** A receipt, or messages from the history. */
  answer(frame) {
    this.#sends.get(frame.id)?.succeed(frame);
  }

  refuseQuestions(code, text) {
    for (const send of [...this.#sends.values()]) if (send.question) send.fail(code, text);
  }

  /** Returns whether the hub's error was about a send. */
  refuse(code, text, id) {
    const send = this.#sends.get(id);
    // Its connection is lost next, for this reason.
    if (send && code === "not_connected") send.refusal = [code, text];
    // If it was written before, it may have arrived then.
    else send?.fail(code, text, { mayHaveArrived: code === "internal" || send.writes > 1 });
    return Boolean(send);
  }

  /** The link has ended. Its sends wait for the next one. */
  lost(link, code) {
    if (this.#link === link) this.#link = null;
    const carried = this.carriedBy(link);
    for (const send of carried) send.link = null;
    this.#answers.clear(...carried);
    // Code 1009 says that a frame was too large. The largest would close the next connection too.
    if (code === 1009) {
      carried.sort((a, b) => bytes(a.frame) - bytes(b.frame));
      const largest = carried.pop();
      const text = "the gateway refused a frame of this size: send a link, or split it";
      largest?.fail(TOO_LARGE, text, { mayHaveArrived: largest.writes > 1 || carried.length > 0 });
    }
    // With the code null, the client itself has ended the link.
    for (const send of code === null ? [] : carried) {
      if (++send.losses < LOSSES) continue;
      const text = `${LOSSES} connections were lost with this message: something on the way may reject it`;
      send.fail(...(send.refusal ?? ["connection_lost", text]));
    }
    this.flush();
  }

  /** The gateway has refused a frame without saying which: any recent one. */
  suspect(link) {
    const since = this.#stopwatch() - REFUSED_WITHIN;
    for (const send of this.carriedBy(link)) send.isSuspect ||= send.writtenAt >= since;
  }

  /** Writes again the sends that may have been refused. */
  repeat(link) {
    this.#release(link, ({ isSuspect }) => isSuspect);
  }

  #release(link, isMeant) {
    for (const send of this.carriedBy(link).filter(isMeant)) send.link = null;
    this.#onSettled(link);
  }

  /** A backlog is written in slices with pauses, so that clients that reconnect together do not overload the hub. */
  flush() {
    if (this.#timers.has("flush")) return;
    let slice = SLICE;
    const first = [...this.#sends.values()].find(({ question }) => !question);
    for (const send of this.#sends.values()) {
      const { question } = send;
      if (send.link || (question ? this.#isPending(question.session) : this.#options.ordered && send !== first))
        continue;
      // A listener to frames may have ended the link.
      if (!this.#link) return;
      const carried = this.carriedBy(this.#link);
      if (carried.length >= WINDOW) return;
      // A send that is about to be given up may be what closes the connections: it is written alone.
      if (carried.length && [send, ...carried].some(({ losses }) => losses === LOSSES - 1)) return;
      if (!slice--) return this.#timers.set("flush", 50 + 100 * Math.random(), () => this.flush());
      // Timers stand still while a machine sleeps.
      const now = this.#stopwatch();
      if (now >= send.endsAt) {
        send.expire();
        continue;
      }
      const link = this.#link;
      Object.assign(send, { link, writtenAt: now, isSuspect: false });
      // When an answer can no longer come, the send is written again.
      this.#answers.set(send, ANSWERED_WITHIN, () => {
        // Behind all others, which may be more successful.
        if (!this.#options.ordered) {
          this.#sends.delete(send.id);
          this.#sends.set(send.id, send);
        }
        this.#release(link, (other) => other === send);
      });
      if (send.writes++) this.#stats.resent++;
      link.ask(send.frame, question && "history");
    }
  }

  /** Ends every send, and accepts no more. */
  end(error) {
    this.over = error;
    for (const { fail } of [...this.#sends.values()]) fail(error.code, error.message, { cause: error.cause });
    this.#timers.clearAll();
  }
}

/** The length in UTF-8. encodeURIComponent() writes each escaped byte as three characters. */
function bytes(text) {
  return encodeURIComponent(text).replace(/%../g, "x").length;
}

function refuse(id, code, text, cause) {
  throw new HubError(code, text, { id, cause });
}

/** Not crypto.randomUUID: browsers have that only on pages served by https. */
export function newId() {
  const numbers = globalThis.crypto?.getRandomValues(new Uint32Array(4)) ?? [1, 2, 3, 4].map(Math.random);
  return numbers.join("-");
}
