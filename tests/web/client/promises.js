// What can make a client deaf, endless or boundless, and what it does instead: a test for each.

import assert from "node:assert/strict";
import { connect as connectClient, SignedOut } from "../../../web/client/hub.js";
import { jwt } from "../../../web/client/testing.js";
import { test } from "../suite.js";
import { code, fakePage, hold, HOUR, MINUTE, replace, SECOND, setUp, until } from "./setup.js";

/** A token that is issued now, and ends after `life`. */
const issue = (clock, life) => jwt({ iat: clock.time / 1_000, exp: (clock.time + life) / 1_000 });

/** What the gateway itself says, in place of the hub. */
const gateway = (message) => ({ message, connectionId: "c=", requestId: "r=" });

/** How each of the promises has ended: a receipt's count, or an error's code. */
const outcomes = (sends) =>
  Promise.all(
    sends.map((send) =>
      send.then(
        ({ delivered }) => delivered,
        ({ code }) => code,
      ),
    ),
  );

// Never deaf

for (const [life, pause] of [
  [10 * MINUTE, 30 * MINUTE],
  [MINUTE, 7 * MINUTE],
  [3 * HOUR, 4 * HOUR],
]) {
  test(`a token of ${life / MINUTE} min, a message each ${pause / MINUTE} min, 20 times: each is heard once`, async (t) => {
    const { hub, clock, connect, wind, settle } = await setUp(t);
    hub.auth = true;
    const bob = await connect("bob", { token: async () => issue(clock, life) });
    for (let number = 0; number < 20; number++) {
      await wind(pause);
      hub.deliver(null, { id: `alert ${number}`, sessions: ["bob"], message: number });
      await settle();
    }
    assert.deepEqual(
      bob.got(),
      [...Array(20)].map((_, number) => number),
    );
    assert.deepEqual([...new Set(bob.states())], ["open"]);
    assert.deepEqual(bob.heard("error"), []);
  });
}

test("a post to the old socket 20 s after the hand-over is heard", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const bob = await connect("bob");
  const [old] = hub.open;
  while (!bob.stats.handovers) await wind(SECOND);
  for (const after of [20, 14]) {
    await wind(after * SECOND);
    old.say({
      type: "message",
      id: `${after}`,
      from: "alice",
      session: "bob",
      message: after,
      sent_at: "2026-01-01T00:00:00Z",
    });
    await settle();
  }
  assert.deepEqual(bob.got(), [20, 14]);
  await wind(2 * SECOND);
  assert.deepEqual([...hub.open].includes(old), false, "it is closed after its overlap");
});

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

test("a ping that is throttled is asked again on the same socket: the first, and any later one", async (t) => {
  const { hub, start, wind, settle } = await setUp(t);
  hub.greeting = gateway("Too Many Requests");
  const bob = start("bob");
  await settle();
  assert.equal(bob.state.name, "connecting");
  hub.greeting = { type: "pong" };
  await wind(2 * SECOND);
  assert.deepEqual([hub.handshakes.length, bob.state.name], [1, "open"]);

  let refusals = 4;
  hub.intercept = (link, { action }) => {
    if (action !== "ping" || !refusals) return false;
    refusals--;
    link.say(gateway("Too Many Requests"));
    return true;
  };
  await wind(5 * MINUTE);
  assert.deepEqual([refusals, hub.handshakes.length, bob.state.name], [0, 1, "open"]);
});

