// Losses are reported once, and only if true, whatever listeners do; and requests that the hub refuses.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, delivery, instead, MINUTE, SECOND, setUp, withHistory } from "./setup.js";

const ends = ({ from, to }) => [from.offset, to.offset];

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

for (const live of [1, 2]) {
  test(`an answer from before ${live} messages arrived is no loss, and moves nothing back`, async (t) => {
    const { hub, bob, epoch, post, cut, wind, settle } = await withHistory(t);
    let answer;
    hub.intercept = (link, { action, id }) => {
      const head = { type: "history", id, session: "bob", epoch, offset: 1, more: false, complete: false };
      if (action === "history") answer = () => link.say({ ...head, messages: [] });
      return action === "history";
    };
    await cut();
    await wind(SECOND);
    for (let offset = 1; offset <= live; offset++) post(offset);
    await settle();
    answer();
    await settle();
    assert.deepEqual([bob.heard("lost"), bob.got().length, bob.position().offset], [[], live, live]);
    post(live + 1);
    await settle();
    assert.equal(bob.got().length, live + 1);
  });
}

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

test("a refused request for history is not repeated on this connection, delays nothing, and keeps the position", async (t) => {
  const { hub, bob, epoch, post, cut, wind, settle, questions } = await withHistory(t);
  post(1);
  await settle();
  const refuse = (link, { action, id }) =>
    action === "history" && (link.say({ type: "error", code: "forbidden", message: "no", id }), true);
  hub.intercept = refuse;
  await cut();
  await wind(6 * SECOND);
  const asked = questions().length;
  for (const offset of [2, 3, 4]) {
    post(offset);
    await settle();
    assert.equal(bob.position().offset, offset);
  }
  await wind(15 * MINUTE);
  assert.deepEqual([bob.got(), questions().length, asked], [[1, 2, 3, 4], 0, 1]);
  instead(hub);
  await cut();
  await wind(SECOND);
  assert.equal(questions()[0].after, 4);
  assert.deepEqual([bob.got(), bob.position().epoch], [[1, 2, 3, 4], epoch]);
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

test("if a hub switches its history off, messages missing before waiting ones are a gap", async (t) => {
  const { hub, bob, say, wind } = await withHistory(t);
  say(1);
  await wind(6 * SECOND);
  hub.drop();
  say(2);
  say(3);
  hub.history = false;
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap").map(ends), bob.heard("error")], [[1, 3], [[1, 2]], []]);
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

test("history() after an invalid position is refused before a frame is sent", async (t) => {
  const { bob, questions } = await withHistory(t);
  for (const after of [4, {}, { epoch: "another1" }, { offset: 4 }, { epoch: "another1", offset: -1 }]) {
    await assert.rejects(bob.history({ after }), code("bad_request"), JSON.stringify(after));
  }
  assert.deepEqual(questions(), []);
});

for (const how of ["close", "pause"]) {
  test(`${how}() while a request for history is written leaves no timer`, async (t) => {
    const { start, wind, settle, clock } = await setUp(t, { history: true });
    const bob = start("bob");
    bob.on("frame", ({ direction, data }) => direction === "out" && data.includes("history") && bob[how]());
    await settle();
    // A closing handshake may take a second.
    await wind(2 * SECOND);
    assert.equal(clock.running, 0);
    await wind(MINUTE);
  });
}
