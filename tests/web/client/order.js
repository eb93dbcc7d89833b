// Messages in the order of their offsets: early ones wait, missing ones are requested, repeated ones are dropped.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { delivery, fakePage, instead, internal, MINUTE, SECOND, setUp, withHistory } from "./setup.js";

const offsets = (messages) => messages.map(({ position }) => position.offset);

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
