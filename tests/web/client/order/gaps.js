// Early messages wait; missing ones are requested, and reported if they do not come.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { instead, MINUTE, offsets, SECOND, withHistory } from "../setup.js";

for (const random of [0, 0.5, 0.999]) {
  const first = 500 + 1_000 * random;
  test(`a gap is requested after ${first} ms, again after 1 s and 2 s, and reported after 6 s`, async (t) => {
    const { hub, bob, epoch, post, wind, questions } = await withHistory(t, { random });
    instead(hub);
    post(1);
    post(4);
    let now = 0;
    for (const [at, count] of [
      [first - 1, 0],
      [first, 1],
      [first + 999, 0],
      [first + 1_000, 1],
      [first + 2_999, 0],
      [first + 3_000, 1],
      [5_999, 0],
    ]) {
      await wind(at - now);
      now = at;
      const asked = questions().map(({ id, ...rest }) => (assert.equal(typeof id, "string"), rest));
      assert.deepEqual(asked, Array(count).fill({ action: "history", session: "bob", epoch, after: 1 }), `${at} ms`);
    }
    assert.deepEqual([bob.got(), bob.heard("gap")], [[1], []]);
    await wind(1);
    assert.deepEqual(bob.heard("gap"), [{ session: "bob", from: { epoch, offset: 1 }, to: { epoch, offset: 3 } }]);
    const last = bob.log.slice(-2).map(([type]) => type);
    assert.deepEqual([last, bob.got(), bob.position().offset], [["gap", "message"], [1, 4], 4]);
    // A message that comes too late is dropped, and nothing more is requested.
    post(2);
    await wind(10 * MINUTE);
    assert.deepEqual([bob.got(), offsets(bob.heard("duplicate")), questions()], [[1, 4], [2], []]);
  });
}

test("a gap that closes by itself is not requested", async (t) => {
  const { bob, post, wind, questions } = await withHistory(t);
  post(2);
  await wind(SECOND - 1);
  post(1);
  await wind(MINUTE);
  assert.deepEqual([bob.got(), questions(), bob.heard("gap")], [[1, 2], [], []]);
});

test("a message that was not posted comes from the history, in its place, marked as missed", async (t) => {
  const { hub, bob, say, wind, questions } = await withHistory(t);
  say(1);
  hub.drop(2);
  for (const message of [2, 3, 4]) say(message);
  await wind(MINUTE);
  assert.deepEqual(
    bob.heard("message").map(({ message, missed }) => [message, missed]),
    [
      [1, false],
      [2, true],
      [3, true],
      [4, false],
    ],
  );
  assert.deepEqual([questions().length, bob.stats.duplicates, bob.heard("gap"), bob.heard("lost")], [1, 0, [], []]);
});

test("each gap has 6 s from when it was seen", async (t) => {
  const { hub, bob, post, wind } = await withHistory(t);
  instead(hub);
  post(2);
  await wind(4 * SECOND);
  post(4);
  await wind(2 * SECOND);
  assert.deepEqual(bob.got(), [2]);
  await wind(4 * SECOND - 1);
  assert.deepEqual(bob.got(), [2]);
  await wind(1);
  assert.deepEqual([bob.got(), bob.heard("gap").length], [[2, 4], 2]);
});

test("a client waits for an offset without a message until the hub has sealed it", async (t) => {
  const { hub, bob, say, wind, questions } = await withHistory(t, { random: 0 });
  say(1);
  hub.skip("bob");
  say(3);
  await wind(1_500 - 1);
  assert.deepEqual([bob.got(), questions().length], [[1], 1]);
  await wind(1);
  assert.deepEqual([bob.got(), questions().length, bob.heard("gap")], [[1, 3], 1, []]);
});

test("while pages arrive, no waiting message is passed on with a gap", async (t) => {
  const { hub, clock, bob, say, cut, wind } = await withHistory(t);
  await cut();
  const many = Array.from({ length: 1_000 }, (_, index) => index + 1);
  for (const number of many) say(number);
  hub.intercept = (link, frame) =>
    frame.action === "history" && (clock.setTimeout(() => hub.answer(link, frame), 900), true);
  await wind(SECOND);
  say(1_001);
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap")], [[...many, 1_001], []]);
});

test("a thousand messages wait, and any more are requested", async (t) => {
  const { hub, bob, say, wind } = await withHistory(t);
  instead(hub);
  hub.drop();
  for (let number = 1; number <= 1_200; number++) say(number);
  await wind(SECOND);
  assert.deepEqual(bob.got(), []);
  hub.intercept = () => false;
  await wind(SECOND);
  assert.deepEqual(
    bob.got(),
    Array.from({ length: 1_200 }, (_, index) => index + 1),
  );
  assert.deepEqual([bob.heard("gap"), bob.heard("message").filter(({ missed }) => missed).length], [[], 200]);

  // Also after the waiting messages were passed on with a gap.
  instead(hub);
  hub.drop();
  for (let number = 1_201; number <= 2_300; number++) say(number);
  await wind(6 * SECOND);
  assert.equal(bob.got().length, 2_200);
  hub.intercept = () => false;
  await wind(30 * SECOND);
  assert.deepEqual([bob.got().length, bob.position().offset, bob.heard("gap").length], [2_299, 2_300, 1]);
});

test("when a thousand messages wait, the one that they wait for is passed on", async (t) => {
  const { hub, bob, post, wind, settle } = await withHistory(t);
  await wind(6 * SECOND);
  instead(hub);
  for (let offset = 2; offset <= 1_001; offset++) post(offset);
  post(1);
  await settle();
  assert.deepEqual([bob.got().length, bob.heard("gap")], [1_001, []]);
});

test("messages that wait when the connection is lost are passed on by the next, without a gap", async (t) => {
  const { hub, bob, say, cut, wind } = await withHistory(t);
  hub.refuse = 503;
  hub.drop();
  say(1);
  say(2);
  await cut();
  await wind(MINUTE);
  assert.deepEqual(bob.got(), []);
  hub.refuse = false;
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap")], [[1, 2], []]);
});
