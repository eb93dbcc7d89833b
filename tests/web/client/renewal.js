// Tokens expire: the client replaces its connection before that, whatever the clocks say.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, HOUR, issue, MINUTE, SECOND, setUp, types } from "./setup.js";

/** Lets a backend send to alice every `period`, `count` times, and checks that each message arrives. */
async function alerts({ hub, settle, wind }, alice, period, count) {
  for (let n = 1; n <= count; n++) {
    await wind(period);
    assert.ok(
      hub.deliver(null, { id: `${n}`, sessions: ["alice"], message: n }).delivered > 0,
      `message ${n} was missed`,
    );
    await settle();
    assert.equal(alice.got().length, n);
  }
  assert.deepEqual(
    alice.got(),
    Array.from({ length: count }, (_, index) => index + 1),
  );
}

/** Checks that a client was open all the time, without an error. */
function assertSmooth(alice) {
  assert.deepEqual([...new Set(alice.states())], ["open"]);
  assert.deepEqual(
    types(alice).filter((type) => !["state", "message", "duplicate"].includes(type)),
    [],
  );
}

test("tokens of 10 minutes, a message each half hour: every one is received", async (t) => {
  const context = await setUp(t);
  context.hub.auth = true;
  const alice = await context.connect("alice", { token: async () => issue(context.clock, 10 * MINUTE) });
  assert.equal(Number(alice.state.expiresAt), context.clock.time + 10 * MINUTE);
  await alerts(context, alice, 30 * MINUTE, 20);
  assertSmooth(alice);
  // One every 8.5 minutes: 9, less half of the random minute.
  assert.equal(context.hub.handshakes.length, 1 + Math.floor(600 / 8.5));
  assert.equal(alice.stats.handovers, context.hub.handshakes.length - 1);
});

for (const random of [0, 0.999]) {
  test(`with tokens of 20 seconds, each message is received once, at ${random}`, async (t) => {
    const context = await setUp(t, { random });
    context.hub.auth = true;
    const alice = await context.connect("alice", { token: async () => issue(context.clock, 20 * SECOND) });
    await alerts(context, alice, SECOND, 180);
    assertSmooth(alice);
  });
}

for (const [life, random, after] of [
  [10 * MINUTE, 0, 9 * MINUTE],
  [10 * MINUTE, 0.99999, 8 * MINUTE],
  [20 * SECOND, 0, 15 * SECOND],
  [20 * SECOND, 0.99999, 13 * SECOND],
  [100 * MINUTE, 0, 99 * MINUTE],
  [100 * MINUTE, 0.99999, 98 * MINUTE],
  [8 * HOUR, 0, 115 * MINUTE],
  [8 * HOUR, 0.99999, 103.5 * MINUTE],
]) {
  test(`a token of ${life / MINUTE} minutes is replaced in time, and at handoverAfter at the latest, at ${random}`, async (t) => {
    const { hub, clock, connect, wind } = await setUp(t, { random });
    await connect("alice", { token: () => issue(clock, life) });
    await wind(after - SECOND);
    assert.equal(hub.attempts.length, 1);
    await wind(2 * SECOND);
    assert.equal(hub.attempts.length, 2);
  });
}

test("the expiry can be given beside the token, which is then not read", async (t) => {
  const { hub, connect, clock, wind } = await setUp(t, { random: 0 });
  for (const kind of [Number, (ms) => new Date(ms)]) {
    await connect("alice", {
      token: () => ({ token: issue(clock, 8 * HOUR), expiresAt: kind(clock.time + 10 * MINUTE) }),
    });
  }
  await wind(9 * MINUTE - SECOND);
  assert.equal(hub.attempts.length, 2);
  await wind(2 * SECOND);
  assert.equal(hub.attempts.length, 4);
});

test("with a token whose expiry cannot be read, hand-overs follow the age alone", async (t) => {
  const { hub, connect, wind } = await setUp(t, { random: 0 });
  const part = (text) => btoa(text).replace(/=+$/, "");
  const tokens = [
    "opaque",
    "a.b.c",
    "..",
    `a.${part("no JSON")}.c`,
    ...['{"exp":"9"}', '{"exp":null}', "{}", "null", "7"].map((claims) => `a.${part(claims)}.c`),
  ];
  for (const token of tokens) {
    const alice = await connect("alice", { token });
    assert.equal(alice.state.expiresAt, null);
  }
  await wind(115 * MINUTE - SECOND);
  assert.equal(hub.attempts.length, tokens.length);
  await wind(2 * SECOND);
  assert.equal(hub.attempts.length, 2 * tokens.length);
});

test("claims are read whatever else they hold, and whatever their length", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t, { random: 0 });
  const names = ["", "a", "ab", "abc", "ÿ¿þ>>>???", "日本語", "\u{1f600}"];
  for (const name of names) await connect("alice", { token: issue(clock, 10 * MINUTE, { name }) });
  await wind(9 * MINUTE + SECOND);
  assert.equal(hub.attempts.length, names.length, "a string has no successor");
  await wind(MINUTE);
  assert.equal(hub.attempts.length, 2 * names.length);
});