test("a gateway that throttles a connection's every ping loses it after connectTimeout; one that forbids, at once", async (t) => {
  const { hub, start, wind, settle } = await setUp(t);
  hub.greeting = gateway("Too Many Requests");
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

test("check() while a dial hangs makes a second one", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.hang = true;
  const bob = start("bob");
  await wind(2 * SECOND);
  bob.check();
  await wind(1);
  assert.equal(hub.attempts.length, 2);
  hub.hang = false;
  for (let times = 0; times < 5; times++) bob.check();
  await wind(2 * SECOND);
  assert.deepEqual([hub.attempts.length, bob.state.name], [3, "open"]);
});

test("a wake leaves a dial alone that is young and gets there, and a token that is on its way", async (t) => {
  const { hub, start, wind } = await setUp(t);
  let asked = 0;
  const token = async () => (asked++, await new Promise((resolve) => (give = resolve)));
  let give;
  const bob = start("bob", { token });
  await wind(5 * SECOND);
  bob.check();
  await wind(5 * SECOND);
  assert.deepEqual([asked, hub.attempts.length], [1, 0]);
  give("t");
  bob.check();
  await wind(5 * SECOND);
  assert.deepEqual([asked, hub.attempts.length, bob.state.name], [1, 1, "open"]);
});

test("pagehide with persisted closes the socket, and pageshow opens one: what was unanswered is answered", async (t) => {
  const page = fakePage(t);
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  page.tell("pagehide", { persisted: false });
  await settle();
  assert.equal(hub.open.size, 1, "the page is going away for good");
  hold(hub);
  const send = alice.send("bob", 1);
  await settle();
  page.tell("pagehide", { persisted: true });
  await settle();
  assert.deepEqual([hub.open.size, alice.state.name], [0, "paused"]);
  hub.intercept = () => false;
  page.tell("pageshow", { persisted: true });
  assert.equal((await send).delivered, 0);
  assert.equal(alice.state.name, "open");
});

test("a client that was paused before the page cache stays paused after it", async (t) => {
  const page = fakePage(t);
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  alice.pause();
  page.tell("pagehide", { persisted: true });
  page.tell("pageshow", { persisted: true });
  await settle();
  assert.deepEqual([hub.open.size, alice.state.name], [0, "paused"]);
  alice.resume();
  await settle();
  assert.equal(alice.state.name, "open");
});

test("offline: no longer open, sends wait, and within 3 s the connection is found alive or lost", async (t) => {
  const page = fakePage(t);
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice");
  page.tell("offline");
  assert.equal(alice.state.name, "waiting");
  assert.equal(alice.post("bob", 0), false);
  const first = alice.send("bob", 1);
  await settle();
  assert.deepEqual([(await first).delivered, alice.state.name, hub.handshakes.length], [0, "open", 1]);

  hub.mute = true;
  page.tell("offline");
  const second = alice.send("bob", 2);
  await wind(2 * SECOND);
  assert.deepEqual([alice.state.name, hub.handshakes.length], ["waiting", 1]);
  await wind(SECOND);
  assert.equal(hub.sent.length, 1, "nothing is written into the void");
  hub.mute = false;
  await wind(SECOND);
  assert.deepEqual([(await second).delivered, alice.state.name, hub.handshakes.length], [0, "open", 2]);
});

test("on another network, the old connection has 3 s to answer", async (t) => {
  const page = fakePage(t);
  const connection = new EventTarget();
  replace(t, globalThis, "navigator", { connection });
  const { hub, connect, wind } = await setUp(t);
  await connect("bob");
  for (const [count, tell] of [
    [2, () => page.tell("online")],
    [3, () => page.tellDocument("resume")],
    [4, () => connection.dispatchEvent(new Event("change"))],
  ]) {
    hub.mute = true;
    tell();
    await wind(3 * SECOND);
    hub.mute = false;
    await wind(SECOND);
    assert.equal(hub.handshakes.length, count);
  }
});

test("estimates of the network that change are no other network", async (t) => {
  fakePage(t);
  const connection = Object.assign(new EventTarget(), { effectiveType: "4g", rtt: 50 });
  replace(t, globalThis, "navigator", { connection });
  const { hub, connect, settle } = await setUp(t);
  await connect("bob");
  const change = async (estimates) => {
    Object.assign(connection, estimates);
    connection.dispatchEvent(new Event("change"));
    await settle();
  };
  for (let rtt = 75; rtt < 1_000; rtt += 25) await change({ rtt });
  assert.equal(hub.pings, 0);
  await change({ effectiveType: "3g" });
  assert.equal(hub.pings, 1);
});

test("a 6 min gap of the wall clock is a wake, and counts for the connection's age", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  const bob = await connect("bob");
  await wind(MINUTE);
  const before = hub.pings;
  clock.sleep(6 * MINUTE);
  await wind(30 * SECOND);
  assert.equal(hub.pings, before + 1);
  // 20 × 6 min are two hours, of which the timers see 20 × 30 s.
  for (let times = 0; times < 18; times++) {
    clock.sleep(6 * MINUTE);
    await wind(30 * SECOND);
  }
  assert.equal(bob.stats.handovers, 1);
});

test("a tab that comes to the front asks only where nothing was heard for 30 s", async (t) => {
  const page = fakePage(t);
  const { hub, connect, wind, settle } = await setUp(t);
  await connect("bob");
  for (let times = 0; times < 50; times++) page.tellDocument("visibilitychange");
  await settle();
  assert.equal(hub.pings, 0);
  await wind(31 * SECOND);
  for (let times = 0; times < 50; times++) page.tellDocument("visibilitychange");
  await settle();
  assert.equal(hub.pings, 1);
});

