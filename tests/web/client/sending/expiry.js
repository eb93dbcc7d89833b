// A send ends when its ttl is over or its signal is aborted, wherever it is.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, hold, HOUR, MINUTE, SECOND, setUp } from "../setup.js";

test("a send without an answer is rejected after its ttl, and a late receipt does no harm", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice", { ttl: 5 * SECOND });
  const held = hold(hub);
  const outcomes = {};
  const note = (name, send) => send.catch((error) => (outcomes[name] = error));
  note("the client's", alice.send("bob", "slow", { id: "x" }));
  note("its own", alice.send("bob", "slow", { ttl: 7 * SECOND }));
  const patient = alice.send("bob", "slow", { ttl: false });
  await wind(5 * SECOND - 1);
  assert.deepEqual(Object.keys(outcomes), []);
  await wind(1);
  assert.deepEqual(Object.keys(outcomes), ["the client's"]);
  await wind(2 * SECOND);
  assert.deepEqual(Object.keys(outcomes), ["the client's", "its own"]);
  const error = outcomes["the client's"];
  assert.ok(code("timeout")(error));
  assert.deepEqual([error.id, error.mayHaveArrived, error.retryable], ["x", true, true]);
  await wind(HOUR);
  for (const answer of held) answer();
  await patient;
  await settle();
  assert.deepEqual([alice.state.name, alice.heard("error")], ["open", []]);
});

test("the ttl counts from the call, also while there is no connection", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  let error;
  alice.send("bob", "in vain").catch((thrown) => (error = thrown));
  const patient = alice.send("bob", "patient", { ttl: 2 * MINUTE });
  await wind(MINUTE - 1);
  assert.equal(error, undefined);
  await wind(1);
  assert.ok(code("timeout")(error));
  assert.equal(error.mayHaveArrived, false);
  hub.refuse = false;
  await wind(MINUTE - 1);
  assert.equal((await patient).delivered, 0);
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    ["patient"],
  );
});

test("a send whose ttl has passed while the machine slept is not written", async (t) => {
  const { hub, clock, start, settle, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  await settle();
  const stale = assert.rejects(alice.send("bob", "typing…", { ttl: 5 * SECOND }), code("timeout"));
  clock.sleep(9 * HOUR);
  hub.refuse = false;
  await wind(SECOND);
  await stale;
  assert.deepEqual([alice.state.name, hub.sent], ["open", []]);
});

test("an aborted send stops waiting, and leaves the queue", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice", { queueLimit: 1 });
  await settle();
  await assert.rejects(alice.send("bob", 0, { signal: AbortSignal.abort("early") }), (reason) => reason === "early");
  const abort = new AbortController();
  const send = alice.send("bob", 1, { signal: abort.signal });
  abort.abort();
  await assert.rejects(send, { name: "AbortError" });
  const next = alice.send("bob", 2);
  hub.refuse = false;
  await wind(250);
  await next;

  // A signal that outlives the send keeps no reference to it.
  const { signal } = new AbortController();
  let listeners = 0;
  const counted = (method, step) => (type, listener) => {
    listeners += step;
    EventTarget.prototype[method].call(signal, type, listener);
  };
  signal.addEventListener = counted("addEventListener", 1);
  signal.removeEventListener = counted("removeEventListener", -1);
  await alice.send("bob", 3, { signal });
  assert.equal(listeners, 0);
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    [2, 3],
  );
});

test("sends that expire or are aborted while the backlog is written are not written, and none is written twice", async (t) => {
  const { hub, clock, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  alice.pause();
  const fates = [];
  for (let number = 0; number < 3; number++)
    fates.push(alice.send("bob", `short ${number}`, { ttl: 10 * SECOND }).catch(({ code }) => code));
  const abort = new AbortController();
  const off = alice.on(
    "frame",
    ({ direction, data }) => direction === "out" && data.includes("m0") && abort.abort(new Error("enough")),
  );
  for (let number = 0; number < 5; number++)
    fates.push(alice.send("bob", `m${number}`).then(({ delivered }) => delivered));
  fates.push(alice.send("bob", "aborted", { signal: abort.signal }).catch(({ message }) => message));
  clock.sleep(20 * SECOND);
  alice.resume();
  await wind(SECOND);
  await settle();
  off();
  assert.deepEqual(await Promise.all(fates), ["timeout", "timeout", "timeout", 0, 0, 0, 0, 0, "enough"]);
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    ["m0", "m1", "m2", "m3", "m4"],
  );
});
