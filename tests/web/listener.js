// Listens to sessions at $HUB_URL as applications do, and compares the messages received with the history.

import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import * as ws from "ws";
import { connect } from "../../web/client/hub.js";
import { recorded } from "./frames.js";
import { Line } from "./line.js";

/** Without compression, which API Gateway lacks, and which would hide the frames from the line. */
class Plain extends ws.WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { perMessageDeflate: false });
  }
}

export const WebSocket = recorded(Plain);

/** At half speed: the local stack may be slow to answer, and a busy machine must not look like a gap. */
export const clock = {
  now: () => Date.now() / 2,
  uptime: () => performance.now() / 2,
  setTimeout: (run, ms) => setTimeout(run, 2 * ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export async function until(isSo, what) {
  for (const end = Date.now() + 30_000; !isSo(); await sleep(50)) assert.ok(Date.now() < end, `not in time: ${what}`);
}

/** Listens to a session with one client after another, each of which continues from the position of the previous one. */
export class Listener {
  runs = []; // Of each client: between which positions it has listened, and what it was told.
  aside = []; // Messages that are not kept.
  faults = []; // What was told to be missing.
  counts = { handovers: 0, missed: 0, answers: 0 };

  static async open(t, session, options) {
    const listener = Object.assign(new Listener(), { session, options, line: await Line.open(t) });
    t.after(() => listener.client?.close());
    return listener;
  }

  /** Without a position, the client receives new messages only. */
  start(position) {
    const { session, options, line, runs, counts } = this;
    const run = { from: position?.offset, told: [] };
    runs.push(run);
    const positions = { [session]: position };
    this.client = connect({ url: line.url, session, positions, backoffMax: 1_000, clock, WebSocket, ...options });
    this.client.on("message", (message) => {
      if (!message.position) return this.aside.push(message.message);
      counts.missed += message.missed;
      run.told.push(textOf({ ...message, ...message.position }));
    });
    for (const type of ["gap", "lost"]) {
      this.client.on(type, ({ from, to }) => this.faults.push(`${type} from ${from?.offset} to ${to.offset}`));
    }
    this.client.on("frame", ({ direction, data }) => {
      counts.answers += direction === "in" && data.startsWith('{"type":"history"');
    });
  }

  /** No message after this may be missing. */
  async ready() {
    await until(() => this.client.position(), "a position");
    this.runs.at(-1).from = this.client.position().offset;
  }

  /** Returns the position as an application stores and restores it. */
  stop() {
    this.counts.handovers += this.client.stats.handovers;
    this.client.close();
    return (this.runs.at(-1).position = JSON.parse(JSON.stringify(this.client.position() ?? null)));
  }
}

/** A stored message, for comparison. */
function textOf({ offset, from, id, message }) {
  const text = JSON.stringify(message);
  return `${offset} ${from} ${id} ${text.slice(0, 30)} ${text.length}`;
}

/** A session's history, page by page, each proven to have no gap. */
export async function historyOf(session) {
  const socket = new WebSocket(`${process.env.HUB_URL}?session_id=${session}`);
  await once(socket, "open");
  const ask = async (question) => {
    socket.send(JSON.stringify({ action: "history", session, ...question }));
    return JSON.parse((await once(socket, "message"))[0]);
  };
  const { epoch, offset } = await ask({});
  const kept = [];
  for (let more = true; more;) {
    const answer = await ask({ epoch, after: kept.at(-1)?.offset ?? 0 });
    assert.deepEqual([answer.type, answer.complete, answer.offset], ["history", true, offset], session);
    ({ more } = answer);
    kept.push(...answer.messages);
    if (more && !answer.messages.length) await sleep(1_000);
  }
  socket.close();
  return { epoch, offset, kept };
}

/** Waits for all messages to arrive, stops the listeners, and returns what is wrong with the messages that they received. */
export async function problems(listeners, histories) {
  const hasAll = ({ session, client }) => client.position()?.offset === histories.get(session).offset;
  await until(() => listeners.every(hasAll)).catch(() => {});
  const found = [];
  for (const [number, listener] of listeners.entries()) {
    const { session, faults, runs } = listener;
    const { epoch, offset, kept } = histories.get(session);
    listener.stop();
    const say = (what) => found.push(`${session}, listener ${number}: ${what}`);
    faults.forEach(say);
    for (const { told, position, from = told.length ? parseInt(told[0]) - 1 : position?.offset } of runs) {
      const isLast = told === runs.at(-1).told;
      const to = isLast ? offset : position?.offset;
      const run = `from ${from} to ${to} of ${epoch}`;
      // A listener that was stopped at once may have no position yet.
      const isThere = position ? position.epoch === epoch && position.offset === to : !isLast;
      if (!isThere) say(`${run}: it is at ${JSON.stringify(position)}`);
      // A message that came twice under one id has two offsets, and is received once.
      const ids = new Set();
      const isFirst = ({ from, id }) => ids.size < ids.add(JSON.stringify([from, id])).size;
      const due = kept.filter((frame) => frame.offset > from && frame.offset <= to && isFirst(frame)).map(textOf);
      const wrong = {
        missing: due.filter((one) => !told.includes(one)),
        double: told.filter((one, at) => told.indexOf(one) < at),
        unexpected: told.filter((one) => !due.includes(one)),
        "out of order": told.filter((one, at) => at && parseInt(one) < parseInt(told[at - 1])),
      };
      for (const [what, list] of Object.entries(wrong)) {
        if (list.length) say(`${run}: ${list.length} ${what}: ${list.slice(0, 5).join(", ")}`);
      }
    }
  }
  return found;
}