for (const [what, skew, claims, life] of [
  ["an hour behind", -HOUR, {}, 10 * MINUTE],
  ["an hour ahead", HOUR, {}, 10 * MINUTE],
  ["an hour ahead, the token not saying since when", HOUR, { iat: undefined }, 10 * MINUTE],
  ["an hour ahead, for tokens of 20 s", HOUR, {}, 20 * SECOND],
  ["an hour behind, for tokens of 20 s", -HOUR, {}, 20 * SECOND],
  ["ahead by less than the token lives", 9 * MINUTE, {}, 10 * MINUTE],
]) {
  test(`a wrong clock stops no messages: ${what}`, async (t) => {
    const context = await setUp(t);
    context.hub.auth = true;
    context.clock.skew = skew;
    const alice = await context.connect("alice", { token: () => issue(context.clock, life, claims) });
    await alerts(context, alice, life / 4, 24);
    assertSmooth(alice);
    const lives = "iat" in claims || skew === 9 * MINUTE ? MINUTE : life;
    assert.ok(context.hub.attempts.length <= (6 * life) / (lives * 0.6), `${context.hub.attempts.length} handshakes`);
  });
}

test("a clock that is ahead by nearly a token's life causes no flood of handshakes", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  clock.skew = 10 * MINUTE - 100;
  const alice = await connect("alice", { token: () => issue(clock, 10 * MINUTE) });
  await wind(MINUTE);
  assert.ok(hub.attempts.length < 20, `${hub.attempts.length} handshakes`);
  assertSmooth(alice);
});

for (const [ahead, back] of [
  [HOUR, HOUR],
  [0, 10 * MINUTE],
]) {
  test(`a clock that is set back by ${back / MINUTE} minutes drops no hand-over`, async (t) => {
    const { hub, clock, connect, wind } = await setUp(t);
    hub.auth = true;
    clock.skew = ahead;
    const alice = await connect("alice", { token: () => issue(clock, 10 * MINUTE) });
    await wind(MINUTE);
    clock.skew -= back;
    for (let n = 0; n < 60; n++) {
      await wind(MINUTE);
      const { delivered } = hub.deliver(null, { id: String(n), sessions: ["alice"], message: n });
      assert.ok(delivered >= 1, `deaf after ${n} minutes`);
    }
    assertSmooth(alice);
  });
}

test("with a clock that is ahead, and a token used until it expires, messages stop only briefly", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  clock.skew = 2 * SECOND;
  const tokens = [issue(clock, 10 * MINUTE)];
  const alice = await connect("alice", { token: () => tokens[0] });
  // By this clock the token has expired, but the hub accepts it once more.
  await wind(10 * MINUTE - SECOND);
  assert.ok(alice.heard("state").some(({ reason }) => reason === "the token has expired"));
  assert.deepEqual([alice.state.name, hub.handshakes.length], ["open", 2]);
  tokens[0] = issue(clock, HOUR);
  await wind(MINUTE);
  assert.equal(hub.handshakes.length, 3);
  assert.equal(hub.deliver(null, { id: "1", sessions: ["alice"], message: 1 }).delivered, 1);
});

for (const [how, wake] of Object.entries({
  "by a timer": ({ wind }) => wind(30 * SECOND),
  "by check()": async ({ settle, alice }) => {
    alice.check();
    await settle();
  },
})) {
  test(`a machine that sleeps past the token's expiry connects as soon as it wakes, ${how}`, async (t) => {
    const context = await setUp(t);
    const { hub, clock, connect, wind } = context;
    hub.auth = true;
    let asked = 0;
    const alice = await connect("alice", { token: () => ++asked && issue(clock, 10 * MINUTE) });
    await wind(MINUTE);
    clock.sleep(HOUR);
    await wake({ alice, ...context });
    assert.equal(asked, 2);
    assert.deepEqual(alice.states(), ["open", "connecting", "open"]);
    const { reason, attempt } = alice.heard("state")[1];
    assert.deepEqual([reason, attempt], ["the token has expired", 0]);
    assert.equal(hub.open.size, 1, "the deaf one is gone");
    assert.equal(hub.deliver(null, { id: "1", sessions: ["alice"], message: 1 }).delivered, 1);
    assert.deepEqual(alice.heard("error"), []);
  });
}

test("a machine that wakes past the token's expiry does not wait for an attempt that was due later", async (t) => {
  const { clock, connect, settle, wind } = await setUp(t);
  let fails = false;
  let asked = 0;
  const token = async () => {
    asked++;
    if (fails) throw new Error("no network");
    return issue(clock, 10 * MINUTE);
  };
  const alice = await connect("alice", { token });
  fails = true;
  await wind(9 * MINUTE);
  assert.ok(alice.heard("error").length > 3);
  fails = false;
  clock.sleep(HOUR);
  const before = asked;
  alice.check();
  await settle();
  assert.deepEqual([asked, alice.state.name], [before + 1, "open"]);
});

