// The next connection is opened before the gateway cuts the old one: no message falls between them.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { hold, HOUR, MINUTE, SECOND, setUp } from "./setup.js";

test("before the gateway closes a connection, the next is opened first, and the old one closed after", async (t) => {
  // Another test is about pings.
  const options = { pingInterval: false, handoverOverlap: 20 * SECOND };
  const { hub, connect, settle, wind } = await setUp(t, { random: 0 });
  const alice = await connect("alice", options);
  const bob = await connect("bob", { ...options, handoverAfter: false });
  const links = () => [...hub.open].filter(({ session }) => session === "alice");
  const [old] = links();
  await wind(115 * MINUTE - 1);
  // A send on the old connection gets its answer there.
  const held = hold(hub);
  const underWay = alice.send("bob", "under way", { ttl: false });
  await settle();
  hub.intercept = () => false;
  assert.equal(links().length, 1);
  await wind(1);
  assert.equal(links().length, 2);
  const [, next] = links();

  // A message to both connections is received once, whichever comes first.
  assert.equal((await bob.send("alice", "to both")).delivered, 2);
  for (const [link, id] of [
    [next, "1"],
    [old, "1"],
    [old, "2"],
    [next, "2"],
    [next, "end"],
  ]) {
    link.say({ type: "message", id, from: "x", message: id });
  }
  await settle();
  assert.deepEqual(alice.got().sort(), ["1", "2", "end", "to both"]);
  // New sends use the new connection.
  await alice.send("bob", "new way");
  assert.equal(hub.frames.at(-1).link, next);

  await wind(20 * SECOND);
  assert.equal(links().length, 2, "the old connection still owes an answer");
  held[0]();
  assert.equal((await underWay).delivered, 1);
  await settle();
  assert.deepEqual(links(), [next]);
  assert.deepEqual([...new Set(alice.states())], ["open"]);
  assert.deepEqual(alice.heard("error"), []);

  // Without unanswered sends, the old connection ends after the overlap, and not sooner.
  await wind(115 * MINUTE - 20 * SECOND);
  assert.equal(links().length, 2);
  await wind(20 * SECOND - 1);
  assert.equal(links().length, 2);
  await wind(1);
  assert.equal(links().length, 1);
  assert.equal(hub.sent.length, 3, "no message was sent twice");
  assert.equal(alice.stats.handovers, 2);
});

for (const [random, minutes] of [
  [0, 115],
  [0.5, 109.25],
  [0.999999, 103.5],
]) {
  test(`clients that connected together hand over apart, and never late: after ${minutes} minutes`, async (t) => {
    const { hub, connect, wind } = await setUp(t, { random });
    await connect("alice", { pingInterval: false });
    await wind(minutes * MINUTE - SECOND);
    assert.equal(hub.handshakes.length, 1);
    await wind(2 * SECOND);
    assert.equal(hub.handshakes.length, 2);
  });
}

test("hand-overs can be switched off", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  await connect("alice", { handoverAfter: false });
  await wind(5 * HOUR);
  assert.equal(hub.handshakes.length, 1);
});

test("a failed hand-over is repeated with backoff while the old connection still works", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  // At random 0.5 the hand-over comes after 95 % of this time.
  const alice = await connect("alice", { handoverAfter: 100 * SECOND, handoverOverlap: 0 });
  hub.refuse = true;
  await wind(95 * SECOND);
  assert.equal(alice.heard("error").length, 1);
  await wind(250);
  assert.equal(alice.heard("error").length, 2);
  assert.equal(alice.state.name, "open");
  await alice.send("bob", "as ever");
  hub.refuse = false;
  await wind(500);
  await settle();
  assert.deepEqual([hub.handshakes.length, hub.open.size], [2, 1]);
  // The new connection is replaced in turn.
  await wind(95 * SECOND);
  assert.equal(hub.handshakes.length, 3);
  assert.deepEqual([...new Set(alice.states())], ["open"]);
});

test("a connection that dies during a hand-over leaves its sends to the next", async (t) => {
  const { hub, connect, cut, settle, wind } = await setUp(t);
  let proceed;
  const tokens = ["first", new Promise((resolve) => (proceed = resolve))];
  const alice = await connect("alice", { handoverAfter: MINUTE, token: () => tokens.shift() });
  const held = hold(hub);
  await wind(MINUTE);
  const send = alice.send("bob", "hello");
  await settle();
  assert.equal(held.length, 1);
  await cut();
  assert.deepEqual(tokens, [], "the next was already under way");
  assert.equal(alice.state.name, "connecting");
  await wind(SECOND);
  hub.intercept = () => false;
  proceed("second");
  assert.equal((await send).delivered, 0);
  assert.deepEqual([hub.handshakes.length, hub.sent.length], [2, 2]);
});

test("an old connection that dies with an unanswered send leaves it to the new one", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t, { random: 0 });
  const alice = await connect("alice", { handoverAfter: MINUTE });
  hold(hub);
  await wind(MINUTE - 1);
  const send = alice.send("bob", "hello");
  await settle();
  hub.intercept = () => false;
  await wind(1);
  assert.equal(hub.open.size, 2);
  [...hub.open][0].terminate();
  assert.equal((await send).delivered, 0);
  assert.deepEqual([...new Set(alice.states())], ["open"]);
});

test("an old connection that dies does not take the new one's sends", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice", { handoverAfter: MINUTE });
  const [old] = hub.open;
  while (hub.open.size < 2) await wind(SECOND);
  old.terminate();
  await settle();
  assert.equal((await alice.send("bob", 1)).delivered, 0);
  assert.equal(hub.handshakes.length, 2);
});

test("a message on the old socket 20 s after the hand-over is received", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const bob = await connect("bob");
  const [old] = hub.open;
  while (!bob.stats.handovers) await wind(SECOND);
  for (const after of [20, 14]) {
    await wind(after * SECOND);
    old.say({
      type: "message",
      id: `${after}`,
      from: "alice",
      session: "bob",
      message: after,
      sent_at: "2026-01-01T00:00:00Z",
    });
    await settle();
  }
  assert.deepEqual(bob.got(), [20, 14]);
  await wind(2 * SECOND);
  assert.deepEqual([...hub.open].includes(old), false, "it is closed after its overlap");
});
