// When the history is requested again, and which answers count.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { delivery, fakePage, instead, internal, MINUTE, SECOND, setUp, withHistory } from "../setup.js";

test("while the history fails, requests are rare; when it is back, one is enough", async (t) => {
  const { hub, bob, say, cut, wind, questions } = await withHistory(t);
  instead(hub, internal);
  await cut();
  await wind(10 * MINUTE);
  const count = questions().length;
  assert.ok(count >= 10 && count <= 20, `${count} questions in ten minutes`);
  const errors = bob.heard("error").filter(({ code }) => code === "internal");
  assert.equal(errors.length, count);
  hub.drop();
  say(1);
  hub.intercept = () => false;
  await wind(MINUTE);
  assert.deepEqual(bob.got(), [1]);
  questions();
  await wind(10 * MINUTE);
  assert.deepEqual(questions(), []);
});

test("a request that is throttled, or whose answer is lost, is repeated; a late answer does no harm", async (t) => {
  const { hub, bob, say, cut, wind, questions } = await withHistory(t);
  await cut();
  say(1);
  let asked = 0;
  const late = [];
  hub.intercept = (link, frame) => {
    if (frame.action !== "history" || ++asked > 2) return false;
    if (asked === 1) link.say({ message: "Too Many Requests", connectionId: "c" });
    late.push(() => hub.answer(link, frame));
    return true;
  };
  await wind(4 * SECOND);
  assert.deepEqual([bob.got(), questions().length], [[1], 3]);
  for (const answer of late) answer();
  await wind(SECOND);
  assert.deepEqual([bob.got(), bob.position().offset, bob.stats.duplicates], [[1], 1, 0]);
});

test("after an outage of the history, a gap or a new connection is followed by a request as soon as ever", async (t) => {
  const { hub, bob, post, cut, wind, questions } = await withHistory(t);
  instead(hub, internal);
  for (const [act, counts] of [
    [() => cut().then(() => wind(250)), [1, 2, 3]],
    [() => post(2), [0, 1, 2, 3]],
  ]) {
    await wind(5 * MINUTE);
    questions();
    await act();
    let count = 0;
    for (const [second, expected] of counts.entries()) {
      // A request is repeated after 1 s and 2 s; for a gap, the first one comes after 1 s.
      const at = counts[0] ? [0, 1_000, 2_000][second] : [0, 1_000, 1_000, 2_000][second];
      await wind(at);
      count += questions().length;
      assert.equal(count, expected, `${second}`);
    }
  }
  assert.deepEqual(bob.got(), []);
});

test("after an outage, an offset whose message may still be written is requested again 1 s later", async (t) => {
  const { hub, bob, epoch, say, cut, wind, questions } = await withHistory(t);
  instead(hub, internal);
  await cut();
  await wind(5 * MINUTE);
  hub.drop();
  say(1);
  let isYoung = true;
  const young = { type: "history", session: "bob", epoch, offset: 1, more: true, complete: true, messages: [] };
  hub.intercept = (link, { action, id }) => {
    if (action !== "history" || !isYoung) return false;
    isYoung = false;
    return link.say({ ...young, id }) ?? true;
  };
  questions();
  while (isYoung) await wind(100);
  await wind(1_100);
  assert.deepEqual([bob.got(), questions().length], [[1], 2]);
});

test("a late answer counts, whatever has arrived meanwhile", async (t) => {
  const { hub, bob, epoch, say, post, cut, wind, settle } = await withHistory(t);
  const answers = [];
  instead(hub, (link, { id }) => {
    const answer = { type: "history", id, session: "bob", epoch, more: false, complete: true };
    answers.push((rest) => link.say({ ...answer, ...rest }));
  });
  await cut();
  say(1);
  say(2);
  await wind(1_500);
  const kept = [1, 2].map((offset) => delivery(offset, epoch));
  assert.deepEqual([answers.length, bob.got()], [2, []]);
  answers[0]({ offset: 2, messages: kept });
  await settle();
  assert.deepEqual(bob.got(), [1, 2]);

  // The same answer, from before 3 and 4 arrived, which are passed on at once.
  await wind(5 * SECOND);
  post(3);
  post(4);
  await settle();
  answers.pop()({ offset: 3, messages: [delivery(3, epoch)] });
  await settle();
  assert.deepEqual([bob.got(), bob.position().offset, bob.stats.duplicates], [[1, 2, 3, 4], 4, 0]);
});

test("an invalid answer moves nothing", async (t) => {
  const { hub, bob, epoch, cut, wind } = await withHistory(t);
  [...hub.open][0].say({ type: "history", id: null, epoch, offset: 7, more: false, messages: [] });
  instead(hub, (link, { id }) => link.say({ type: "history", id, epoch, offset: 7, more: false, messages: 5 }));
  await wind(0);
  await cut();
  await wind(500);
  assert.deepEqual([bob.state.name, bob.position().offset, bob.heard("error")], ["open", 0, []]);
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

test("each connection requests the history with an id of its own; a short loss of the network does not", async (t) => {
  const page = fakePage(t);
  const { hub, bob, cut, wind, settle, questions } = await withHistory(t);
  instead(hub);
  for (let times = 0; times < 2; times++) {
    await cut();
    await wind(600);
  }
  const [first, second, ...more] = questions();
  assert.deepEqual([typeof first.id, first.id === second.id, more], ["string", false, []]);
  hub.intercept = () => false;
  await wind(MINUTE);
  questions();
  page.tell("offline");
  await settle();
  assert.deepEqual([bob.state.name, questions()], ["open", []]);
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