test("an overlap ends when the old token expires, and starts no further connection", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  const alice = await connect("alice", { token: () => issue(clock, 10 * MINUTE), handoverOverlap: 5 * MINUTE });
  await wind(9 * MINUTE);
  assert.equal(hub.open.size, 2);
  await wind(3 * MINUTE);
  assert.deepEqual([hub.attempts.length, hub.open.size], [2, 1]);
  assertSmooth(alice);
});

test("a machine that sleeps past the time of a hand-over makes it on waking", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  const byToken = await connect("alice", { token: () => issue(clock, 10 * MINUTE) });
  const byAge = await connect("alice", { handoverAfter: 9 * MINUTE });
  clock.sleep(9 * MINUTE);
  await wind(30 * SECOND - 1);
  assert.equal(hub.attempts.length, 2);
  await wind(1);
  assert.equal(hub.attempts.length, 4);
  for (const client of [byToken, byAge]) assertSmooth(client);
});

test("a token that is cached until it expires is requested again and again, and opens nothing", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t, { random: 0 });
  hub.auth = true;
  let asked = [];
  let cached;
  const begin = clock.time;
  const token = () => {
    asked.push(clock.time - begin);
    if (!cached || cached.ends <= clock.time) {
      cached = { token: issue(clock, 10 * MINUTE), ends: clock.time + 10 * MINUTE };
    }
    return cached.token;
  };
  const alice = await connect("alice", { token });
  await wind(10 * MINUTE - 1);
  assert.deepEqual(asked.slice(0, 7), [0, 540_000, 570_000, 585_000, 592_500, 596_250, 598_125]);
  assert.ok(asked.length <= 8);
  assert.deepEqual([alice.state.name, hub.attempts.length], ["open", 1]);
  await wind(SECOND);
  assert.deepEqual([alice.state.name, hub.attempts.length], ["open", 2]);
  assert.equal(alice.heard("state").filter(({ reason }) => reason === "the token has expired").length > 0, true);
  assert.deepEqual(alice.heard("error"), []);

  // A token that is renewed some time before its expiry gives a hand-over without a gap.
  asked = [];
  const before = alice.states().filter((name) => name !== "open").length;
  await wind(9.5 * MINUTE);
  cached = null;
  await wind(MINUTE);
  assert.equal(hub.attempts.length, 3);
  assert.equal(alice.states().filter((name) => name !== "open").length, before);
});

test("a token that is a string serves until it expires, and is refused after that", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  const alice = await connect("alice", { token: issue(clock, 10 * MINUTE) });
  await wind(10 * MINUTE - 1);
  assertSmooth(alice);
  assert.equal(hub.attempts.length, 1);
  await wind(1);
  assert.deepEqual([alice.state.name, alice.state.reason], ["waiting", "the token has expired"]);
  assert.ok(alice.delay() > 0);
  await wind(10 * SECOND);
  assert.deepEqual([hub.attempts.length, alice.heard("refused").length], [6, 1]);
});

test("a hand-over by age presents the same token again", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t, { random: 0 });
  const alice = await connect("alice", { token: issue(clock, 8 * HOUR) });
  await wind(7 * HOUR);
  assert.equal(hub.attempts.length, 1 + Math.floor((7 * 60) / 115));
  assertSmooth(alice);
});

test("a token that cannot be fetched leaves the connection open until the one in use expires", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  let fails = false;
  const token = async () => {
    if (fails) throw new Error("no network");
    return issue(clock, 10 * MINUTE);
  };
  const alice = await connect("alice", { token });
  fails = true;
  await wind(9 * MINUTE);
  for (const error of alice.heard("error")) assert.ok(code("token_failed")(error));
  assert.ok(alice.heard("error").length > 3);
  assert.deepEqual(alice.states(), ["open"]);
  fails = false;
  await wind(30 * SECOND);
  assert.deepEqual([hub.handshakes.length, [...new Set(alice.states())]], [2, ["open"]]);
  fails = true;
  await wind(10 * MINUTE);
  assert.equal(alice.state.name, "waiting");
  assert.ok(alice.heard("state").some(({ reason }) => reason === "the token has expired"));
  fails = false;
  await wind(30 * SECOND);
  assert.equal(alice.state.name, "open");
});

for (const [life, pause] of [
  [10 * MINUTE, 30 * MINUTE],
  [MINUTE, 7 * MINUTE],
  [3 * HOUR, 4 * HOUR],
]) {
  test(`a token of ${life / MINUTE} min, a message each ${pause / MINUTE} min, 20 times: each is received once`, async (t) => {
    const { hub, clock, connect, wind, settle } = await setUp(t);
    hub.auth = true;
    const bob = await connect("bob", { token: async () => issue(clock, life) });
    for (let number = 0; number < 20; number++) {
      await wind(pause);
      hub.deliver(null, { id: `alert ${number}`, sessions: ["bob"], message: number });
      await settle();
    }
    assert.deepEqual(
      bob.got(),
      [...Array(20)].map((_, number) => number),
    );
    assert.deepEqual([...new Set(bob.states())], ["open"]);
    assert.deepEqual(bob.heard("error"), []);
  });
}
