// The timelines of tests/vectors, which the Python client runs too. Their README says how they are written.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "../../web/client/hub.js";
import { Clock } from "../../web/client/testing.js";

const VECTORS = join(import.meta.dirname, "../vectors");

// How much later than its time a step may come: clocks are not exact.
const SLACK = 10;

const CHANCES = [0, 0.5, 0.999];

const SENT_AT = { sent_at: "2030-01-01T00:00:00.000Z" };

/** A hub that sends only the frames of the steps, and the WebSocket that connects to it. */
function makeNetwork(clock, note) {
  const sockets = [];
  class Socket extends EventTarget {
    readyState = 0;
    constructor(url) {
      super();
      const session = new URL(url).searchParams.get("session_id");
      this.number = sockets.push(this);
      note("connects", [this.number, session]);
      this.#later(() => {
        if (this.readyState) return;
        this.readyState = 1;
        this.dispatchEvent(new Event("open"));
      });
    }
    send(data) {
      const frame = JSON.parse(data);
      if (frame.action !== "ping") note("sent", [this.number, frame]);
      else if (!Socket.mute) this.say({ type: "pong" });
    }
    say(frame) {
      const data = typeof frame === "string" ? frame : JSON.stringify(frame);
      this.#later(() => this.readyState === 1 && this.dispatchEvent(Object.assign(new Event("message"), { data })));
    }
    close(code = 1005) {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.#later(() => this.dispatchEvent(Object.assign(new Event("close"), { code, reason: "" })));
    }
    terminate() {
      this.close();
    }
    #later(run) {
      clock.setTimeout(run, 0);
    }
  }
  return { sockets, Socket };
}

/** In the client's own words: camel case, and milliseconds. */
function readOptions(options) {
  const read = ([name, value]) => {
    const camel = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
    const isTime = typeof value === "number" && !/(limit|bytes)$/.test(name);
    return [camel, isTime ? value * 1_000 : value];
  };
  return Object.fromEntries(Object.entries(options).map(read));
}

const asPair = (position) => (position ? [position.epoch, position.offset] : null);