// It ends

test("a frame upon which the hub terminates is given up after 3 connections; the two behind it are answered", async (t) => {
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
  test(`a peer that ${how} on some messages keeps no other from being answered, however they are mixed`, async (t) => {
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

test("SignedOut from token() is final before any handshake", async (t) => {
  const { hub, start, wind } = await setUp(t);
  const refuse = () => {
    throw new SignedOut("the session is over");
  };
  const bob = start("bob", { token: refuse });
  const send = bob.send("alice", 1);
  await assert.rejects(send, code("signed_out"));
  await wind(10 * MINUTE);
  assert.equal(hub.attempts.length, 0);
  const { name, reason, error } = bob.state;
  assert.deepEqual([name, reason, error.code, error.retryable], ["failed", "the session is over", "signed_out", false]);
  await assert.rejects(bob.ready(), code("signed_out"));
});

test("an address that the runtime never connects to is final", async (t) => {
  const { start, settle } = await setUp(t);
  let attempts = 0;
  class Insecure {
    constructor() {
      attempts++;
      throw Object.assign(new Error("An insecure WebSocket may not be made"), { name: "SecurityError" });
    }
  }
  const bob = start("bob", { WebSocket: Insecure });
  await settle();
  assert.deepEqual([attempts, bob.state.name, bob.state.error.code], [1, "failed", "cannot_connect"]);
  assert.match(bob.state.reason, /insecure/);
});

test("close({ drain }) waits for what is unanswered, takes nothing more, and then closes", async (t) => {
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

test("a drain goes on over a loss", async (t) => {
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

// Bounded

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
  // The new connection answers nothing: so what is written at once is counted.
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

test("the only send under way is throttled: it is sent again, with waits that grow, until its ttl", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  let refusals = 2;
  hub.intercept = (link, { action }) =>
    action === "sendMessage" && refusals-- > 0 && (link.say(gateway("Too Many Requests")), true);
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

test("of several under way, only what stays unanswered is sent again", async (t) => {
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

test("the same id is dropped for ten minutes, told as a duplicate, and heard again after them", async (t) => {
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

test("every numeric option at 0, null, '5', Infinity … is off or a TypeError, and never more than a frame a second", async (t) => {
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

test("every option at its least value keeps to a frame and a handshake a second", async (t) => {
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

test("check() from a listener makes no storm", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = true;
  const bob = start("bob");
  bob.on("state", ({ name }) => name === "waiting" && bob.check());
  bob.on("error", () => bob.check());
  await wind(MINUTE);
  assert.ok(hub.attempts.length < 70, `${hub.attempts.length} handshakes in a minute`);
});

test("a token that takes 20 s is waited for, and asked for once", async (t) => {
  const { hub, clock, start, wind } = await setUp(t);
  let calls = 0;
  const token = () => (calls++, new Promise((resolve) => clock.setTimeout(() => resolve("t"), 20 * SECOND)));
  const bob = start("bob", { token });
  await wind(21 * SECOND);
  assert.deepEqual([calls, hub.attempts.length, bob.state.name], [1, 1, "open"]);
});

test("a token that takes longer than tokenTimeout is not asked for twice at a time, and is used when it comes", async (t) => {
  const { clock, start, wind } = await setUp(t);
  let calls = 0;
  const token = () => (calls++, new Promise((resolve) => clock.setTimeout(() => resolve("t"), 45 * SECOND)));
  const bob = start("bob", { token });
  await wind(50 * SECOND);
  assert.deepEqual([calls, bob.state.name], [1, "open"]);
  assert.deepEqual(
    bob.heard("error").map(({ code }) => code),
    ["token_failed"],
  );
});

test("a client that is closed or paused in the same breath asks for no token and opens nothing", async (t) => {
  const { hub, start, wind } = await setUp(t);
  let calls = 0;
  const options = { token: () => (calls++, "t") };
  start("bob", options).close();
  const paused = start("bob", options);
  paused.pause();
  await wind(MINUTE);
  assert.deepEqual([calls, hub.attempts.length], [0, 0]);
  paused.resume();
  await until(() => paused.state.name === "open");
  assert.deepEqual([calls, hub.attempts.length], [1, 1]);
});
