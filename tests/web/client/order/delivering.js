// Messages are passed on in the order of their offsets, and repeated ones are dropped.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { delivery, MINUTE, offsets, SECOND, withHistory } from "../setup.js";

test("messages are passed on in the order of their offsets, once each, and the position follows", async (t) => {
  const { bob, epoch, post, settle, questions } = await withHistory(t);
  assert.deepEqual(bob.position(), { epoch, offset: 0 });
  const positions = [];
  bob.on("message", ({ position }) => positions.push([position, bob.position()]));
  for (const offset of [1, 3, 1, 4, 3, 2, 2, 5]) post(offset);
  await settle();
  assert.deepEqual(bob.got(), [1, 2, 3, 4, 5]);
  for (const [own, reached] of positions) assert.deepEqual(own, reached);
  assert.deepEqual(offsets(bob.heard("duplicate")), [1, 3, 2]);
  assert.deepEqual([bob.stats.duplicates, bob.position(), questions()], [3, { epoch, offset: 5 }, []]);
  assert.deepEqual([bob.position("bob"), bob.position("carol")], [bob.position(), undefined]);
});

test("a message stored twice under one id is passed on once, and both offsets count", async (t) => {
  const { bob, say, settle, wind, questions } = await withHistory(t);
  for (const message of ["a", "a", "b", "a"]) say(message);
  await settle();
  assert.deepEqual([bob.got(), bob.position().offset, bob.stats.duplicates], [["a", "b"], 4, 2]);
  await wind(MINUTE);
  assert.deepEqual(questions(), []);
});

test("a message that is not stored is passed on as it arrives, outside the order", async (t) => {
  const { bob, post, say, settle, connect } = await withHistory(t);
  post(2);
  say("typing", { store: false });
  await settle();
  assert.deepEqual([bob.got(), bob.heard("message")[0].position], [["typing"], null]);
  const alice = await connect("alice");
  const receipt = await alice.send("bob", "by the way", { store: false });
  assert.deepEqual(receipt.sessions, [{ session: "bob", delivered: 1, gone: 0, failed: 0 }]);
  assert.equal(alice.post("bob", "cursor"), true);
  await settle();
  assert.deepEqual([bob.got(), bob.position().offset], [["typing", "by the way", "cursor"], 0]);
  const kept = await alice.send("bob", "kept");
  assert.deepEqual([kept.sessions[0].epoch, kept.sessions[0].offset], [bob.position().epoch, 1]);
});

test("the same messages on two connections, during a hand-over, are passed on once and in order", async (t) => {
  const { hub, bob, epoch, wind } = await withHistory(t, { handoverAfter: MINUTE });
  await wind(55 * SECOND);
  const [old, next] = hub.open;
  for (const [link, offset] of [
    [next, 2],
    [old, 1],
    [old, 2],
    [next, 1],
    [old, 3],
    [next, 3],
  ]) {
    link.say(delivery(offset, epoch));
  }
  await wind(0);
  assert.deepEqual([bob.got(), bob.stats.handovers, bob.stats.duplicates, bob.heard("gap")], [[1, 2, 3], 1, 3, []]);
});

test("loops, sessions and listeners receive the same messages, also missed ones", async (t) => {
  const { hub, bob, say, wind } = await withHistory(t);
  const loop = bob.messages();
  const heard = [];
  bob.session("bob").on("message", ({ message, missed }) => heard.push([message, missed]));
  hub.drop();
  say(1);
  say(2);
  await wind(SECOND);
  assert.deepEqual(heard, [
    [1, true],
    [2, false],
  ]);
  for (const [message, missed] of heard) {
    const { value } = await loop.next();
    assert.deepEqual([value.message, value.missed], [message, missed]);
  }
});

test("messages of a session without a subscription are passed on as they arrive, without a request", async (t) => {
  const { hub, bob, settle, questions } = await withHistory(t);
  for (let offset = 1; offset <= 20; offset++) {
    for (const link of hub.open) link.say({ ...delivery(offset, "another1"), session: "carol" });
    await settle();
  }
  assert.deepEqual([bob.got().length, questions().length, bob.heard("gap")], [20, 0, []]);
  assert.equal(bob.position().offset, 0);
});

for (const [how, stop, resume] of [
  ["paused", (bob) => bob.pause(), (bob) => bob.resume()],
  ["closed", (bob) => bob.close()],
]) {
  test(`a client that is ${how} by a listener passes on nothing more, and continues from its position`, async (t) => {
    const { hub, bob, epoch, say, cut, connect, wind } = await withHistory(t);
    await cut();
    for (let number = 1; number <= 150; number++) say(number);
    const off = bob.on("message", ({ message }) => message === 2 && stop(bob));
    await wind(MINUTE);
    assert.deepEqual([bob.got(), bob.position(), hub.open.size], [[1, 2], { epoch, offset: 2 }, 0]);
    off();
    say(151);
    resume?.(bob);
    const next = resume ? bob : await connect("bob", { positions: { bob: bob.position() } });
    await wind(0);
    assert.deepEqual([next.heard("gap"), next.heard("lost")], [[], []]);
    const rest = next.got().slice(next === bob ? 2 : 0);
    assert.deepEqual([rest.length, rest[0], rest[148]], [149, 3, 151]);
  });
}
