// A browser's events about the network, sleep, hidden tabs and the page cache.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { fakePage, hold, MINUTE, replace, SECOND, setUp } from "./setup.js";

test("a cached page has no socket, and gets one when it is shown", async (t) => {
  const page = fakePage(t);
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  page.tell("pagehide", { persisted: false });
  await settle();
  assert.equal(hub.open.size, 1, "it may be going for good");
  const held = hold(hub);
  const send = alice.send("bob", 1);
  await settle();
  assert.equal(held.length, 1);
  page.tell("pagehide", { persisted: true });
  await settle();
  assert.deepEqual([alice.state.name, hub.open.size], ["paused", 0]);
  alice.check();
  page.tell("online");
  await wind(10 * SECOND);
  assert.equal(hub.handshakes.length, 1);
  hub.intercept = () => false;
  page.tell("pageshow", { persisted: true });
  await send;
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

test("offline, sends wait until the connection has answered again", async (t) => {
  const page = fakePage(t);
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  hub.mute = true;
  page.tell("offline");
  assert.equal(alice.state.name, "waiting");
  const send = alice.send("bob", "later");
  await settle();
  assert.equal(hub.sent.length, 0);
  hub.mute = false;
  page.tell("online");
  const [link] = hub.open;
  link.say({ type: "pong" });
  await send;
  assert.deepEqual([alice.state.name, hub.handshakes.length], ["open", 1]);
});

test("on another network, the old connection has 3 s to answer", async (t) => {
  const page = fakePage(t);
  const connection = new EventTarget();
  replace(t, globalThis, "navigator", { connection });
  const { hub, connect, wind } = await setUp(t);
  const bob = await connect("bob");
  for (const [count, tell] of [
    [2, () => page.tell("online")],
    [3, () => page.tellDocument("resume")],
    [4, () => connection.dispatchEvent(new Event("change"))],
  ]) {
    hub.mute = true;
    tell();
    await wind(3 * SECOND - 1);
    assert.equal(bob.state.name, "open");
    await wind(1);
    hub.mute = false;
    await wind(SECOND);
    assert.equal(hub.handshakes.length, count);
  }
});

test("changed estimates of the network are no change of the network", async (t) => {
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

test("a jump of the wall clock by 6 min is a wake, and counts for the connection's age", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  const bob = await connect("bob");
  await wind(MINUTE);
  const before = hub.pings;
  clock.sleep(6 * MINUTE);
  await wind(30 * SECOND);
  assert.equal(hub.pings, before + 1);
  // 20 × 6 min are two hours, in which the timers run for 20 × 30 s.
  for (let times = 0; times < 18; times++) {
    clock.sleep(6 * MINUTE);
    await wind(30 * SECOND);
  }
  assert.equal(bob.stats.handovers, 1);
});

test("a tab that comes to the front pings only if no frame came for 30 s", async (t) => {
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

test("the browser's online, a woken tab and check() each connect at once", async (t) => {
  const page = fakePage(t);
  const { hub, connect, cut, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const wakes = {
    online: () => page.tell("online"),
    visibilitychange: () => page.tellDocument("visibilitychange"),
    resume: () => page.tellDocument("resume"),
    check: () => alice.check(),
  };
  for (const [name, wake] of Object.entries(wakes)) {
    await cut();
    assert.equal(alice.state.name, "waiting");
    wake(); // The clock stands still.
    wake(); // A second call finds the attempt under way.
    await settle();
    assert.equal(alice.state.name, "open", `${name} connects`);
  }
  await wind(SECOND); // The retries that were due are due no more.
  assert.equal(hub.handshakes.length, 5);

  // The first display of a page, and a tab that goes to the background, change nothing.
  await wind(MINUTE);
  await cut();
  page.tell("pageshow", { persisted: false });
  page.show("hidden");
  page.tellDocument("visibilitychange");
  await settle();
  assert.equal(alice.state.name, "waiting");
  page.tell("online");
  await settle();
  assert.equal(alice.state.name, "open");

  await alice.close();
  assert.deepEqual([...page.listeners], []);
  page.tell("online");
  await settle();
  assert.equal(hub.handshakes.length, 6);
});