async function run(options, steps) {
  const clock = new Clock();
  const seen = { connects: [], sent: [], told: [] };
  const note = (kind, what) => seen[kind].push([clock.uptime(), what]);
  const { sockets, Socket } = makeNetwork(clock, note);
  const hub = connect({ url: "ws://hub.invalid/live", ...readOptions(options), WebSocket: Socket, clock });
  for (const type of ["message", "duplicate"]) {
    hub.on(type, ({ position, ...rest }) => note("told", [type, { ...rest, position: asPair(position) }]));
  }
  for (const type of ["gap", "lost"]) {
    hub.on(type, ({ session, from, to }) => {
      note("told", [type, { session, from: asPair(from), to: asPair(to), at: asPair(hub.position(session)) }]);
    });
  }
  hub.on("error", ({ code, session = null, id = null }) => note("told", ["error", { code, session, id }]));

  const ids = new Map();
  const offs = new Map();
  let since = 0;
  const quiet = () => {
    for (const [kind, [first]] of Object.entries(seen)) assert.equal(first, undefined, `unexpected: ${kind}`);
  };
  const fill = (frame) => {
    if (ids.has(frame?.id)) frame = { ...frame, id: ids.get(frame.id) };
    if (frame?.type === "message") frame = { ...SENT_AT, ...frame };
    if (frame?.messages) frame = { ...frame, messages: frame.messages.map(fill) };
    return frame;
  };
  const expect = async (kind, step) => {
    const [earliest, latest] = (step.within ?? [0, 0]).map((seconds) => seconds * 1_000);
    const end = since + latest + SLACK;
    await clock.settle();
    while (!seen[kind].length && clock.uptime() < end) await clock.advance(Math.min(clock.next, end - clock.uptime()));
    assert.ok(seen[kind].length, `none came; there is ${JSON.stringify(seen)}`);
    const [at, [first, what]] = seen[kind].shift();
    const isInTime = at >= since + earliest - SLACK && at <= since + latest + SLACK;
    assert.ok(isInTime, `${at - since} ms after the step before: ${JSON.stringify(what)}`);
    if (kind === "connects") {
      assert.deepEqual([first, what], [step.connects, step.as ?? what]);
    } else if (kind === "sent") {
      const { id } = step.sent;
      if (id.startsWith("$") && !ids.has(id)) {
        assert.ok(what.id && ![...ids.values()].includes(what.id), `the id is not new: ${what.id}`);
        ids.set(id, what.id);
      }
      assert.deepEqual([first, what], [step.on ?? sockets.length, fill(step.sent)]);
    } else {
      const [wanted, rest] = step.told;
      const named = Object.keys(rest).map((key) => [key, what[key] ?? null]);
      assert.deepEqual([first, Object.fromEntries(named)], [wanted, rest]);
    }
    since = latest > 0 ? at : Math.max(since, at);
  };
  const call = async (promise) => {
    try {
      const { messages = [], delivered = null, complete = null } = await promise;
      note("told", ["answer", { messages: messages.map(({ message }) => message), delivered, complete }]);
    } catch ({ code, mayHaveArrived, id }) {
      note("told", ["failed", { code, may_have_arrived: mayHaveArrived, id }]);
    }
  };
  const act = {
    listen: ({ session }) => {
      for (const name of [session].flat()) {
        offs.set(
          name,
          hub.session(name).on("message", () => {}),
        );
      }
    },
    leave: ({ session }) => {
      for (const name of [session].flat()) offs.get(name)();
    },
    close: () => hub.close(),
    send: ({ to, message, ...rest }) => void call(hub.send(to, message, readOptions(rest))),
    history: ({ session, ...rest }) => void call(hub.history({ session, ...rest })),
  };
  const take = async (step) => {
    const expected = Object.keys(seen).find((kind) => kind in step);
    if (expected) return expect(expected, step);
    await clock.advance(1);
    quiet();
    const socket = (number) => sockets[(number ?? sockets.length) - 1];
    if ("wait" in step) {
      await clock.advance(since + step.wait * 1_000 - clock.uptime());
      quiet();
    } else if ("hub" in step) {
      for (const frame of [step.hub].flat()) socket(step.on).say(fill(frame));
    } else if ("cut" in step) {
      socket(step.cut).close(step.code ?? 1006);
    } else if ("closed" in step) {
      assert.equal(socket(step.closed).readyState, 3);
    } else if ("open" in step) {
      assert.equal(socket(step.open).readyState, 1);
    } else if ("mute" in step) {
      Socket.mute = step.mute;
    } else if ("position" in step) {
      assert.deepEqual(asPair(hub.position(step.of)), step.position);
    } else {
      const { do: name, ...rest } = step;
      act[name](rest);
    }
    since = clock.uptime();
  };
  try {
    for (const [number, step] of steps.entries()) {
      await take(step).catch((error) => {
        throw new Error(`step ${number}, ${JSON.stringify(step)}: ${error.message}`, { cause: error });
      });
    }
    await clock.advance(SLACK);
    quiet();
  } finally {
    hub.close();
    await clock.advance(5_000);
  }
  assert.equal(clock.running, 0, "timers that are left");
}

for (const file of readdirSync(VECTORS).filter((name) => name.endsWith(".json"))) {
  const { setups = {}, timelines } = JSON.parse(readFileSync(join(VECTORS, file), "utf8"));
  for (const { name, after, options, steps, chances = CHANCES } of timelines) {
    const setup = setups[after] ?? { options: options?.token ? {} : { session: "bob" }, steps: [] };
    test(`${file}: ${name}`, async () => {
      const { random } = Math;
      try {
        for (const chance of chances) {
          Math.random = () => chance;
          await run({ ...setup.options, ...options }, [...setup.steps, ...steps]);
        }
      } finally {
        Math.random = random;
      }
    });
  }
}
