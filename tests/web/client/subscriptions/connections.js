// Subscriptions across connections: reconnects, hand-overs, and clients that only their token names.

import assert from "node:assert/strict";
import { jwt } from "../../../../web/client/testing.js";
import { issue, MINUTE, SECOND, setUp } from "../setup.js";
import { test } from "../../suite.js";
import { holdAnswers, rooms, start } from "./setup.js";

test("a client that does not know its own session sends hello first, and does not subscribe to it", async (t) => {
  const { hub, listen, connect, settle, wind } = await start(t, { history: true });
  const bob = await connect(undefined, { token: jwt({ session_id: "bob" }) });
  const own = listen("bob", bob);
  const room = listen("room-1", bob);
  hub.frames.length = 0;
  await settle();
  assert.deepEqual(
    hub.frames.map(({ frame: { action, sessions, session } }) => [action, sessions ?? session]),
    [
      ["hello", undefined],
      ["history", "bob"],
      ["subscribe", ["room-1"]],
    ],
  );
  hub.deliver(null, { id: "1", sessions: ["bob", "room-1"], message: 1 });
  await settle();
  assert.deepEqual([[...own], [...room], bob.session("bob").isReady], [[1], [1], true]);
  assert.deepEqual([bob.position()?.offset, bob.position("room-1").offset], [1, 1]);
  own.off();
  await wind(2 * SECOND);
  assert.equal(bob.position().offset, 1);
});

test("it waits at most 3 s for its session, and takes no other for its own", async (t) => {
  const { hub, asked, listen, connect, wind } = await start(t, { history: true });
  const bob = await connect(undefined, { token: jwt({ session_id: "bob" }) });
  hub.loseAnswers();
  const got = listen("room-1", bob);
  await wind(2_999);
  assert.deepEqual(asked(), [["hello"]]);
  await wind(1);
  assert.deepEqual(asked(), [["subscribe", "room-1"]]);
  assert.equal(bob.session("room-1").isReady, true);
  assert.deepEqual([bob.position("room-1").offset, bob.position()], [0, undefined]);
  got.off();
});

test("each new connection subscribes to all sessions in one frame, and requests only missed messages", async (t) => {
  const { hub, alice, asked, say, listen, cut, wind, settle } = await start(t, { history: true });
  const [one, two, three] = rooms(3).map((room) => listen(room));
  await settle();
  say("a");
  await wind(10 * SECOND);
  assert.equal(asked().length, 1);
  await cut();
  say("b");
  say("c", "room-3");
  hub.frames.length = 0;
  await wind(500);
  const questions = hub.frames.filter(({ frame }) => frame.action === "history");
  assert.deepEqual(
    questions.map(({ frame: { session, after } }) => [session, after]),
    [
      ["alice", 0],
      ["room-1", 1],
      ["room-3", 0],
    ],
  );
  assert.deepEqual(
    hub.frames.filter(({ frame }) => frame.action === "subscribe").map(({ frame }) => frame.sessions),
    [rooms(3)],
  );
  assert.deepEqual([[...one], [...two], [...three]], [["a", "b"], [], ["c"]]);
  assert.deepEqual(
    alice.heard("message").map(({ missed }) => missed),
    [false, true, true],
  );
  assert.deepEqual([alice.heard("gap"), alice.heard("lost")], [[], []]);
});

test("a session whose listeners end during an outage is not subscribed by the next connection", async (t) => {
  const { asked, listen, cut, wind, settle, say } = await start(t, { history: true, options: { backoffBase: 10_000 } });
  const [one, two] = rooms(2).map((room) => listen(room));
  await settle();
  asked();
  await cut();
  one.off();
  two.off();
  say(1, "room-2");
  await wind(500);
  const back = listen("room-2");
  await wind(10 * SECOND);
  assert.deepEqual([asked(), [...back]], [[["subscribe", "room-2"]], [1]]);
});

