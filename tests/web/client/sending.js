// Sends: each ends with a receipt or an error, whatever happens to its connection.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, hold, HOUR, MINUTE, SECOND, setUp, types } from "./setup.js";

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

test("answers find their sends in any order", async (t) => {
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
    link.say({ type: "error", code: "too_many_sessions", message: "split it", id });
    return true;
  };
  const good = alice.send("bob", 1);
  await assert.rejects(alice.send("bob", 2, { id: "bad" }), (error) => {
    const { message, id, retryable, mayHaveArrived } = error;
    assert.deepEqual([message, id, retryable, mayHaveArrived], ["split it", "bad", false, false]);
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

test("a message that the hub or the socket could not accept is refused without being sent", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const loop = {};
  loop.loop = loop;
  for (const message of [undefined, () => {}, loop, 1n]) {
    await assert.rejects(alice.send("bob", message), code("bad_request"));
  }
  for (const id of ["", "x".repeat(129), 5, null]) {
    await assert.rejects(alice.send("bob", 1, { id }), code("bad_request"));
  }
  await assert.rejects(alice.send(undefined, 1), code("bad_request"));
  for (const ttl of [0, -1, NaN, "5", null]) await assert.rejects(alice.send("bob", 1, { ttl }), TypeError);

  const frame = (message) => JSON.stringify({ action: "sendMessage", sessions: ["bob"], message, id: "x" });
  const room = 32 * 1024 - new TextEncoder().encode(frame("")).length;
  // Characters of two and four bytes, to distinguish bytes from characters.
  const largest = "é\u{1f600}" + "x".repeat(room - 6);
  await assert.rejects(alice.send("bob", largest + "x", { id: "x" }), code("message_too_large"));
  await alice.send("bob", largest, { id: "x" });
  assert.deepEqual(
    hub.sent.map(({ message }) => message.length),
    [room - 3],
  );

  const held = hold(hub);
  const first = alice.send("bob", 1, { id: "twice" });
  await assert.rejects(alice.send("bob", 2, { id: "twice" }), code("bad_request"));
  await settle();
  held[0]();
  await first;
});

test("sends wait for a connection in order; beyond the limit they are refused, not dropped", async (t) => {
  const { hub, start, connect, settle, wind } = await setUp(t);
  const bob = await connect("bob");
  hub.refuse = true;
  const alice = start("alice", { queueLimit: 3 });
  const sends = [1, 2, 3].map((n) => alice.send("bob", n));
  const full = (error) => {
    assert.equal(error.retryable, true);
    return code("queue_full")(error);
  };
  await assert.rejects(alice.send("bob", 4), full);
  await settle();
  assert.equal(alice.state.name, "waiting");
  await assert.rejects(alice.send("bob", 5), full);
  hub.refuse = false;
  await wind(250);
  assert.deepEqual(
    (await Promise.all(sends)).map(({ delivered }) => delivered),
    [1, 1, 1],
  );
  await settle();
  assert.deepEqual(bob.got(), [1, 2, 3]);
});

test("the limit also counts unanswered sends on an open connection", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  let refused = 0;
  const sends = Array.from({ length: 20_000 }, (_, n) =>
    alice.send("bob", n).catch((error) => (refused += code("queue_full")(error))),
  );
  await settle();
  assert.deepEqual([refused, alice.stats.unanswered, held.length], [20_000 - 256, 256, 50]);
  hub.intercept = () => false;
  for (const answer of held) answer();
  await settle();
  // Each answer made room for the next.
  await Promise.all(sends);
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    Array.from({ length: 256 }, (_, n) => n),
  );
});

