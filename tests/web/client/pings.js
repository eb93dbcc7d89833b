// Pings keep a connection alive, and find one that is dead.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { HOUR, MINUTE, SECOND, setUp } from "./setup.js";

test("an idle connection is kept alive well within the gateway's 10 minutes", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { handoverAfter: 120 * MINUTE });
  for (let tens = 1; tens <= 10; tens++) {
    let minutes = 0;
    for (; minutes < 10 && hub.pings < tens; minutes++) await wind(MINUTE);
    assert.ok(minutes < 8, `${minutes} minutes passed without a ping`);
    assert.equal(alice.frames.filter(({ data }) => data === '{"type":"pong"}').length, 1 + tens);
  }
  assert.equal(hub.handshakes.length, 1);
});

test("pings go out while messages come in: receiving does not keep a connection alive", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const bob = await connect("bob");
  const [link] = hub.open;
  for (let minute = 1; minute <= 4; minute++) {
    link.say({ type: "message", id: `${minute}`, from: "a", message: minute });
    await settle();
    assert.equal(bob.got().length, minute);
    await wind(MINUTE);
  }
  assert.equal(hub.pings, 1);
});

test("a hub that does not answer a ping is given up, and its sends are sent again", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const [dead] = hub.open;
  hub.intercept = (link) => link === dead;
  const send = alice.send("bob", "hello", { id: "x" });
  await settle();
  assert.equal(hub.sent.length, 1);
  await wind(10 * SECOND);
  assert.equal(hub.pings, 1);
  await wind(10 * SECOND - 1);
  assert.equal(alice.state.name, "open");
  await wind(1);
  assert.equal(alice.state.name, "waiting");
  assert.match(alice.state.reason, /does not answer/);
  await wind(500);
  assert.equal((await send).delivered, 1);
  await settle();
  assert.deepEqual(bob.got(), ["hello"]);
  assert.deepEqual(
    hub.sent.map(({ id }) => id),
    ["x", "x"],
  );
  assert.equal(alice.stats.resent, 1);
  await wind(SECOND);
  assert.ok(!hub.open.has(dead), "the dead socket was cut, not left to linger");
});

test("a dead connection is given up in time, however often check() is called", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.mute = true;
  hub.silent = true;
  await wind(5 * SECOND);
  for (let seconds = 0; seconds < 10; seconds++) {
    assert.equal(alice.state.name, "open");
    alice.check();
    await wind(SECOND);
  }
  assert.equal(alice.state.name, "waiting");
});

test("a delivery that crosses a send does not hide that the connection died after it", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = () => true;
  const send = alice.send("bob", 1);
  await wind(SECOND);
  hub.deliver("carol", { id: "x", sessions: ["alice"], message: "crossing" });
  await wind(20 * SECOND);
  hub.intercept = () => false;
  await wind(2 * SECOND);
  assert.deepEqual([(await send).delivered, hub.handshakes.length, alice.state.name], [0, 2, "open"]);
});

test("a pong that takes longer than pingInterval does not stop the pings", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { pingInterval: 10 * SECOND, pongTimeout: 30 * SECOND });
  const late = [];
  hub.intercept = (link) => late.length < 1 && late.push(() => link.say({ type: "pong" }));
  await wind(25 * SECOND);
  late[0]();
  const before = hub.pings;
  await wind(5 * MINUTE);
  assert.ok(hub.pings - before > 25, `${hub.pings - before} pings in five minutes`);
  assert.equal(alice.state.name, "open");
});

test("a hidden tab, whose timers run once per minute, pings no more often", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  const { setTimeout } = clock;
  await connect("bob", {
    clock: {
      now: () => clock.now(),
      uptime: () => clock.uptime(),
      setTimeout: (run, ms) => setTimeout.call(clock, run, Math.ceil(ms / MINUTE) * MINUTE + 50),
      clearTimeout: (timer) => clock.clearTimeout(timer),
    },
  });
  await wind(HOUR);
  assert.ok(hub.pings <= 15, `${hub.pings} pings in an hour`);
});

for (const [what, sleeps] of [
  ["stand still", true],
  ["go on", false],
]) {
  test(`a sleep is noticed, even if the runtime's own clock would ${what}`, async (t) => {
    const { hub, clock, connect, wind } = await setUp(t);
    let ahead = 0;
    const ours = {
      setTimeout: (run, ms) => clock.setTimeout(run, ms),
      clearTimeout: (timer) => clock.clearTimeout(timer),
      now: () => clock.now() + ahead,
      uptime: () => clock.uptime() + (sleeps ? 0 : ahead),
    };
    await connect("bob", { clock: ours });
    await wind(MINUTE);
    const before = hub.pings;
    ahead = 10 * MINUTE;
    await wind(30 * SECOND);
    assert.equal(hub.pings, before + 1);
  });
}
