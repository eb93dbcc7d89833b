// What a client learns from the answer to hello: that the hub has forgotten it, or that it lacks a subscription or messages.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { fakePage, internal, MINUTE, SECOND, setUp } from "./setup.js";

/** A hub, and a client with listeners, whose frames about sessions are counted from then on. */
async function start(t, { rooms = ["room-1"], options, ...set } = {}) {
  const world = await setUp(t, set);
  const { hub, connect, wind } = world;
  const alice = await connect("alice", options);
  const got = [];
  const offs = rooms.map((name) => alice.session(name).on("message", ({ message }) => got.push(message)));
  await wind(10 * SECOND);
  hub.frames.length = 0;
  const asked = (actions = /subscribe|hello/) => {
    const frames = hub.frames.splice(0).map(({ frame }) => frame);
    return frames
      .filter(({ action }) => actions.test(action))
      .map(({ action, sessions = [] }) => [action, ...sessions].join(" "));
  };
  const say = (message, session = "room-1") => hub.deliver(null, { id: `${message}`, sessions: [session], message });
  return { ...world, alice, got, offs, asked, say };
}

for (const [random, minutes] of [
  [0, 13.5],
  [0.5, 15],
  [0.999999, 16.5],
]) {
  test(`a client sends hello about every 15 minutes, apart from others: after ${minutes}`, async (t) => {
    const { asked, wind } = await start(t, { random, rooms: [], options: { handoverAfter: false } });
    await wind(minutes * MINUTE - 11 * SECOND);
    assert.deepEqual(asked(), []);
    await wind(2 * SECOND);
    assert.deepEqual(asked(), ["hello"]);
    await wind(minutes * MINUTE);
    assert.deepEqual(asked(), ["hello"]);
  });
}

test("a connection that the hub has forgotten is replaced, with all its subscriptions", async (t) => {
  const { hub, alice, got, asked, say, wind, settle } = await start(t, { history: true });
  const [link] = hub.open;
  link.forget();
  say("unheard");
  await wind(15 * MINUTE);
  assert.equal(alice.stats.connections, 2);
  assert.deepEqual(asked(), ["hello", "subscribe room-1"]);
  say("heard");
  await settle();
  assert.deepEqual([got, alice.heard("error"), alice.heard("lost")], [["unheard", "heard"], [], []]);
});

test("a subscription that the hub has lost is requested again, and one without listeners is ended", async (t) => {
  const { hub, alice, got, asked, say, wind } = await start(t, { history: true, rooms: ["room-1", "room-2"] });
  const [link] = hub.open;
  link.subscriptions.delete("room-1");
  for (const session of ["left-1", "left-2"]) link.subscriptions.add(session);
  say("missed");
  await wind(15 * MINUTE);
  assert.deepEqual(asked(), ["hello", "unsubscribe left-1 left-2", "subscribe room-1"]);
  assert.deepEqual([[...link.subscriptions].sort(), got], [["room-1", "room-2"], ["missed"]]);
  assert.deepEqual([alice.position("left-1"), alice.heard("error")], [undefined, []]);
  await wind(16 * MINUTE);
  assert.deepEqual(asked(), ["hello"]);
});

test("a last message that did not arrive is found", async (t) => {
  const { hub, alice, got, asked, say, wind } = await start(t, { history: true });
  hub.drop(2);
  say("last");
  say("own", "alice");
  await wind(14 * MINUTE);
  assert.deepEqual(got, []);
  asked();
  await wind(MINUTE);
  assert.deepEqual([got, alice.got().sort()], [["last"], ["last", "own"]]);
  assert.deepEqual(asked(/history/).length, 2);
});

test("a message that is under way while the hub answers is not requested", async (t) => {
  const { hub, got, asked, say, wind } = await start(t, { history: true });
  hub.intercept = (link, frame) => {
    if (frame.action !== "hello") return false;
    hub.drop();
    const [{ epoch, offset }] = say("late").sessions;
    hub.answer(link, frame);
    link.say({
      type: "message",
      id: "late",
      from: null,
      session: "room-1",
      message: "late",
      epoch,
      offset,
      sent_at: "",
    });
    return true;
  };
  await wind(16 * MINUTE);
  assert.deepEqual([got, asked(/history/)], [["late"], []]);
});

test("changes while the hub answers are not mistaken for losses", async (t) => {
  const { hub, alice, offs, asked, wind, settle } = await start(t);
  let answer;
  hub.intercept = (link, frame) => {
    if (frame.action !== "hello") return false;
    // The hub reads its tables now, and answers later.
    const { say } = link;
    link.say = (greeting) => ((answer = () => say(greeting)), (link.say = say));
    hub.answer(link, frame);
    return true;
  };
  await wind(15 * MINUTE);
  const off = alice.session("room-2").on("message", () => {});
  offs[0]();
  await wind(2 * SECOND);
  assert.deepEqual(asked(), ["hello", "subscribe room-2", "unsubscribe room-1"]);
  answer();
  await settle();
  // The client cannot tell whether the hub has acted on it, and a repetition does no harm.
  assert.deepEqual(asked(), ["unsubscribe room-1"]);
  assert.deepEqual([...[...hub.open][0].subscriptions], ["room-2"]);
  off();
});

test("an answer that is lost or late does no harm", async (t) => {
  const { hub, alice, asked, wind } = await start(t, { options: { handoverAfter: false } });
  hub.loseAnswers();
  await wind(16 * MINUTE);
  hub.intercept = (link, frame) => frame.action === "hello" && (internal(link, frame), true);
  await wind(15 * MINUTE);
  hub.intercept = () => false;
  await wind(15 * MINUTE);
  assert.deepEqual(asked(), ["hello", "hello", "hello"]);
  const [link] = hub.open;
  link.say({ type: "hello", id: "another", session: "alice", subscriptions: [] });
  link.say({ type: "hello", session: "alice" });
  link.say({ type: "subscribed", id: "another", sessions: [{ session: "room-9" }] });
  link.say({ type: "unsubscribed", id: "another", sessions: ["room-1"] });
  await wind(MINUTE);
  assert.deepEqual([asked(), alice.session("room-1").isReady], [[], true]);
  assert.deepEqual(
    alice.heard("error").map(({ code }) => code),
    ["internal"],
  );
});

