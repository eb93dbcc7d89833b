// A send whose connection or answer is lost is sent again, unless it is what breaks the connections.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, MINUTE, outcomes, SECOND, setUp } from "../setup.js";

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

test("a send whose answer is lost is sent again after 35 s, and keeps no old connection open", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { handoverAfter: MINUTE, ttl: false });
  const lost = new Set();
  hub.intercept = (link, { id }) => id && !lost.has(id) && lost.add(id);
  for (let times = 0; times < 60; times++) {
    alice.send("bob", times);
    await wind(20 * SECOND);
    assert.ok(hub.open.size <= 2, `${hub.open.size} connections`);
  }
  await wind(MINUTE);
  assert.equal(alice.stats.unanswered, 0);
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
    assert.deepEqual([error.mayHaveArrived, error.retryable, error.id], [true, true, hub.sent[0].id]);
    assert.equal(hub.sent.filter(({ message }) => message === "poison").length, 3);
    assert.deepEqual([hub.handshakes.length, alice.state.name], [4, "open"]);
  });
}

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

test("a message that costs each connection, and is sent anew at each reconnect, takes no other send with it", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { ttl: false });
  hub.intercept = (link, { message }) => message === "poison" && (link.terminate(), true);
  const poisons = [];
  alice.on("state", ({ name }) => {
    if (name === "open" && poisons.length < 6) poisons.push(alice.send("bob", "poison").catch(({ code }) => code));
  });
  const innocent = [1, 2, 3].map((number) => alice.send("bob", number));
  poisons.push(alice.send("bob", "poison").catch(({ code }) => code));
  for (let times = 0; times < 20; times++) {
    innocent.push(alice.send("bob", times));
    await wind(5 * SECOND);
  }
  await wind(5 * MINUTE);
  for (const send of innocent) assert.equal((await send).delivered, 0);
  assert.deepEqual(new Set(await Promise.all(poisons)), new Set(["connection_lost"]));
});

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

test("of the frames that are too large, the one with the most bytes is given up", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { maxFrameBytes: 100_000 });
  hub.intercept = (link, { message }) =>
    message?.length > 1_000 && [...message].some((c) => c > "~") && (link.close(1009), true);
  const wide = alice.send("bob", "漢".repeat(15_000));
  const ascii = alice.send("bob", "x".repeat(30_000));
  const ends = Promise.all([ascii.then(({ delivered }) => delivered), wide.catch((error) => error)]);
  await wind(10 * SECOND);
  const [delivered, error] = await ends;
  assert.equal(delivered, 0);
  assert.ok(code("message_too_large")(error));
  assert.equal(error.mayHaveArrived, true, "it is a guess");
  const alone = alice.send("bob", "漢".repeat(15_000)).catch((error) => error);
  await wind(10 * SECOND);
  assert.equal((await alone).mayHaveArrived, false);
});
