// The first position of a client that stored none, and the messages under way meanwhile.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { delivery, instead, internal, MINUTE, offsets, SECOND, setUp } from "../setup.js";

for (const [early, said, told, position, isMissing] of [
  [[], 7, [], 7, false],
  [[8], 7, [8], 8, false],
  [[7], 7, [7], 7, false],
  [[6, 5], 7, [5, 6], 6, true],
  [[9], 7, [], 7, true],
]) {
  const what = early.length ? `${early.join(" and ")} came, ` : "";
  test(`the first position: ${what}the hub says ${said}, and it is ${position}`, async (t) => {
    const { hub, start, wind, settle } = await setUp(t, { history: true });
    const answers = [];
    const asked = [];
    instead(hub, (link, { id, epoch, after }) => {
      asked.push([epoch, after]);
      const rest = { session: "bob", epoch: "e", offset: said, more: false, messages: [] };
      answers.push(() => link.say({ type: "history", id, ...rest }));
    });
    const bob = start("bob");
    await settle();
    const [link] = hub.open;
    for (const offset of early) link.say(delivery(offset, "e"));
    await settle();
    assert.deepEqual([bob.got(), bob.position()], [[], undefined]);
    answers[0]();
    await settle();
    assert.deepEqual([bob.got(), bob.position()], [told, { epoch: "e", offset: position }]);
    await wind(1_500);
    assert.deepEqual(asked, [[undefined, undefined], ...(isMissing ? [["e", position]] : [])]);
  });
}

test("messages under way while the hub reported the newest offset are passed on, and those after it requested", async (t) => {
  const { hub, connect, wind } = await setUp(t, { history: true });
  for (const id of ["1", "2", "3"]) hub.deliver(null, { id, sessions: ["bob"], message: id });
  const bob = await connect("bob");
  const { epoch } = bob.position();
  assert.equal(bob.position().offset, 3);
  const [link] = hub.open;
  link.say(delivery(2, epoch));
  await wind(SECOND);
  assert.deepEqual([bob.got(), bob.position().offset, bob.heard("duplicate")], [[2, "3"], 3, []]);
  link.say(delivery(1, epoch));
  await wind(SECOND);
  assert.deepEqual([bob.got(), offsets(bob.heard("duplicate"))], [[2, "3"], [1]]);
});

test("messages under way are not skipped by an answer to an earlier request", async (t) => {
  const { hub, connect, wind } = await setUp(t, { history: true });
  for (const id of ["1", "2", "3"]) hub.deliver(null, { id, sessions: ["bob"], message: id });
  const bob = await connect("bob");
  const answers = [];
  instead(hub, (link, frame) => answers.push(() => hub.answer(link, frame)));
  await wind(5 * SECOND);
  hub.intercept = () => false;
  const [link] = hub.open;
  link.say(delivery(1, bob.position().epoch, { message: "live" }));
  await wind(0);
  for (const answer of answers) answer();
  await wind(2 * SECOND);
  assert.deepEqual([bob.got(), bob.position().offset], [["live", "2", "3"], 3]);
});

test("a new client receives messages that were under way when it connected, and no older ones", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t, { history: true });
  for (let number = 1; number <= 300; number++) {
    hub.deliver(null, { id: `${number}`, sessions: ["bob"], message: number });
  }
  const bob = await connect("bob");
  const { epoch } = bob.position();
  const [link] = hub.open;
  link.say(delivery(150, epoch));
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.position().offset], [[], 300]);
  link.say(delivery(299, epoch));
  await settle();
  assert.equal(bob.got()[0], 299);
});

test("if the history fails, the first message is passed on after 6 s, all others at once", async (t) => {
  const { hub, start, wind, settle } = await setUp(t, { history: true });
  instead(hub, internal);
  const bob = start("bob");
  const say = (message) => hub.deliver(null, { id: `${message}`, sessions: ["bob"], message });
  await wind(MINUTE);
  const [{ epoch }] = say(1).sessions;
  say(2);
  await wind(6 * SECOND - 1);
  assert.deepEqual(bob.got(), []);
  await wind(1);
  assert.deepEqual(bob.heard("gap"), [{ session: "bob", from: null, to: { epoch, offset: 0 } }]);
  say(3);
  await settle();
  assert.deepEqual([bob.got(), bob.position().offset], [[1, 2, 3], 3]);
});

test("an answer about the newest offset, after the first message was passed on with a gap, moves nothing", async (t) => {
  const { hub, start, wind, settle } = await setUp(t, { history: true });
  const answers = [];
  instead(hub, (link, { id }) => {
    const rest = { session: "bob", epoch: "e", offset: 9, more: false, messages: [] };
    answers.push(() => link.say({ type: "history", id, ...rest }));
  });
  const bob = start("bob");
  await settle();
  const [link] = hub.open;
  link.say(delivery(5, "e"));
  await wind(6 * SECOND);
  assert.deepEqual([bob.got(), bob.position().offset], [[5], 5]);
  answers[0]();
  await settle();
  assert.equal(bob.position().offset, 5);
});