test("a backlog goes out in slices of 10 with pauses, and at most 50 at once", async (t) => {
  const { hub, connect, cut, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  await cut();
  const held = hold(hub);
  const sends = Array.from({ length: 70 }, (_, n) => alice.send("bob", n));
  await wind(250);
  const counts = [held.length];
  for (let slice = 0; slice < 6; slice++) {
    await wind(100);
    counts.push(held.length);
  }
  assert.deepEqual(counts, [10, 20, 30, 40, 50, 50, 50]);
  hub.intercept = () => false;
  for (const answer of held) answer();
  await settle();
  await wind(SECOND);
  await Promise.all(sends);
  assert.equal(hub.sent.length, 70);
});

test("a send under way when the connection died is sent again, and received once", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  // The worst moment: delivered, and the receipt lost.
  hub.intercept = (link, frame) => {
    hub.intercept = () => false;
    hub.deliver(link.session, frame);
    link.terminate();
    return true;
  };
  const sends = [alice.send("bob", "first"), alice.send("bob", "second")];
  await settle();
  assert.equal(alice.state.name, "waiting");
  sends.push(alice.send("bob", "third"));
  await wind(250);
  assert.deepEqual(
    (await Promise.all(sends)).map(({ delivered }) => delivered),
    [1, 1, 1],
  );
  await settle();
  assert.deepEqual(bob.got().sort(), ["first", "second", "third"]);
  assert.equal(hub.sent.filter(({ message }) => message === "first").length, 2);
  assert.equal(bob.stats.duplicates, 1);
});

for (const [end, lose] of [
  ["cut", (link) => link.terminate()],
  ["closed", (link) => link.close(1011)],
]) {
  test(`a frame for which the connection is always ${end} is given up after three, and the others get through`, async (t) => {
    const { hub, connect, wind } = await setUp(t);
    const alice = await connect("alice");
    hub.intercept = (link, { message }) => {
      if (message !== "poison") return false;
      lose(link);
      return true;
    };
    const outcomes = ["poison", "one", "two"].map((message) =>
      alice.send("bob", message).then(
        () => "sent",
        (error) => error,
      ),
    );
    await wind(30 * SECOND);
    const [error, ...others] = await Promise.all(outcomes);
    assert.deepEqual(others, ["sent", "sent"]);
    assert.ok(code("connection_lost")(error));
    assert.equal(error.mayHaveArrived, true);
    assert.equal(hub.sent.filter(({ message }) => message === "poison").length, 3);
    assert.equal(alice.state.name, "open");
  });
}

test("when the gateway refuses a frame's size, the largest is given up and the rest sent again", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { maxFrameBytes: 200_000 });
  hub.intercept = (link, { message }) => {
    if (message?.length > 1_000) link.close(1009);
    return true; // The others are still under way.
  };
  const [small, middling] = [alice.send("bob", "small"), alice.send("bob", "x".repeat(500))];
  await assert.rejects(alice.send("bob", "x".repeat(2_000)), code("message_too_large"));
  hub.intercept = () => false;
  await wind(SECOND);
  await Promise.all([small, middling]);
  assert.deepEqual(
    hub.sent.slice(3).map(({ message }) => message.length),
    [5, 500],
  );
});

test("a connection that the hub does not know is replaced, and the send repeated", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const [lost] = hub.open;
  const notConnected = (link, { id, action }) =>
    action === "sendMessage" &&
    (link.say({ type: "error", code: "not_connected", message: "connect again", id }) ?? true);
  hub.intercept = (link, frame) => link === lost && notConnected(link, frame);
  const send = alice.send("bob", "hello");
  await settle();
  assert.equal(alice.state.name, "waiting");
  await wind(250);
  await send;
  assert.equal(hub.handshakes.length, 2);

  hub.intercept = notConnected;
  const hopeless = assert.rejects(alice.send("bob", "again"), code("not_connected"));
  await wind(10 * SECOND);
  await hopeless;
  assert.equal(hub.sent.filter(({ message }) => message === "again").length, 3);
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

test("a post requests no receipt, and is dropped if it cannot be sent at once", async (t) => {
  const { hub, connect, cut, settle, wind } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  assert.equal(alice.post("bob", 1), true);
  await settle();
  assert.deepEqual(bob.got(), [1]);
  assert.deepEqual(hub.sent, [{ action: "sendMessage", sessions: ["bob"], message: 1, receipt: false, store: false }]);
  assert.throws(() => alice.post("bob", undefined), code("bad_request"));
  await cut();
  assert.equal(alice.post("bob", 2), false);
  await wind(SECOND);
  assert.deepEqual([alice.stats.dropped, alice.stats.unanswered, hub.sent.length], [1, 0, 1]);
  alice.close();
  assert.equal(alice.post("bob", 3), false);
  assert.deepEqual(types(alice).includes("error"), false);
});

test("an error about a post is reported, since no send waits for it", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link) => link.say({ type: "error", code: "forbidden", message: "not to bob" }) ?? true;
  alice.post("bob", 1);
  await settle();
  assert.deepEqual(
    alice.heard("error").map(({ code, message }) => [code, message]),
    [["forbidden", "not to bob"]],
  );
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

test("an unknown option of send() is an error, and its cause is kept", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = 503;
  const alice = start("alice");
  await assert.rejects(alice.send("bob", 1, { timeout: 5 }), /unknown option timeout/);
  const late = alice.send("bob", 1, { ttl: 2 * SECOND }).catch((error) => error);
  await wind(2 * SECOND);
  const { message, cause } = await late;
  assert.match(message, /never sent/);
  assert.equal(cause.code, "connect_failed");
});

