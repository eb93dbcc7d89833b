// Faults that come together, come back, or come from the program.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, fakePage, hold, HOUR, MINUTE, SECOND, setUp } from "./setup.js";

const isSend = ({ action }) => action === "sendMessage";

test("however often check() is called in an outage, the hub is found as soon as it is back", async (t) => {
  const page = fakePage(t);
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  for (let times = 0; times < 300; times++) {
    bob.check();
    page.tell("online");
    await wind(100);
  }
  assert.ok(hub.attempts.length < 45, `${hub.attempts.length} attempts in 30 s`);
  assert.ok(hub.attempts.length > 25, `${hub.attempts.length} attempts in 30 s`);
  hub.refuse = false;
  bob.check();
  await wind(2 * SECOND);
  assert.equal(bob.state.name, "open");
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

test("a delivery that crosses a send does not hide that the connection died after it", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = () => true;
  const send = alice.send("bob", 1);
  await wind(SECOND);
  hub.deliver("carol", { id: "x", sessions: ["alice"], message: "crossing" });
  await wind(20 * SECOND);
  hub.intercept = () => false;
  await wind(2 * SECOND);
  assert.deepEqual([(await send).delivered, hub.handshakes.length, alice.state.name], [0, 2, "open"]);
});

for (const [moment, set] of [
  ["as the network goes", ({ page }) => page.tell("offline")],
  [
    "on waking past a hand-over",
    async ({ clock, alice, wind }) => {
      clock.sleep(3 * HOUR);
      alice.check();
      await wind(MINUTE);
    },
  ],
  ["as it is checked", async ({ alice, wind }) => (await wind(MINUTE), alice.check())],
]) {
  test(`close() from a listener of the ping ${moment} is the end`, async (t) => {
    const page = fakePage(t);
    const { hub, clock, connect, wind } = await setUp(t);
    let calls = 0;
    const alice = await connect("alice", { token: () => (calls++, "t") });
    alice.on("frame", ({ data }) => data.includes("ping") && alice.close());
    await set({ page, clock, alice, wind });
    await wind(SECOND);
    assert.deepEqual([alice.state.name, hub.open.size, calls], ["closed", 0, 1]);
    assert.deepEqual(alice.states().slice(-1), ["closed"]);
  });
}

test("all listeners receive states in the order in which they occurred", async (t) => {
  const { start, settle } = await setUp(t);
  const alice = start("alice");
  alice.on("state", ({ name }) => name === "open" && alice.pause());
  const told = [];
  alice.on("state", (now, before) => told.push(`${before.name} > ${now.name}`));
  await settle();
  assert.deepEqual(told, ["connecting > open", "open > paused"]);
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

test("a poisonous message that is sent anew at each reconnect takes no other send with it", async (t) => {
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

test("of the frames that are too large, the one with the most bytes is given up", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { maxFrameBytes: 100_000 });
  hub.intercept = (link, { message }) =>
    isSend({ action: "sendMessage" }) &&
    message.length > 1_000 &&
    [...message].some((c) => c > "~") &&
    (link.close(1009), true);
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

test("check() replaces an attempt that hangs after its socket has opened", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.greeting = "";
  const bob = start("bob");
  await wind(3 * SECOND);
  hub.greeting = { type: "pong" };
  bob.check();
  await wind(SECOND);
  assert.deepEqual([hub.handshakes.length, bob.state.name], [2, "open"]);
});

test("frames of any shape cause at most an error, and end nothing", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  const held = hold(hub);
  const send = alice.send("bob", 1, { id: "mine" });
  await settle();
  for (const frame of [
    ...["", " ", "null", "[]", "5", '"x"', "{", "{}", '{"type":5}', '{"type":null}', '{"message":5}'],
    ...["sessions", "delivered", "id"].map((key) => ({ type: "receipt", id: "other", [key]: 5 })),
    { type: "receipt" },
    { type: "history" },
    { type: "history", id: null, epoch: "e", offset: 5, more: false, messages: [] },
    { type: "history", id: "mine", messages: 5 },
    { type: "history", id: {}, messages: [null] },
    { type: "error" },
    { type: "error", code: 7, message: {}, id: [] },
    { type: "message" },
    { type: "message", id: {}, from: 5, sent_at: "never" },
    { type: "toString" },
    { type: "__proto__" },
    new TextEncoder().encode('{"type":"pong"}'),
    new Uint8Array([255, 254]),
    new Uint8Array(0),
  ]) {
    link.say(frame);
  }
  await settle();
  for (const { code } of alice.heard("error")) assert.equal(typeof code, "string");
  held[0]();
  assert.equal((await send).id, "mine");
  assert.deepEqual([alice.state.name, hub.handshakes.length], ["open", 1]);
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

test("a pong that takes longer than pingInterval does not stop the pings", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { pingInterval: 10 * SECOND, pongTimeout: 30 * SECOND });
  const late = [];
  hub.intercept = (link) => late.length < 1 && late.push(() => link.say({ type: "pong" }));
  await wind(25 * SECOND);
  late[0]();
  const before = hub.pings;
  await wind(5 * MINUTE);
  assert.ok(hub.pings - before > 25, `${hub.pings - before} pings in five minutes`);
  assert.equal(alice.state.name, "open");
});

test("a hidden tab, whose timers run once per minute, pings no more often", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  const { setTimeout } = clock;
  await connect("bob", {
    clock: {
      now: () => clock.now(),
      uptime: () => clock.uptime(),
      setTimeout: (run, ms) => setTimeout.call(clock, run, Math.ceil(ms / MINUTE) * MINUTE + 50),
      clearTimeout: (timer) => clock.clearTimeout(timer),
    },
  });
  await wind(HOUR);
  assert.ok(hub.pings <= 15, `${hub.pings} pings in an hour`);
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

test("check() once per second, for an hour without a hub, makes at most one handshake per second", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  for (let seconds = 0; seconds < 600; seconds++) {
    bob.check();
    await wind(SECOND);
    if (bob.state.name === "waiting") assert.ok(bob.delay() < 40 * SECOND && bob.delay() > -1_100, `${bob.delay()}`);
  }
  assert.ok(hub.attempts.length < 640, `${hub.attempts.length} handshakes in ten minutes`);
});

test("the state of a lasting connection has no attempts", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  await wind(20 * SECOND);
  hub.refuse = false;
  await wind(40 * SECOND);
  assert.deepEqual([bob.state.name, bob.state.attempt], ["open", 0]);
});

test("a post is dropped while the network is backed up, and counted", async (t) => {
  const { hub, connect, settle, standard } = await setUp(t);
  let backedUp = 0;
  const Base = standard.WebSocket ?? globalThis.WebSocket;
  class Slow extends Base {
    get bufferedAmount() {
      return backedUp;
    }
  }
  const alice = await connect("alice", { WebSocket: Slow });
  assert.equal(alice.post("bob", 1), true);
  backedUp = 100_000;
  assert.equal(alice.post("bob", 2), false);
  backedUp = 10_000;
  assert.equal(alice.post("bob", 3), true);
  await settle();
  assert.deepEqual(
    hub.sent.map(({ message, receipt }) => [message, receipt]),
    [
      [1, false],
      [3, false],
    ],
  );
  assert.equal(alice.stats.dropped, 1);
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

test("an old connection that dies does not take the new one's sends", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice", { handoverAfter: MINUTE });
  const [old] = hub.open;
  while (hub.open.size < 2) await wind(SECOND);
  old.terminate();
  await settle();
  assert.equal((await alice.send("bob", 1)).delivered, 0);
  assert.equal(hub.handshakes.length, 2);
});

for (const [what, sleeps] of [
  ["stand still", true],
  ["go on", false],
]) {
  test(`a sleep is noticed, even if the runtime's own clock would ${what}`, async (t) => {
    const { hub, clock, connect, wind } = await setUp(t);
    let ahead = 0;
    const ours = {
      ...bound(clock),
      now: () => clock.now() + ahead,
      uptime: () => clock.uptime() + (sleeps ? 0 : ahead),
    };
    await connect("bob", { clock: ours });
    await wind(MINUTE);
    const before = hub.pings;
    ahead = 10 * MINUTE;
    await wind(30 * SECOND);
    assert.equal(hub.pings, before + 1);
  });
}

/** The clock as an object whose functions can be replaced. */
const bound = (clock) => ({
  setTimeout: (run, ms) => clock.setTimeout(run, ms),
  clearTimeout: (timer) => clock.clearTimeout(timer),
});

test("resume() resets the backoff, and `since` is when a state began", async (t) => {
  const { hub, clock, start, wind, settle } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  await wind(40 * SECOND);
  assert.ok(bob.delay() > 5 * SECOND);
  bob.pause();
  const paused = clock.now();
  await wind(SECOND);
  assert.equal(bob.state.since.getTime(), paused);
  bob.resume();
  await settle();
  assert.ok(bob.delay() <= 500, `${bob.delay()}`);
  hub.refuse = false;
  await wind(SECOND);
  const { since } = bob.state;
  await wind(10 * MINUTE);
  assert.equal(bob.state.since, since);
});

test("fifty unanswered sends leave room for others", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link, { message }) => message === "lost";
  for (let count = 0; count < 50; count++) alice.send("bob", "lost", { ttl: false }).catch(() => {});
  await wind(SECOND);
  const others = [];
  for (let times = 0; times < 30; times++) {
    others.push(alice.send("bob", times));
    await wind(10 * SECOND);
  }
  await wind(MINUTE);
  for (const send of others) assert.equal((await send).delivered, 0);
});

test("a second drain joins the first, and send() rejects whatever its arguments", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  for (const options of [null, 5, { ttl: 0 }, { id: "" }]) {
    const send = alice.send("bob", 1, options);
    if (options !== 5) await assert.rejects(send);
  }
  await settle();
  const held = hold(hub);
  const send = alice.send("bob", 2);
  const closing = [alice.close({ drain: 5 * SECOND }), alice.close({ drain: 5 * SECOND })];
  await wind(SECOND);
  held[0]();
  assert.equal((await send).delivered, 0);
  await Promise.all(closing);
  assert.equal(alice.state.name, "closed");
});

test("an empty frame is neither an answer nor an error", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  link.say("");
  link.say(new Uint8Array(0));
  await settle();
  assert.deepEqual([alice.heard("error"), alice.state.name], [[], "open"]);
});
