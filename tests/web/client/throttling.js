// The gateway throttles frames: what is written again, and when.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, gateway, hold, MINUTE, outcomes, SECOND, setUp } from "./setup.js";

const throttled = gateway("Too Many Requests");
const isSend = ({ action }) => action === "sendMessage";

test("a throttled ping is repeated on the same socket: the first, and any later one", async (t) => {
  const { hub, start, wind, settle } = await setUp(t);
  hub.greeting = throttled;
  const bob = start("bob");
  await settle();
  assert.equal(bob.state.name, "connecting");
  assert.deepEqual(
    bob.heard("error").map(({ code }) => code),
    ["gateway"],
  );
  hub.greeting = { type: "pong" };
  const { pings } = hub;
  await wind(2 * SECOND);
  assert.deepEqual([hub.pings, hub.handshakes.length, bob.state.name], [pings + 1, 1, "open"]);

  let refusals = 4;
  hub.intercept = (link, { action }) => {
    if (action !== "ping" || !refusals) return false;
    refusals--;
    link.say(throttled);
    return true;
  };
  await wind(5 * MINUTE);
  assert.deepEqual([refusals, hub.handshakes.length, bob.state.name], [0, 1, "open"]);
});

test("if the gateway throttles every ping, the connection is lost after connectTimeout; if it forbids one, at once", async (t) => {
  const { hub, start, wind, settle } = await setUp(t);
  hub.greeting = throttled;
  hub.intercept = (link) => (link.say(hub.greeting), true);
  const bob = start("bob");
  await wind(14 * SECOND);
  assert.equal(hub.handshakes.length, 1);
  await wind(2 * SECOND);
  assert.equal(hub.handshakes.length, 2);
  assert.ok(hub.pings < 20, `${hub.pings} pings`);
  bob.close();
  hub.greeting = gateway("Forbidden");
  const other = start("bob");
  await settle();
  assert.deepEqual([other.state.name, other.state.reason], ["waiting", "Forbidden"]);
});

test("a throttled send is repeated, with waits that grow, until its ttl", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  let refusals = 2;
  hub.intercept = (link, { action }) => action === "sendMessage" && refusals-- > 0 && (link.say(throttled), true);
  const send = alice.send("bob", 1);
  await wind(5 * SECOND);
  assert.equal((await send).delivered, 0);
  assert.deepEqual([new Set(hub.sent.map(({ id }) => id)).size, hub.sent.length, hub.handshakes.length], [1, 3, 1]);
  refusals = Infinity;
  const refused = alice.send("bob", 2).catch((error) => error);
  await wind(MINUTE);
  const { code: found, retryable, mayHaveArrived } = await refused;
  assert.deepEqual([found, retryable, mayHaveArrived], ["timeout", true, true]);
  assert.ok(hub.sent.length < 16, `${hub.sent.length} written`);
  assert.equal(hub.handshakes.length, 1);
});

test("of several sends, only those that stay unanswered are sent again", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  let number = 0;
  hub.intercept = (link, { action }) =>
    action === "sendMessage" && ++number === 3 && (link.say(gateway("Internal server error")), true);
  const ends = outcomes([...Array(5)].map((_, index) => alice.send("bob", index)));
  await wind(5 * SECOND);
  assert.deepEqual(await ends, [0, 0, 0, 0, 0]);
  assert.deepEqual([hub.sent.length, alice.stats.resent], [6, 1]);
});

for (const count of [1, 12, 40]) {
  test(`if the gateway throttles everything for 3 s, ${count} sends are answered soon after`, async (t) => {
    const { hub, connect, wind } = await setUp(t);
    const alice = await connect("alice");
    let isThrottled = true;
    hub.intercept = (link) => isThrottled && (link.say(throttled), true);
    const sends = [...Array(count)].map((_, number) => alice.send("bob", number));
    await wind(3 * SECOND);
    isThrottled = false;
    await wind(20 * SECOND);
    assert.equal(alice.stats.unanswered, 0);
    for (const send of sends) assert.equal((await send).delivered, 0);
    assert.equal(hub.handshakes.length, 1);
  });
}

test("a slow send beside throttled posts gets its receipt", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link, frame) =>
    isSend(frame) && (frame.receipt === false ? link.say(throttled) : slow.push([link, frame]), true);
  const slow = [];
  const send = alice.send("bob", "slow");
  for (let times = 0; times < 80; times++) {
    alice.post("bob", times);
    await wind(100);
  }
  assert.ok(slow.length < 8, `written ${slow.length} times`);
  hub.answer(...slow[0]);
  assert.equal((await send).delivered, 0);
});

test("sends that are throttled one after the other are all answered", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  let isThrottled = true;
  hub.intercept = (link, frame) => isThrottled && isSend(frame) && (link.say(throttled), true);
  const sends = [alice.send("bob", "a")];
  await wind(200);
  sends.push(alice.send("bob", "b"));
  await wind(100);
  isThrottled = false;
  await wind(3 * SECOND);
  for (const send of sends) assert.equal((await send).delivered, 0);
});

test("a throttled send is sent again on the same connection, within its ttl", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const throttled = (link) => link.say({ message: "Too Many Requests", connectionId: "c", requestId: "r" }) ?? true;
  hub.intercept = (link, { action }) => action === "sendMessage" && throttled(link);
  const send = alice.send("bob", "patient");
  await settle();
  assert.deepEqual(
    alice.heard("error").map(({ code }) => code),
    ["gateway"],
  );
  hub.intercept = () => false;
  await wind(SECOND);
  await send;
  assert.equal(hub.sent.length, 2);

  hub.intercept = (link, { action }) => action === "sendMessage" && throttled(link);
  let error;
  alice.send("bob", "in vain").catch((thrown) => (error = thrown));
  await wind(MINUTE);
  assert.ok(code("timeout")(error));
  assert.equal(error.retryable, true);
  assert.deepEqual([hub.handshakes.length, alice.state.name], [1, "open"]);
});

test("sends that were written a while ago are not repeated when the gateway refuses a frame", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const slow = alice.send("bob", "slow");
  await wind(5 * SECOND);
  hub.intercept = (link) => (link.say(throttled), true);
  alice.post("bob", 1);
  await wind(5 * SECOND);
  hub.intercept = () => false;
  held[0]();
  assert.equal((await slow).delivered, 0);
  assert.equal(hub.sent.filter(({ message }) => message === "slow").length, 1);
});
