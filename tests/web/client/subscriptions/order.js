// Each session has an order and a history of its own.

import assert from "node:assert/strict";
import { code, delivery, instead, MINUTE, SECOND } from "../setup.js";
import { test } from "../../suite.js";
import { holdAnswers, start } from "./setup.js";

test("messages before the answer wait for it, in order", async (t) => {
  const { hub, alice, say, listen, settle } = await start(t, { history: true });
  for (const number of [1, 2, 3]) say(number);
  const held = holdAnswers(hub);
  const got = listen();
  await settle();
  const [link] = hub.open;
  const { epoch } = hub.deliver(null, { id: "4", sessions: ["room-1"], message: 4 }).sessions[0];
  for (const offset of [5, 4, 6]) link.say(delivery(offset, epoch, { session: "room-1" }));
  await settle();
  assert.deepEqual([...got], []);
  held.pop()();
  await settle();
  assert.deepEqual([[...got], alice.position("room-1")], [[4, 5, 6], { epoch, offset: 6 }]);
});

test("each session has its own position, gaps and losses", async (t) => {
  const { hub, alice, say, listen, cut, wind, settle } = await start(t, { history: true });
  const [one, two] = [listen(), listen("room-2")];
  const told = [];
  for (const type of ["gap", "lost"]) {
    for (const name of ["room-1", "room-2", "alice"]) {
      alice.session(name).on(type, ({ from, to }) => told.push([type, name, from.offset, to.offset]));
    }
  }
  await settle();
  say("a");
  await settle();
  hub.drop();
  say("b");
  instead(hub);
  say("c");
  say("x", "room-2");
  await wind(500);
  assert.deepEqual([[...one], [...two]], [["a"], ["x"]]);
  await wind(10 * SECOND);
  assert.deepEqual([told, [...one]], [[["gap", "room-1", 1, 2]], ["a", "c"]]);
  hub.intercept = () => false;
  await cut();
  say("y", "room-2");
  hub.forget();
  await wind(SECOND);
  assert.deepEqual(told[1], ["lost", "room-2", 1, 2]);
  assert.deepEqual([alice.session("room-1").position().offset, alice.position("room-2").offset], [3, 2]);
});

test("a session resumes from its position once, and starts afresh with a later listener", async (t) => {
  const { hub, alice, say, listen, connect, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  say(1);
  await settle();
  const positions = JSON.parse(
    JSON.stringify({ "room-1": alice.session("room-1").position(), alice: alice.position() }),
  );
  say(2);
  await settle();
  alice.close();
  const again = await connect("alice", { positions });
  assert.equal(again.position("room-1"), undefined);
  const next = listen("room-1", again);
  await settle();
  assert.deepEqual([[...got], [...next], again.heard("message")[0].missed], [[1, 2], [2], true]);
  next.off();
  await wind(2 * SECOND);
  say(3);
  const last = listen("room-1", again);
  await settle();
  say(4);
  await settle();
  assert.deepEqual([[...last], hub.open.size], [[4], 1]);
});

test("a session's history waits for its subscription, and is refused without one", async (t) => {
  const { hub, alice, say, listen, cut, wind, settle } = await start(t, { history: true });
  say(1);
  const room = alice.session("room-1");
  await assert.rejects(room.history(), code("forbidden"));
  const held = holdAnswers(hub);
  listen();
  const asking = room.history({ last: 5 });
  const aborted = room.history({ ttl: 1_000 }).catch((error) => error);
  await wind(1_000);
  assert.ok(code("timeout")(await aborted));
  assert.equal(hub.frames.filter(({ frame }) => frame.session === "room-1").length, 1);
  held.pop()();
  assert.deepEqual(
    (await asking).messages.map(({ message }) => message),
    [1],
  );
  hub.intercept = () => false;
  await cut();
  const later = room.history();
  await wind(SECOND);
  assert.equal((await later).messages.length, 1);
  hub.maySubscribe = () => false;
  await cut();
  const never = room.history().catch((error) => error);
  await wind(SECOND);
  await settle();
  assert.ok(code("forbidden")(await never));
});

test("messages of a session without listeners are outside the order, and cause no request", async (t) => {
  const { hub, alice, listen, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  got.off();
  await wind(10 * SECOND);
  hub.frames.length = 0;
  const [link] = hub.open;
  for (const offset of [9, 7]) link.say(delivery(offset, "e0000001", { session: "room-1" }));
  await wind(MINUTE);
  assert.deepEqual([alice.got(), [...got], alice.position("room-1")], [[9, 7], [], undefined]);
  assert.deepEqual(
    hub.frames.filter(({ frame }) => frame.action !== "ping"),
    [],
  );
});

test("a message to two sessions is received once for each", async (t) => {
  const { hub, alice, listen, settle } = await start(t);
  const [one, two] = [listen(), listen("room-2")];
  await settle();
  hub.deliver(null, { id: "1", sessions: ["room-1", "alice", "room-2"], message: "all" });
  await settle();
  assert.deepEqual([[...one], [...two], alice.got().length, alice.stats.duplicates], [["all"], ["all"], 3, 0]);
});