test("with the option ordered, each send waits until the previous one has ended, however it ends", async (t) => {
  const { hub, connect, cut, wind, settle } = await setUp(t);
  const [alice, bob] = [await connect("alice", { ordered: true }), await connect("bob")];
  const held = hold(hub);
  const written = () => hub.sent.map(({ message }) => message);
  const sends = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => alice.send("bob", n, { ttl: n === 4 ? 10 * SECOND : 5 * MINUTE }));
  const ends = Promise.all(
    sends.map((send) =>
      send.then(
        ({ delivered }) => delivered,
        ({ code }) => code,
      ),
    ),
  );
  await settle();
  assert.deepEqual(written(), [1]);
  held[0]();
  await settle();
  assert.deepEqual(written(), [1, 2]);
  // The connection is lost: the same send is repeated, and no other.
  await cut();
  await wind(SECOND);
  assert.deepEqual(written(), [1, 2, 2]);
  hub.intercept = (link, { id, action }) =>
    action === "sendMessage" && (link.say({ type: "error", code: "forbidden", message: "no", id }), hold(hub), true);
  held[2]();
  await settle();
  assert.deepEqual(written(), [1, 2, 2, 3, 4]);
  // Its ttl ends.
  const later = hold(hub);
  await wind(10 * SECOND);
  assert.deepEqual(written().slice(4), [4, 5]);
  // A send whose answer never comes is repeated before the others.
  await wind(36 * SECOND);
  assert.deepEqual(written().slice(4), [4, 5, 5]);
  later[1]();
  await settle();
  // A throttled send is repeated before the others.
  hub.intercept = (link, { action }) =>
    action === "sendMessage" && (link.say({ message: "Too Many Requests", connectionId: "c" }), true);
  later[2]();
  await settle();
  hub.intercept = () => false;
  await wind(5 * SECOND);
  assert.deepEqual(written().slice(4), [4, 5, 5, 6, 7, 7, 8]);
  assert.deepEqual(await ends, [1, 1, "forbidden", "timeout", 1, 1, 1, 1]);
  assert.deepEqual(bob.got(), [1, 2, 5, 6, 7, 8]);
});

test("with the option ordered, a send waits for one on the old connection; requests for history and sends do not wait for each other", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t, { history: true });
  const alice = await connect("alice", { ordered: true, handoverAfter: MINUTE });
  await wind(50 * SECOND);
  // A send does not wait for a request for history.
  hub.intercept = () => true;
  const unanswered = alice.history();
  await settle();
  const held = hold(hub);
  alice.send("bob", 1);
  const second = alice.send("bob", 2);
  assert.deepEqual((await alice.history()).messages, []);
  await wind(10 * SECOND);
  assert.deepEqual([alice.stats.handovers, hub.open.size, hub.sent.length], [1, 2, 1]);
  held[0]();
  hub.intercept = () => false;
  await settle();
  assert.equal((await second).delivered, 0);
  await wind(MINUTE);
  assert.deepEqual((await unanswered).messages, []);
});
