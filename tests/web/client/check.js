// check(), with which a program asks for a connection at once, or for a proof that the one it has still works.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { fakePage, MINUTE, SECOND, setUp } from "./setup.js";

test("with a connection, check() and events of the machine ping, unless a frame came recently", async (t) => {
  const page = fakePage(t);
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const front = () => page.tellDocument("visibilitychange");
  for (const [name, wake, quiet] of [
    ["a tab that comes to the front", front, 30 * SECOND],
    ["check()", () => alice.check(), 2 * SECOND],
    ["a change of the network", () => page.tell("online"), 0],
  ]) {
    const before = hub.pings;
    await wind(quiet && quiet - SECOND);
    wake();
    await settle();
    assert.equal(hub.pings, before + (quiet ? 0 : 1), `${name}, at once`);
    await wind(quiet && SECOND);
    if (quiet) wake();
    await settle();
    assert.equal(hub.pings, before + 1, `${name}, later`);
  }
});

test("check() resets the backoff", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  await settle();
  for (let tries = 1; tries <= 3; tries++) await wind(alice.delay());
  assert.equal(alice.delay(), 2_000);
  alice.check();
  await settle();
  assert.equal(alice.delay(), 250);
});

test("check() while a dial hangs starts a second one", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.hang = true;
  const bob = start("bob");
  await wind(2 * SECOND);
  bob.check();
  await wind(1);
  assert.equal(hub.attempts.length, 2);
  hub.hang = false;
  for (let times = 0; times < 5; times++) bob.check();
  await wind(2 * SECOND);
  assert.deepEqual([hub.attempts.length, bob.state.name], [3, "open"]);
});

test("a wake while an attempt hangs starts a new one", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.hang = true;
  const alice = start("alice");
  await wind(SECOND);
  alice.check();
  await settle();
  assert.equal(hub.attempts.length, 1, "it is too young to be given up");
  hub.hang = false;
  await wind(SECOND);
  assert.deepEqual([alice.state.name, hub.attempts.length], ["open", 2]);
});

test("a wake leaves alone a dial that is young, and a token request that is pending", async (t) => {
  const { hub, start, wind } = await setUp(t);
  let asked = 0;
  const token = async () => (asked++, await new Promise((resolve) => (give = resolve)));
  let give;
  const bob = start("bob", { token });
  await wind(5 * SECOND);
  bob.check();
  await wind(5 * SECOND);
  assert.deepEqual([asked, hub.attempts.length], [1, 0]);
  give("t");
  bob.check();
  await wind(5 * SECOND);
  assert.deepEqual([asked, hub.attempts.length, bob.state.name], [1, 1, "open"]);
});

test("check() replaces an attempt that hangs after its socket has opened", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.greeting = "";
  const bob = start("bob");
  await wind(3 * SECOND);
  hub.greeting = { type: "pong" };
  bob.check();
  await wind(SECOND);
  assert.deepEqual([hub.handshakes.length, bob.state.name], [2, "open"]);
});

test("however often check() is called in an outage, the hub is found as soon as it is back", async (t) => {
  const page = fakePage(t);
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  for (let times = 0; times < 300; times++) {
    bob.check();
    page.tell("online");
    await wind(100);
  }
  assert.ok(hub.attempts.length < 45, `${hub.attempts.length} attempts in 30 s`);
  assert.ok(hub.attempts.length > 25, `${hub.attempts.length} attempts in 30 s`);
  hub.refuse = false;
  bob.check();
  await wind(2 * SECOND);
  assert.equal(bob.state.name, "open");
});

test("check() once per second, for ten minutes without a hub, makes at most one handshake per second", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  for (let seconds = 0; seconds < 600; seconds++) {
    bob.check();
    await wind(SECOND);
    if (bob.state.name === "waiting") assert.ok(bob.delay() < 40 * SECOND && bob.delay() > -1_100, `${bob.delay()}`);
  }
  assert.ok(hub.attempts.length < 640, `${hub.attempts.length} handshakes in ten minutes`);
});

test("check() from a listener does not flood the hub", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  bob.on("state", ({ name }) => name === "waiting" && bob.check());
  bob.on("error", () => bob.check());
  await wind(MINUTE);
  assert.ok(hub.attempts.length < 70, `${hub.attempts.length} handshakes in a minute`);
});
