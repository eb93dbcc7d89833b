// What bounds a client: its queue, the pauses in a backlog, and its options at their extremes.

import assert from "node:assert/strict";
import { connect as connectClient } from "../../../web/client/hub.js";
import { test } from "../suite.js";
import { MINUTE, outcomes, SECOND, setUp } from "./setup.js";

test("20,000 sends on a stalled link: refused beyond the limit, and 50 at once after the reconnect", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice", { ttl: false });
  hub.mute = true;
  const sends = [...Array(20_000)].map((_, number) => alice.send("bob", number));
  const ends = outcomes(sends);
  await settle();
  assert.equal(alice.stats.unanswered, 256);
  assert.ok(hub.sent.length <= 50, `${hub.sent.length} written`);
  const before = hub.sent.length;
  while (alice.state.name === "open") await wind(SECOND);
  // The new connection answers nothing, so that the frames written at once can be counted.
  hub.intercept = (link, { action }) => action === "sendMessage";
  hub.mute = false;
  await wind(5 * SECOND);
  assert.ok(hub.sent.length - before <= 50, `${hub.sent.length - before} written at once`);
  hub.intercept = () => false;
  hub.cut();
  await wind(2 * MINUTE);
  const ended = await ends;
  assert.deepEqual(
    [ended.filter((end) => end === 0).length, ended.filter((end) => end === "queue_full").length],
    [256, 19_744],
  );
});

test("a backlog is written in slices, with pauses that differ", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice");
  alice.pause();
  const ends = outcomes([...Array(40)].map((_, number) => alice.send("bob", number)));
  hub.intercept = () => true;
  alice.resume();
  await settle();
  const counts = [hub.sent.length];
  for (let slices = 0; slices < 3; slices++) {
    await wind(100);
    counts.push(hub.sent.length);
  }
  assert.deepEqual(counts, [10, 20, 30, 40]);
  for (const { link, frame } of hub.frames) hub.answer(link, frame);
  assert.deepEqual(new Set(await ends), new Set([0]));
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

test("every numeric option at 0, null, '5', Infinity … is off or a TypeError, and never causes more than a frame per second", async (t) => {
  const { hub, start, wind, standard } = await setUp(t, { random: 0 });
  const numbers = {
    ttl: true,
    queueLimit: false,
    bufferLimit: false,
    maxFrameBytes: false,
    pingInterval: true,
    pongTimeout: false,
    connectTimeout: false,
    tokenTimeout: false,
    backoffBase: false,
    backoffMax: false,
    refusedRetry: false,
    handoverAfter: true,
    handoverOverlap: false,
    dedupeLimit: false,
  };
  for (const [name, canBeOff] of Object.entries(numbers)) {
    for (const value of [0, null, "5", "off", NaN, -1, {}, 2 ** 31, true]) {
      if (name === "handoverOverlap" && value === 0) continue;
      const options = { url: hub.url, session: "bob", ...standard, [name]: value };
      assert.throws(
        () => connectClient(options),
        new RegExp(`^TypeError: ${name} must be a number`),
        `${name}: ${value}`,
      );
    }
    for (const off of [Infinity, false]) {
      const options = { [name]: off };
      if (!canBeOff) {
        assert.throws(() => start("bob", options), TypeError, `${name}: ${off}`);
        continue;
      }
      const [handshakes, pings] = [hub.handshakes.length, hub.pings];
      const bob = start("bob", options);
      await wind(100 * MINUTE);
      assert.equal(bob.state.name, "open");
      assert.equal(hub.handshakes.length - handshakes, 1);
      assert.equal(hub.pings - pings > 0, name !== "pingInterval", `${name}: ${off}`);
      bob.close();
    }
  }
  for (const name of ["toString", "__proto__", "constructor", "sendTimeout"]) {
    const options = Object.defineProperty({ url: hub.url, session: "bob", ...standard }, name, {
      value: 5,
      enumerable: true,
    });
    assert.throws(() => connectClient(options), new RegExp(`^TypeError: unknown option ${name}$`));
  }
});

test("with every option at its least value, there is at most a frame and a handshake per second", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const least = {
    pingInterval: 10_000,
    pongTimeout: 1_000,
    handoverAfter: 60_000,
    handoverOverlap: 0,
    backoffBase: 100,
  };
  await connect("bob", { ...least, backoffMax: 1_000, connectTimeout: 1_000 });
  await wind(10 * MINUTE);
  assert.ok(hub.frames.length <= 600, `${hub.frames.length} frames in ten minutes`);
  assert.ok(hub.attempts.length <= 12, `${hub.attempts.length} handshakes in ten minutes`);
});

test("check() from a listener does not flood the hub", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  bob.on("state", ({ name }) => name === "waiting" && bob.check());
  bob.on("error", () => bob.check());
  await wind(MINUTE);
  assert.ok(hub.attempts.length < 70, `${hub.attempts.length} handshakes in a minute`);
});
