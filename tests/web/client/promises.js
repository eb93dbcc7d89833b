// Each send ends with a receipt or an error, within its ttl, whatever its connections do.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, hold, HOUR, MINUTE, outcomes, SECOND, setUp } from "./setup.js";

test("not_connected for an aborted send makes a new connection", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = () => true;
  const abort = new AbortController();
  const send = alice.send("bob", 1, { signal: abort.signal });
  await settle();
  abort.abort(new Error("enough"));
  await assert.rejects(send, /enough/);
  const [{ link, frame }] = hub.frames;
  hub.intercept = () => false;
  link.say({ type: "error", code: "not_connected", message: "connect again", id: frame.id });
  await wind(SECOND);
  assert.deepEqual([hub.handshakes.length, alice.state.name], [2, "open"]);
});

test("not_connected makes a new connection also for a post, a timed-out send, and the second time", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { ttl: 5 * SECOND });
  const forgotten = { type: "error", code: "not_connected", message: "connect again" };
  hub.intercept = (link, { id }) => {
    if (id) return true;
    link.say(forgotten);
    return true;
  };
  assert.equal(alice.post("bob", 1), true);
  await wind(SECOND);
  assert.equal(hub.handshakes.length, 2);
  await assert.rejects(Promise.all([alice.send("bob", 1, { id: "late" }), wind(6 * SECOND)]), code("timeout"));
  for (const count of [3, 4]) {
    const [link] = hub.open;
    link.say({ ...forgotten, id: "late" });
    await wind(SECOND);
    assert.deepEqual([hub.handshakes.length, alice.state.name], [count, "open"]);
  }
});

test("a frame that makes the hub close is given up after 3 connections; the two behind it are answered", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link, { message }) => message === "poison" && (link.terminate(), true);
  const sends = ["poison", 1, 2].map((message) => alice.send("bob", message));
  const ends = outcomes(sends);
  await wind(20 * SECOND);
  assert.deepEqual(await ends, ["connection_lost", 0, 0]);
  assert.deepEqual([hub.handshakes.length, alice.state.name], [4, "open"]);
  const error = await sends[0].catch((error) => error);
  assert.deepEqual([error.retryable, error.mayHaveArrived, error.id === hub.sent[0].id], [true, true, true]);
});

for (const [how, end] of [
  ["closes with 1011", (link) => link.close(1011, "no")],
  ["closes with 1008", (link) => link.close(1008)],
  ["falls silent", null],
]) {
  test(`a connection that ${how} on some messages leaves all others answered, however they are mixed`, async (t) => {
    const { hub, connect, wind } = await setUp(t);
    const alice = await connect("alice", { ttl: false });
    const paused = [];
    hub.intercept = (link, { message }) => {
      if (message === "poison" && end) end(link);
      else if (message === "poison") paused.push(link) && link.pause();
      return message === "poison";
    };
    t.after(() => paused.forEach((link) => link.resume()));
    const ends = outcomes([1, "poison", 2, "poison", 3].map((message) => alice.send("bob", message)));
    const later = [];
    for (let times = 0; times < 30; times++) {
      later.push(alice.send("bob", times));
      await wind(10 * SECOND);
    }
    await wind(5 * MINUTE);
    assert.deepEqual(await ends, [0, "connection_lost", 0, "connection_lost", 0]);
    assert.deepEqual(new Set(await outcomes(later)), new Set([0]));
  });
}

test("a send ends within its ttl, wherever it is", async (t) => {
  const { hub, clock, connect, start, wind } = await setUp(t);
  const alice = await connect("alice", { ttl: 20 * SECOND });
  hold(hub);
  const written = [
    alice.send("bob", 1),
    alice.send("bob", 2, { ttl: 5 * SECOND }),
    alice.send("bob", 3, { ttl: 300 * SECOND }),
  ];
  const errors = written.slice(0, 2).map((send) => send.catch((error) => error));
  await wind(5 * SECOND);
  assert.deepEqual([alice.stats.unanswered], [2]);
  await wind(15 * SECOND);
  assert.deepEqual([alice.stats.unanswered], [1]);
  for (const error of await Promise.all(errors)) {
    assert.deepEqual([error.code, error.mayHaveArrived, error.retryable], ["timeout", true, true]);
  }
  hub.answer([...hub.open][0], hub.sent[2]);
  hub.intercept = () => false;
  assert.equal((await written[2]).delivered, 0);

  // Queued while the machine sleeps over night.
  hub.refuse = true;
  const bob = start("bob");
  await wind(SECOND);
  const typing = bob.send("alice", "typing").catch((error) => error);
  clock.sleep(9 * HOUR);
  hub.refuse = false;
  await wind(40 * SECOND);
  assert.equal(bob.state.name, "open");
  const { code: found, mayHaveArrived } = await typing;
  assert.deepEqual([found, mayHaveArrived], ["timeout", false]);
  assert.equal(hub.sent.length, 3, "nothing stale is sent");
});

test("close({ drain }) waits for unanswered sends, accepts no more, and then closes", async (t) => {
  const { hub, clock, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice");
  let held = hold(hub);
  const send = alice.send("bob", 1);
  await settle();
  let isClosed = false;
  const closing = alice.close({ drain: 5 * SECOND }).then(() => (isClosed = true));
  await assert.rejects(alice.send("bob", 2), code("closed"));
  await settle();
  assert.deepEqual([isClosed, alice.state.name], [false, "open"]);
  held[0]();
  assert.equal((await send).delivered, 0);
  await closing;
  assert.equal(alice.state.name, "closed");

  // A drain is limited, survives a loss, and a second close() ends it.
  for (const [end, ms] of [
    [() => {}, 5 * SECOND],
    [(client) => client.close(), 1],
  ]) {
    const client = await connect("carol");
    held = hold(hub);
    const lost = client.send("bob", 1).catch((error) => error);
    const since = clock.time;
    const over = client.close({ drain: 5 * SECOND }).then(() => clock.time - since);
    await settle();
    end(client);
    await wind(ms);
    const { code: found, mayHaveArrived, retryable } = await lost;
    assert.deepEqual([found, mayHaveArrived, retryable], ["closed", true, false]);
    assert.ok((await over) <= ms);
  }
});

test("a drain continues after a loss", async (t) => {
  const { hub, connect, cut, wind } = await setUp(t);
  const alice = await connect("alice");
  hold(hub);
  const send = alice.send("bob", 1);
  const closing = alice.close({ drain: 10 * SECOND });
  await cut();
  hub.intercept = () => false;
  await wind(SECOND);
  assert.equal((await send).delivered, 0);
  await closing;
  assert.equal(alice.state.name, "closed");
});
