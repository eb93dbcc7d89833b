// A history that begins anew has another epoch.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { instead, MINUTE, SECOND, withHistory } from "../setup.js";

for (const [where, begin] of [
  ["while the client is away", ({ cut, hub, say }) => cut().then(() => (hub.reset(), say("a"), say("b")))],
  ["while it is connected", async ({ hub, say }) => (hub.reset(), say("a"), say("b"))],
  [
    "while it is connected, and its messages come out of order",
    ({ hub, say }) => {
      hub.reset();
      hub.drop();
      say("a");
      say("b");
    },
  ],
]) {
  test(`a history that begins anew ${where} is reported as lost, and received from its beginning`, async (t) => {
    const set = await withHistory(t);
    const { bob, epoch, say, wind, settle } = set;
    for (const number of [1, 2, 3]) say(number);
    await settle();
    await begin(set);
    await wind(MINUTE);
    assert.deepEqual(bob.got(), [1, 2, 3, "a", "b"]);
    const [{ from, to }, ...more] = bob.heard("lost");
    assert.deepEqual([from, to.offset, more, bob.heard("gap")], [{ epoch, offset: 3 }, 2, [], []]);
    assert.deepEqual([bob.position(), to.epoch === epoch], [to, false]);
    say("c");
    await settle();
    assert.equal(bob.got().pop(), "c");
  });
}

test("a delivery of an old epoch is dropped, and the others stay in order", async (t) => {
  const { hub, bob, epoch, say, post, wind, settle } = await withHistory(t);
  hub.reset();
  say("a");
  await wind(MINUTE);
  post(1, { epoch });
  say("b");
  await settle();
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap"), bob.heard("lost").length], [["a", "b"], [], 1]);
});

test("a delivery of an old epoch does not make the client forget messages of the new one", async (t) => {
  const { hub, bob, post, say, wind, settle } = await withHistory(t);
  post(1);
  await settle();
  hub.reset();
  say("new");
  await settle();
  post(2);
  await wind(MINUTE);
  assert.deepEqual(bob.got(), [1, 2, "new"]);
});

test("an answer from before a new epoch does not drop messages of that epoch", async (t) => {
  const { hub, bob, epoch, say, cut, wind, settle } = await withHistory(t);
  const answers = [];
  instead(hub, (link, { id }) => {
    const answer = { session: "bob", epoch, offset: 0, more: false, complete: true, messages: [] };
    answers.push(() => link.say({ type: "history", id, ...answer }));
  });
  await cut();
  await wind(250);
  hub.reset();
  say("a");
  await settle();
  answers[0]();
  hub.intercept = () => false;
  await wind(2 * SECOND);
  assert.deepEqual([bob.got(), bob.heard("lost").length], [["a"], 1]);
});

test("messages that waited for one of an old epoch are dropped", async (t) => {
  const { hub, bob, epoch, post, wind } = await withHistory(t);
  post(3);
  await wind(100);
  hub.reset();
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap"), bob.heard("lost").length], [[], [], 1]);
  assert.deepEqual([bob.position().offset, bob.position().epoch === epoch], [0, false]);
});

test("messages that wait when a new epoch begins are not taken for messages of it", async (t) => {
  const { hub, bob, say, post, wind } = await withHistory(t);
  post(3);
  await wind(100);
  hub.reset();
  hub.drop();
  for (const message of ["a", "b", "c"]) say(message);
  await wind(MINUTE);
  assert.deepEqual(
    bob.heard("message").map(({ message, missed }) => [message, missed]),
    [
      ["a", true],
      ["b", false],
      ["c", false],
    ],
  );
  assert.deepEqual([bob.stats.duplicates, bob.heard("gap"), bob.heard("lost").length], [0, [], 1]);
});
