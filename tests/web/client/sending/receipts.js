// What a send sends, and the receipt or error that it ends with.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, hold, SECOND, setUp } from "../setup.js";

test("a message arrives with its sender and time, and the sender gets the receipt", async (t) => {
  const { clock, connect, settle } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const receipt = await alice.send(["bob", "nobody"], { text: "hello" });
  assert.deepEqual(JSON.parse(JSON.stringify(receipt)), {
    id: receipt.id,
    delivered: 1,
    gone: 0,
    failed: 0,
    sessions: [
      { session: "bob", delivered: 1, gone: 0, failed: 0 },
      { session: "nobody", delivered: 0, gone: 0, failed: 0 },
    ],
  });
  assert.equal(receipt.reachedAll, false);
  assert.equal((await alice.send("bob", 1)).reachedAll, true);
  await settle();
  const [{ id, from, session, message, sentAt, receivedAt }] = bob.heard("message");
  assert.deepEqual([id, from, session, message], [receipt.id, "alice", "bob", { text: "hello" }]);
  assert.deepEqual([Number(sentAt), Number(receivedAt)], [clock.time, clock.time]);
  assert.deepEqual(alice.got(), []);
});

test("one session can be named as a string, and the program can choose the id", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  assert.equal((await alice.send("bob", null, { id: "mine" })).id, "mine");
  await alice.send(new Set(["bob", "carol"]), 1, { id: "2" });
  assert.deepEqual(hub.sent, [
    { action: "sendMessage", sessions: ["bob"], message: null, id: "mine" },
    { action: "sendMessage", sessions: ["bob", "carol"], message: 1, id: "2" },
  ]);
});

test("receipts end their sends, in any order", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const sends = ["1", "2", "3"].map((id) => alice.send("bob", id, { id }));
  await settle();
  assert.deepEqual([held.length, alice.stats.unanswered], [3, 3]);
  for (const answer of held.reverse()) answer();
  assert.deepEqual(
    (await Promise.all(sends)).map(({ id }) => id),
    ["1", "2", "3"],
  );
  assert.equal(alice.stats.unanswered, 0);
});

test("an error of the hub rejects its send, with code and text", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link, { id }) => {
    if (id !== "bad") return false;
    link.say({ type: "error", code: "too_many_sessions", message: "send several requests", id });
    return true;
  };
  const good = alice.send("bob", 1);
  await assert.rejects(alice.send("bob", 2, { id: "bad" }), (error) => {
    const { message, id, retryable, mayHaveArrived } = error;
    assert.deepEqual([message, id, retryable, mayHaveArrived], ["send several requests", "bad", false, false]);
    return code("too_many_sessions")(error);
  });
  await good;
  assert.deepEqual(alice.heard("error"), []);
});

test("a slow receipt is awaited, and the connection is only pinged", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", "slow");
  await wind(10 * SECOND);
  assert.equal(hub.pings, 1);
  await wind(25 * SECOND - 1);
  held[0]();
  assert.equal((await send).delivered, 0);
  assert.equal(hub.handshakes.length, 1);
});

test("a receipt without sessions or numbers is still a receipt", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  for (const rest of [{}, { sessions: 5 }, { sessions: [null] }, { sessions: [{}] }]) {
    hub.intercept = (link, { id }) => (
      link.say({ type: "receipt", id, delivered: 1, gone: 0, failed: 0, ...rest }),
      true
    );
    const receipt = await alice.send("bob", 1);
    assert.equal(typeof receipt.reachedAll, "boolean");
  }
});

test("reachedAll: each session was reached, none failed, and all were counted", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  const one = { delivered: 1, gone: 0, failed: 0 };
  for (const [reached, whole, ...sessions] of [
    [true, one, one],
    [true, { ...one, gone: 3 }, { ...one, gone: 3 }],
    [false, one, one, { ...one, delivered: 0 }],
    [false, { ...one, failed: 1 }, { ...one, failed: 1 }],
    [false, { ...one, complete: false }, one],
    [false, one, { ...one, complete: false }],
  ]) {
    hub.intercept = (link, { id }) => (link.say({ type: "receipt", id, ...whole, sessions }), true);
    assert.equal((await alice.send("bob", 1)).reachedAll, reached, JSON.stringify([whole, sessions]));
  }
});

test("an error says whether the message may have arrived before", async (t) => {
  const { hub, connect, wind, cut } = await setUp(t);
  const alice = await connect("alice");
  const refuse = (link, { id, message }) => (link.say({ type: "error", code: message, message: "no", id }), true);
  const fate = (send) => send.then(assert.fail, ({ mayHaveArrived }) => mayHaveArrived);
  hub.intercept = refuse;
  assert.equal(await fate(alice.send("bob", "forbidden")), false);
  assert.equal(await fate(alice.send("bob", "internal")), true);
  hub.intercept = () => true;
  const twice = fate(alice.send("bob", "forbidden"));
  await cut();
  hub.intercept = refuse;
  await wind(SECOND);
  assert.equal(await twice, true);
});

test("the fake hub refuses the same frames as a hub, and counts each session once", async (t) => {
  const { connect } = await setUp(t);
  const alice = await connect("alice");
  const names = (count) => [...Array(count)].map((_, number) => `s${number}`);
  for (const [sessions, expected] of [
    [[], "bad_request"],
    [["a b"], "bad_request"],
    [[1], "bad_request"],
    [names(101), "too_many_sessions"],
  ]) {
    await assert.rejects(alice.send(sessions, 1), code(expected));
  }
  assert.equal((await alice.send(names(100), 1)).sessions.length, 100);
  const receipt = await alice.send(["alice", "nobody", "alice"], 1);
  assert.deepEqual([receipt.delivered, receipt.sessions.length, receipt.reachedAll], [1, 2, false]);
});
