// The states of a client, and how listeners receive their changes.

import assert from "node:assert/strict";
import { SignedOut } from "../../../web/client/hub.js";
import { test } from "../suite.js";
import { code, MINUTE, SECOND, setUp } from "./setup.js";

test("each change of state makes a new snapshot, and listeners also get the previous one", async (t) => {
  const { clock, connect, cut, wind } = await setUp(t);
  const alice = await connect("alice");
  const open = alice.state;
  assert.throws(() => {
    alice.state.name = "closed";
  }, TypeError);
  const changes = [];
  alice.on("state", (now, before) => changes.push([before.name, now.name, now === alice.state]));
  await cut();
  assert.deepEqual([open.name, alice.state.name], ["open", "waiting"]);
  assert.equal(Number(alice.state.since), clock.now());
  assert.equal(Number(alice.state.retryAt), clock.now() + 250);
  await wind(SECOND);
  await alice[Symbol.asyncDispose ?? "asyncDispose"]();
  assert.deepEqual(changes, [
    ["open", "waiting", true],
    ["waiting", "connecting", true],
    ["connecting", "open", true],
    ["open", "closed", true],
  ]);
});

test("all listeners receive states in the order in which they occurred", async (t) => {
  const { start, settle } = await setUp(t);
  const alice = start("alice");
  alice.on("state", ({ name }) => name === "open" && alice.pause());
  const told = [];
  alice.on("state", (now, before) => told.push(`${before.name} > ${now.name}`));
  await settle();
  assert.deepEqual(told, ["connecting > open", "open > paused"]);
});

test("the state of a lasting connection has no attempts", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  await wind(20 * SECOND);
  hub.refuse = false;
  await wind(40 * SECOND);
  assert.deepEqual([bob.state.name, bob.state.attempt], ["open", 0]);
});

test("resume() resets the backoff, and `since` is when a state began", async (t) => {
  const { hub, clock, start, wind, settle } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  await wind(40 * SECOND);
  assert.ok(bob.delay() > 5 * SECOND);
  bob.pause();
  const paused = clock.now();
  await wind(SECOND);
  assert.equal(bob.state.since.getTime(), paused);
  bob.resume();
  await settle();
  assert.ok(bob.delay() <= 500, `${bob.delay()}`);
  hub.refuse = false;
  await wind(SECOND);
  const { since } = bob.state;
  await wind(10 * MINUTE);
  assert.equal(bob.state.since, since);
});

test("ready() waits until the client is open, or has ended", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  let isReady = false;
  const ready = alice.ready().then(() => (isReady = true));
  const abort = new AbortController();
  const aborted = assert.rejects(alice.ready({ signal: abort.signal }), (reason) => reason === "enough");
  await settle();
  abort.abort("enough");
  await aborted;
  assert.equal(isReady, false);
  hub.refuse = false;
  await wind(SECOND);
  await ready;
  await alice.ready();

  const bob = start("bob", { token: () => Promise.reject(new SignedOut()) });
  await assert.rejects(bob.ready(), code("signed_out"));
});