for (const [what, wake] of [
  ["sleeps", ({ clock, wind }) => (clock.sleep(10 * MINUTE), wind(30 * SECOND))],
  ["sleeps, and says so,", ({ clock, page, settle }) => (clock.sleep(MINUTE), page.tellDocument("resume"), settle())],
  ["is frozen", ({ page, settle }) => (page.tellDocument("resume"), settle())],
  ["is offline", ({ page, settle }) => (page.tell("offline"), settle().then(() => page.tell("online")), settle())],
]) {
  test(`a client that ${what} for a while sends one hello at its end`, async (t) => {
    const page = fakePage(t);
    const world = await start(t);
    const { hub, alice, asked, wind } = world;
    await wake({ page, ...world });
    await wind(5 * SECOND);
    assert.deepEqual(asked(), ["hello"]);
    // It learns that the hub has forgotten it.
    const [link] = hub.open;
    link.forget();
    await wake({ page, ...world });
    await wind(5 * SECOND);
    assert.deepEqual([asked(), alice.state.name], [["hello", "subscribe room-1"], "open"]);
  });
}

test("a hub without subscriptions gets one hello on each connection, and no error is reported", async (t) => {
  const { hub, alice, asked, cut, wind } = await start(t, { rooms: [], options: { handoverAfter: false } });
  hub.subscriptions = false;
  await wind(50 * MINUTE);
  await cut();
  await wind(50 * MINUTE);
  assert.deepEqual([asked(), alice.heard("error")], [["hello", "hello"], []]);
});

test("the fake hub answers and refuses as a hub does", async (t) => {
  const { hub, clock } = await start(t, { history: true });
  const [link] = hub.open;
  const answers = [];
  link.say = (frame) => answers.push(frame);
  const ask = (action, rest) => (hub.answer(link, { action, ...rest }), answers.pop());
  link.subscriptions.clear();
  const { epoch } = hub.deliver(null, { id: "1", sessions: ["room-2"], message: 1 }).sessions[0];
  assert.match(epoch, /^[A-Za-z0-9]{8}$/);
  const { sessions, ...subscribed } = ask("subscribe", { sessions: ["room-2", "alice", "room-2"], id: "s" });
  assert.deepEqual(subscribed, { type: "subscribed", id: "s" });
  assert.deepEqual(
    sessions.map(({ session, offset }) => [session, offset]),
    [
      ["room-2", 1],
      ["alice", 0],
    ],
  );
  const own = ask("history", { session: "alice" });
  const expires = Math.floor((clock.time - 10 * SECOND) / SECOND) + 7_200;
  assert.deepEqual(ask("hello", { id: "h" }), {
    type: "hello",
    id: "h",
    session: "alice",
    expires_at: expires,
    expires_in: 7_190,
    subscriptions: ["room-2"],
    positions: [
      { session: "alice", epoch: own.epoch, offset: 0 },
      { session: "room-2", epoch, offset: 1 },
    ],
  });
  assert.equal(ask("history", { session: "room-2", last: 1 }).messages.length, 1);
  assert.equal(ask("history", { session: "room-1", last: 1 }).code, "forbidden");
  assert.deepEqual(ask("unsubscribe", { sessions: ["room-9", "room-2"], id: "u" }), {
    type: "unsubscribed",
    id: "u",
    sessions: ["room-9", "room-2"],
  });
  for (const action of ["subscribe", "unsubscribe"]) {
    for (const wrong of [undefined, null, [], "room-1", ["a b"], [1]]) {
      const { code, id } = ask(action, { sessions: wrong, id: "w" });
      assert.deepEqual([code, id], ["bad_request", "w"], JSON.stringify(wrong));
    }
  }
  assert.equal(ask("hello", { id: 5 }).code, "bad_request");
  const many = (count, prefix = "r") => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  assert.equal(ask("subscribe", { sessions: many(101) }).code, "too_many_subscriptions");
  assert.equal(ask("unsubscribe", { sessions: many(101) }).code, "too_many_sessions");
  assert.equal(ask("subscribe", { sessions: many(60) }).type, "subscribed");
  assert.equal(ask("subscribe", { sessions: many(60, "s"), id: "x" }).code, "too_many_subscriptions");
  assert.equal(link.subscriptions.size, 60);
  assert.equal(ask("subscribe", { sessions: [...many(60), "alice", ...many(40, "s")].slice(1) }).type, "subscribed");
  hub.maySubscribe = (_, session) => session !== "t1";
  assert.equal(ask("subscribe", { sessions: ["r1", "t1"], id: "y" }).code, "forbidden");
  assert.equal(ask("subscribe", { sessions: ["alice", "r1"] }).type, "subscribed");
  hub.subscriptions = false;
  for (const action of ["subscribe", "unsubscribe", "hello"]) {
    const { code, ...rest } = ask(action, { sessions: ["a"], id: "z" });
    assert.deepEqual([code, rest.id], ["unknown_action", undefined]);
  }
  hub.subscriptions = true;
  link.forget();
  assert.equal(ask("hello", { id: "n" }).code, "not_connected");
  assert.equal(hub.deliver(null, { id: "2", sessions: ["r1", "alice"], message: 1 }).delivered, 0);
  assert.deepEqual(answers, []);
});
