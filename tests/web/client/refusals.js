// Refused handshakes: attempts become rare, and other failures do not count.

import assert from "node:assert/strict";
import { configuration } from "../environment.js";
import { test } from "../suite.js";
import { MINUTE, replace, SECOND, setUp, types } from "./setup.js";

// Browsers do not report why a handshake failed.
const tellsStatus = () => configuration.ws;
const tellsAbsence = () => configuration.ws || configuration.id === "bun";

test("handshakes that are refused with a token become rare, and are reported", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.refuse = 403;
  const alice = start("alice", { token: "t" });
  await wind(4 * SECOND);
  assert.equal(hub.attempts.length, 5);
  const [first, ...more] = alice.heard("refused");
  assert.deepEqual([first.refused, more.length], [5, 0]);
  // Less the time that has passed.
  assert.ok(Math.abs(first.retryAt - alice.state.retryAt) < 2 && alice.delay() > 0.65 * MINUTE);
  assert.match(first.reason, tellsStatus() ? /403/ : /./);
  await wind(10 * MINUTE - 4 * SECOND);
  assert.equal(hub.attempts.length, 9);
  await wind(50 * MINUTE);
  assert.equal(hub.attempts.length, 22);
  assert.deepEqual(
    alice.heard("refused").map(({ refused }) => refused),
    Array.from({ length: 18 }, (_, index) => index + 5),
  );
  assert.equal(alice.heard("error").length, 22);
  assert.deepEqual([alice.state.name, alice.state.refused], ["waiting", 22]);
  const rare = 3.75 * MINUTE;
  assert.ok(alice.delay() <= rare);

  // check() makes an attempt at once, and keeps the count.
  alice.check();
  await settle();
  assert.deepEqual([hub.attempts.length, alice.heard("refused").at(-1).refused], [23, 23]);
  assert.equal(alice.delay(), rare);
});

for (const [random, delay] of [
  [0, 15_000],
  [0.999, 29_985],
]) {
  test(`rare attempts keep to refusedRetry, and are spread: at ${random}`, async (t) => {
    const { hub, start, settle, wind } = await setUp(t, { random });
    hub.refuse = 401;
    const alice = start("alice", { token: "t", refusedRetry: 30 * SECOND });
    await settle();
    while (!alice.heard("refused").length) await wind(alice.delay() + 1);
    assert.ok(Math.abs(alice.delay() - delay) <= 2, `${alice.delay()}`);
  });
}

test("a handshake that succeeds resets the count of refusals", async (t) => {
  const { hub, start, cut, wind } = await setUp(t);
  hub.refuse = 403;
  let refused;
  const alice = start("alice", { token: (request) => ({ refused } = request) && "t" });
  await wind(MINUTE / 2);
  assert.equal(alice.heard("refused").length, 1);
  hub.refuse = false;
  await wind(5 * MINUTE);
  assert.equal(alice.state.name, "open");
  hub.refuse = 403;
  await cut();
  assert.equal(alice.delay(), 250);
  await wind(250);
  assert.equal(refused, 0);
  await wind(1_800);
  assert.deepEqual([refused, alice.heard("refused").length], [2, 1]);
});

test("a hub that is unreachable for a moment is soon found again, also with a token", async (t) => {
  const { hub, start, wind } = await setUp(t);
  await hub.stop();
  const alice = start("alice", { token: "t" });
  await wind(20 * SECOND);
  // Without a reason from the runtime, the client cannot tell.
  assert.equal(alice.heard("refused").length, tellsAbsence() ? 0 : 1);
  await hub.start();
  await wind(MINUTE);
  assert.equal(alice.state.name, "open");
});

/** Failures that are not refusals. In runtimes that do not say so, they must count as refusals. */
const others = {
  "another status": {
    isTold: tellsStatus,
    prepare: ({ hub }) => (hub.refuse = 429),
  },
  "no hub at that address": {
    isTold: tellsAbsence,
    prepare: ({ hub }) => hub.stop(),
  },
  "no token": {
    prepare: ({ hub }) => (hub.refuse = 403),
    options: { token: undefined },
  },
  "no answer": {
    prepare: ({ hub }) => (hub.hang = true),
  },
  "no network": {
    prepare: ({ hub, t }) => {
      hub.refuse = 403;
      if (!globalThis.navigator) replace(t, globalThis, "navigator", {});
      replace(t, globalThis.navigator, "onLine", false);
    },
  },
  "a connection that is cut at once": {
    prepare: ({ hub }) =>
      Object.defineProperty(hub, "greeting", {
        get: () => {
          hub.cut();
          return "";
        },
      }),
  },
};

for (const [what, { isTold = () => true, prepare, options }] of Object.entries(others)) {
  test(`failures that are known not to be refusals do not count: ${what}`, async (t) => {
    const context = await setUp(t);
    await prepare({ t, ...context });
    const alice = context.start("alice", { token: "t", ...options });
    await context.wind(5 * MINUTE);
    if (!isTold()) {
      // As far as this runtime reports, it may be a refusal.
      assert.ok(alice.state.refused >= 5);
      return;
    }
    assert.ok(alice.heard("error").length >= 8, `${alice.heard("error").length} errors`);
    assert.deepEqual(types(alice).sort(), ["error", "state"]);
    for (const error of alice.heard("error")) assert.equal(error.code, "connect_failed");
    assert.equal(alice.state.refused, 0);
  });
}

test("another failure resets the count of refusals", async (t) => {
  const { hub, start, wind } = await setUp(t);
  const answers = [403, 403, 403, 403, "none", 403, 403, false];
  const seen = [];
  const token = ({ refused }) => {
    seen.push(refused);
    hub.refuse = answers.shift();
    hub.hang = hub.refuse === "none";
    return "t";
  };
  const alice = start("alice", { token });
  await wind(2 * MINUTE);
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 0, 1, 2]);
  assert.deepEqual([alice.state.name, alice.heard("refused")], ["open", []]);
});

test("a refused hand-over is reported, and ends nothing", async (t) => {
  const { hub, connect, wind } = await setUp(t, { random: 0 });
  const alice = await connect("alice", { token: "t", handoverAfter: 30 * MINUTE, backoffBase: 1_000 });
  hub.refuse = 403;
  await wind(40 * MINUTE);
  assert.deepEqual(alice.states(), ["open"]);
  // At random 0 the backoff takes no time, and the rare attempts come after 0.5, 1, 2 and then each 2.5 minutes.
  assert.deepEqual(
    alice.heard("refused").map(({ refused }) => refused),
    [5, 6, 7, 8, 9, 10],
  );
});

test("a client that is closed while its attempt is given up stays closed", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.hang = true;
  let calls = 0;
  const alice = start("alice", {
    token: ({ signal }) => {
      signal.addEventListener("abort", () => alice.close());
      return `t${++calls}`;
    },
  });
  await wind(15 * SECOND);
  hub.hang = false;
  await wind(MINUTE);
  assert.deepEqual([alice.state.name, calls, hub.handshakes.length], ["closed", 1, 0]);
  assert.deepEqual(alice.states(), ["closed"]);
});
