// Messages arrive once each, with their fields, at listeners, loops and sessions.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, MINUTE, setUp } from "./setup.js";

const frame = (id, from, message) => ({ type: "message", id, from, message, sent_at: "2030-01-01T00:00:00.000Z" });

test("a repeated message is dropped, one with the same id from another sender is not", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const bob = await connect("bob");
  const [link] = hub.open;
  for (const [id, from] of [
    ["1", "a"],
    ["2", "a"],
    ["1", "a"],
    ["1", "b"],
    ["1", null],
    ["2", "a"],
    ["1", null],
    ["3", "a"],
  ]) {
    link.say(frame(id, from, `${id}${from}`));
  }
  await settle();
  assert.deepEqual(bob.got(), ["1a", "2a", "1b", "1null", "3a"]);
  assert.deepEqual(
    bob.heard("duplicate").map(({ message }) => message),
    ["1a", "2a", "1null"],
  );
  assert.equal(bob.stats.duplicates, 3);
});

test("a repeated id is dropped for ten minutes, reported as a duplicate, and received again after that", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const bob = await connect("bob");
  const say = async (message, from = null) => {
    hub.deliver(from, { id: "order-7", sessions: ["bob"], message });
    await settle();
  };
  await say("created");
  await wind(9 * MINUTE);
  await say("again");
  await say("another's", "alice");
  await wind(2 * MINUTE);
  await say("shipped");
  await wind(11 * MINUTE);
  await say("delivered");
  assert.deepEqual(bob.got(), ["created", "another's", "shipped", "delivered"]);
  assert.deepEqual(
    bob.heard("duplicate").map(({ message }) => message),
    ["again"],
  );
  assert.equal(bob.stats.duplicates, 1);
});

test("at least dedupeLimit ids are remembered", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const bob = await connect("bob", { dedupeLimit: 3 });
  const [link] = hub.open;
  for (const id of ["1", "2", "3", "1", "4", "2", "3"]) link.say(frame(id, "a", id));
  await settle();
  assert.deepEqual(bob.got(), ["1", "2", "3", "4"]);
  for (let n = 5; n <= 12; n++) link.say(frame(`${n}`, "a", `${n}`));
  link.say(frame("1", "a", "1 again"));
  await settle();
  assert.equal(bob.got().at(-1), "1 again", "and not for ever");
});

test("a message without a session is for the client's own", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const [alice, unnamed] = [await connect("alice"), await connect(undefined, { token: "t" })];
  for (const link of hub.open) link.say(frame("1", null, 1));
  await settle();
  assert.deepEqual([alice.heard("message")[0].session, unnamed.heard("message")[0].session], ["alice", null]);
});

test("a listener is called until it is removed, and the failure of one does not affect others", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  const heard = [];
  const off = [1, 2].map((n) => alice.on("message", ({ message }) => heard.push(`${n}: ${message}`)));
  link.say(frame("1", null, "a"));
  await settle();
  off[0]();
  off[0]();
  link.say(frame("2", null, "b"));
  await settle();
  assert.deepEqual(heard, ["1: a", "2: a", "2: b"]);
  assert.throws(() => alice.on("gossip", () => {}), TypeError);
  assert.throws(() => alice.on("message"), TypeError);
});

test("a listener that another one removes is not called any more", async (t) => {
  const { connect, hub, settle } = await setUp(t);
  const alice = await connect("alice");
  const called = [];
  alice.on("message", () => off());
  const off = alice.on("message", () => called.push("off"));
  hub.deliver(null, { id: "1", sessions: ["alice"], message: 1 });
  await settle();
  assert.deepEqual(called, []);
});

test("a loop over messages() receives them in order, and ends with the client", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  const read = async (messages) => {
    const taken = [];
    for await (const { message } of messages) taken.push(message);
    return taken;
  };
  const abort = new AbortController();
  const [whole, part] = [read(alice.messages()), read(alice.messages({ signal: abort.signal }))];
  for (const n of [1, 2, 3]) link.say(frame(`${n}`, null, n));
  await settle();
  abort.abort();
  assert.deepEqual(await part, [1, 2, 3]);
  link.say(frame("4", null, 4));
  await settle();
  alice.close();
  assert.deepEqual(await whole, [1, 2, 3, 4]);
  assert.deepEqual(await read(alice.messages()), []);
});

test("a loop that is too slow loses the oldest messages, and that is reported", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice", { bufferLimit: 3 });
  const [link] = hub.open;
  const messages = alice.messages();
  for (let n = 1; n <= 5; n++) link.say(frame(`${n}`, null, n));
  await settle();
  const taken = [];
  for (let n = 0; n < 3; n++) taken.push((await messages.next()).value.message);
  assert.deepEqual(taken, [3, 4, 5]);
  await messages.return();
  const [error, ...more] = alice.heard("error");
  assert.ok(code("overflow")(error));
  assert.deepEqual(more, []);
});

test("a loop ends at once with its signal or with return(), also if nothing was read", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice", { bufferLimit: 2 });
  const say = async (message) => {
    hub.deliver(null, { id: `${message}`, sessions: ["alice"], message });
    await settle();
  };
  const abort = new AbortController();
  const got = [];
  const loop = (async () => {
    for await (const { message } of alice.messages({ signal: abort.signal })) got.push(message);
  })();
  await say(1);
  abort.abort();
  await say(2);
  await loop;
  assert.deepEqual(got, [1]);

  const unread = alice.messages();
  await unread.return();
  const waiting = alice.messages();
  const next = waiting.next();
  assert.deepEqual(await waiting.return(), { value: undefined, done: true });
  assert.equal((await next).done, true);
  assert.deepEqual(await waiting.next(), { value: undefined, done: true });
  for (let number = 3; number < 9; number++) await say(number);
  assert.deepEqual(alice.heard("error"), []);
});

test("two readers of one loop share its messages, in order", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const messages = alice.messages();
  const reads = [messages.next(), messages.next(), messages.next()];
  for (let number = 1; number <= 3; number++)
    hub.deliver(null, { id: `${number}`, sessions: ["alice"], message: number });
  await settle();
  assert.deepEqual(
    (await Promise.all(reads)).map(({ value }) => value.message),
    [1, 2, 3],
  );
});

test("a session has its own messages, and sends to it", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const room = bob.session("bob");
  const other = bob.session("room");
  const heard = [];
  room.on("message", ({ message }) => heard.push(["bob", message]));
  other.on("message", ({ message }) => heard.push(["room", message]));
  await alice.session("bob").send(1);
  assert.equal(alice.session("bob").post(2), true);
  await settle();
  const [, link] = hub.open;
  link.say({ ...frame("9", "x", 3), session: "room" });
  await settle();
  assert.deepEqual(heard, [
    ["bob", 1],
    ["bob", 2],
    ["room", 3],
  ]);
  assert.equal(room.name, "bob");
  assert.throws(() => bob.session("a b"), TypeError);
  assert.throws(() => room.on("state", () => {}), TypeError);
});