test("in a hand-over, the new connection is subscribed before the old one ends", async (t) => {
  const { hub, alice, asked, say, listen, wind, settle } = await start(t, {
    history: true,
    options: { handoverAfter: MINUTE, handoverOverlap: 5 * SECOND },
  });
  const got = listen();
  const room = alice.session("room-1");
  await settle();
  asked();
  const states = [];
  room.on("change", () => states.push(room.isReady));
  const held = holdAnswers(hub);
  await wind(58 * SECOND);
  assert.deepEqual([hub.open.size, asked()], [2, [["subscribe", "room-1"]]]);
  say(1);
  await wind(20 * SECOND);
  say(2);
  assert.equal(hub.open.size, 2);
  // The client does not know yet that the hub has subscribed it.
  held.pop()();
  await settle();
  assert.equal(hub.open.size, 1);
  say(3);
  await settle();
  assert.deepEqual([[...got], states.includes(false), alice.heard("gap")], [[1, 2, 3], false, []]);
  assert.equal(hub.frames.filter(({ frame }) => frame.session === "room-1").length, 0, "nothing was missed");
});

test("a request that the old connection refuses during a gap ends nothing", async (t) => {
  const { hub, alice, say, listen, wind, settle } = await start(t, {
    history: true,
    options: { handoverAfter: MINUTE, handoverOverlap: 20 * SECOND },
  });
  const got = listen();
  await settle();
  await wind(55 * SECOND);
  const [old] = hub.open;
  const questions = [];
  hub.intercept = (link, frame) => frame.session === "room-1" && questions.push(() => hub.answer(link, frame));
  hub.drop();
  say(1);
  say(2);
  await wind(1_100);
  assert.equal(questions.length, 1);
  old.subscriptions.clear();
  questions.pop()();
  await settle();
  hub.intercept = () => false;
  await wind(3 * SECOND);
  assert.deepEqual([[...got], alice.heard("gap"), alice.heard("error")], [[1, 2], [], []]);
  assert.equal(alice.session("room-1").isReady, true);
});

test("if the old connection ends first, the new one is used, though its subscription is pending", async (t) => {
  const { hub, alice, say, listen, wind, settle } = await start(t, {
    history: true,
    options: { handoverAfter: MINUTE, handoverOverlap: 20 * SECOND },
  });
  const got = listen();
  await settle();
  holdAnswers(hub);
  await wind(58 * SECOND);
  const [old, next] = hub.open;
  next.subscriptions.add("room-1");
  hub.drop(2);
  say(1);
  say(2);
  await settle();
  old.terminate();
  await wind(4 * SECOND);
  assert.deepEqual([[...got], alice.heard("gap")], [[1, 2], []]);
  assert.equal(hub.frames.findLast(({ frame }) => frame.session === "room-1").link, next);
});

test("if the hub refuses history of a subscribed session, the client subscribes again", async (t) => {
  const { hub, alice, asked, say, listen, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  asked();
  hub.drop();
  say(1);
  say(2);
  await settle();
  const [link] = hub.open;
  link.subscriptions.clear();
  await wind(5 * SECOND);
  assert.deepEqual([asked(), [...got]], [[["subscribe", "room-1"]], [1, 2]]);
  assert.deepEqual([alice.heard("gap"), alice.heard("error")], [[], []]);
});

test("a connection whose token expires is not kept for a subscription", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  const alice = await connect("alice", { token: () => issue(clock, 5 * MINUTE) });
  alice.session("room-1").on("message", () => {});
  await wind(MINUTE);
  holdAnswers(hub);
  await wind(3 * MINUTE);
  assert.equal(hub.open.size, 2);
  await wind(MINUTE + SECOND);
  assert.equal(hub.open.size, 1);
});

test("after pause and resume, sessions with listeners come back with missed messages", async (t) => {
  const { alice, asked, say, listen, wind, settle, clock } = await start(t, { history: true });
  const got = listen();
  await settle();
  asked();
  alice.pause();
  await wind(2 * SECOND);
  assert.deepEqual([clock.running, alice.session("room-1").isReady], [0, false]);
  say(1);
  alice.resume();
  await settle();
  assert.deepEqual([asked(), [...got]], [[["subscribe", "room-1"]], [1]]);
  got.off();
  alice.close();
  await settle();
  assert.deepEqual(asked(), []);
});

test("a client that drains stays subscribed until its sends are answered", async (t) => {
  const { hub, alice, say, listen, settle } = await start(t);
  const got = listen();
  await settle();
  const held = holdAnswers(hub, /sendMessage/);
  alice.send("bob", 1);
  const closed = alice.close({ drain: 5 * SECOND });
  await settle();
  say(1);
  await settle();
  held.pop()();
  await closed;
  assert.deepEqual([...got], [1]);
});
