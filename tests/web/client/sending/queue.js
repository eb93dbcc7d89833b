// Sends that wait: in which order, how many, and how fast they are written.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, hold, MINUTE, outcomes, SECOND, setUp } from "../setup.js";

test("sends wait for a connection in order; beyond the limit they are refused, not dropped", async (t) => {
  const { hub, start, connect, settle, wind } = await setUp(t);
  const bob = await connect("bob");
  hub.refuse = true;
  const alice = start("alice", { queueLimit: 3 });
  const sends = [1, 2, 3].map((n) => alice.send("bob", n));
  const full = (error) => {
    assert.equal(error.retryable, true);
    return code("queue_full")(error);
  };
  await assert.rejects(alice.send("bob", 4), full);
  await settle();
  assert.equal(alice.state.name, "waiting");
  await assert.rejects(alice.send("bob", 5), full);
  hub.refuse = false;
  await wind(250);
  assert.deepEqual(
    (await Promise.all(sends)).map(({ delivered }) => delivered),
    [1, 1, 1],
  );
  await settle();
  assert.deepEqual(bob.got(), [1, 2, 3]);
});

test("the limit also counts unanswered sends on an open connection", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  let refused = 0;
  const sends = Array.from({ length: 20_000 }, (_, n) =>
    alice.send("bob", n).catch((error) => (refused += code("queue_full")(error))),
  );
  await settle();
  assert.deepEqual([refused, alice.stats.unanswered, held.length], [20_000 - 256, 256, 50]);
  hub.intercept = () => false;
  for (const answer of held) answer();
  await settle();
  // Each answer made room for the next.
  await Promise.all(sends);
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    Array.from({ length: 256 }, (_, n) => n),
  );
});

test("a backlog goes out in slices of 10 with pauses, and at most 50 at once", async (t) => {
  const { hub, connect, cut, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  await cut();
  const held = hold(hub);
  const sends = Array.from({ length: 70 }, (_, n) => alice.send("bob", n));
  await wind(250);
  const counts = [held.length];
  for (let slice = 0; slice < 6; slice++) {
    await wind(100);
    counts.push(held.length);
  }
  assert.deepEqual(counts, [10, 20, 30, 40, 50, 50, 50]);
  hub.intercept = () => false;
  for (const answer of held) answer();
  await settle();
  await wind(SECOND);
  await Promise.all(sends);
  assert.equal(hub.sent.length, 70);
});

test("20,000 sends on a stalled connection: those beyond the limit are refused, and at most 50 are written after the reconnect", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice", { ttl: false });
  hub.mute = true;
  const sends = [...Array(20_000)].map((_, number) => alice.send("bob", number));
  const ends = outcomes(sends);
  await settle();
  assert.equal(alice.stats.unanswered, 256);
  assert.ok(hub.sent.length <= 50, `${hub.sent.length} written`);
  const before = hub.sent.length;
  while (alice.state.name === "open") await wind(SECOND);
  // The new connection answers nothing, so that the frames written at once can be counted.
  hub.intercept = (link, { action }) => action === "sendMessage";
  hub.mute = false;
  await wind(5 * SECOND);
  assert.ok(hub.sent.length - before <= 50, `${hub.sent.length - before} written at once`);
  hub.intercept = () => false;
  hub.cut();
  await wind(2 * MINUTE);
  const ended = await ends;
  assert.deepEqual(
    [ended.filter((end) => end === 0).length, ended.filter((end) => end === "queue_full").length],
    [256, 19_744],
  );
});

test("fifty unanswered sends leave room for others", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link, { message }) => message === "lost";
  for (let count = 0; count < 50; count++) alice.send("bob", "lost", { ttl: false }).catch(() => {});
  await wind(SECOND);
  const others = [];
  for (let times = 0; times < 30; times++) {
    others.push(alice.send("bob", times));
    await wind(10 * SECOND);
  }
  await wind(MINUTE);
  for (const send of others) assert.equal((await send).delivered, 0);
});
