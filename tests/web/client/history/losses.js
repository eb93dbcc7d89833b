// Messages that the hub no longer has are reported as lost: once, and only if it is true.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { ends, MINUTE, numbers, SECOND, withHistory } from "../setup.js";

async function away(t, { kept = [], gone = [2, 3, 4] } = {}) {
  const world = await withHistory(t);
  const { hub, say, cut, wind } = world;
  say(1);
  await wind(6 * SECOND);
  await cut();
  for (const number of gone) say(number);
  hub.forget();
  for (const number of kept) say(number);
  return world;
}

test("messages that the hub no longer has are reported as lost, once, before those that it has", async (t) => {
  const { hub, bob, epoch, say, cut, wind } = await withHistory(t);
  say(1);
  await wind(0);
  await cut();
  for (const number of numbers(2, 10)) say(number);
  hub.forget();
  for (const number of numbers(11, 150)) say(number);
  await wind(MINUTE);
  assert.deepEqual(bob.got(), [1, ...numbers(11, 150)]);
  const to = { epoch, offset: 110 };
  assert.deepEqual(bob.heard("lost"), [{ session: "bob", from: { epoch, offset: 1 }, to }]);
  const order = bob.log.map(([type]) => type).filter((type) => type === "lost" || type === "message");
  assert.equal(order.indexOf("lost"), 1);
  assert.deepEqual([bob.position().offset, bob.heard("gap")], [150, []]);
});

test("when all missed messages are lost, the position is the session's newest", async (t) => {
  const { hub, bob, epoch, say, cut, wind } = await withHistory(t);
  await cut();
  for (const number of numbers(1, 3)) say(number);
  hub.forget();
  await wind(MINUTE);
  const end = { epoch, offset: 3 };
  assert.deepEqual(bob.heard("lost"), [{ session: "bob", from: { epoch, offset: 0 }, to: end }]);
  assert.deepEqual([bob.got(), bob.position()], [[], end]);
  say(4);
  await wind(0);
  assert.deepEqual([bob.got(), bob.position().offset], [[4], 4]);
});

test("a lost message that arrives after all is passed on; but never one before a message already passed on", async (t) => {
  const { hub, bob, epoch, say, post, cut, wind } = await withHistory(t);
  say(1);
  await wind(0);
  await cut();
  for (const number of numbers(2, 4)) say(number);
  hub.forget();
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.position().offset], [[1], 4]);
  for (const offset of [3, 2, 1, 3]) post(offset, { id: `late ${offset}`, message: `late ${offset}` });
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.position()], [[1, "late 3"], { epoch, offset: 4 }]);
  assert.equal(bob.stats.duplicates, 3);
});

test("a lost message that comes late is passed on, and no part of it is lost again", async (t) => {
  const { bob, epoch, post, wind } = await away(t);
  await wind(10 * SECOND);
  for (const offset of [2, 4, 3]) {
    post(offset);
    await wind(5 * SECOND);
  }
  assert.deepEqual([bob.got(), bob.heard("lost").map(ends)], [[1, 2, 4], [[1, 4]]]);
  assert.deepEqual(bob.position(), { epoch, offset: 4 });
});

test("a listener that pauses the client until it has reloaded gets a loss once", async (t) => {
  const { bob, wind, questions } = await away(t, { kept: [5, 6] });
  bob.on("lost", async () => {
    bob.pause();
    await null;
    bob.resume();
  });
  await wind(MINUTE);
  assert.deepEqual([bob.heard("lost").map(ends), bob.got(), bob.position().offset], [[[1, 6]], [1, 5, 6], 6]);
  assert.ok(questions().length < 10);
});

for (const kept of [[], [5]]) {
  test(`a program that stores the position at a loss does not get it again: ${kept.length} messages left`, async (t) => {
    const { bob, wind, connect } = await away(t, { kept });
    let stored;
    for (const event of ["lost", "message"]) bob.on(event, () => (stored = bob.position()));
    await wind(MINUTE);
    assert.equal(bob.heard("lost").length, 1);
    bob.close();
    const next = await connect("bob", { positions: { bob: stored } });
    await wind(MINUTE);
    assert.deepEqual([next.heard("lost"), next.got(), next.position()], [[], [], bob.position()]);
  });
}

test("a position ahead of the hub's, as after a restored backup, is lost, and all messages are received", async (t) => {
  const { epoch, say, connect, wind } = await withHistory(t);
  say(1);
  say(2);
  const from = { epoch, offset: 40 };
  const other = await connect("bob", { positions: { bob: from } });
  await wind(MINUTE);
  assert.deepEqual(other.heard("lost"), [{ session: "bob", from, to: { epoch, offset: 2 } }]);
  assert.deepEqual([other.got(), other.position().offset], [[1, 2], 2]);
});
