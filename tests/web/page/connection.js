// The connection: cuts, hand-overs, sleep, and what the page shows of its state and its frames.

import assert from "node:assert/strict";
import {
  hasStatus,
  heard,
  hears,
  HUB_URL,
  isState,
  LOG,
  message,
  open,
  openWay,
  say,
  site,
  test,
  token,
  transition,
  untilGone,
} from "./setup.js";

test("after a cut the page reconnects, and sends the messages written meanwhile", async (t) => {
  const ways = { alice: await openWay(t), bob: await openWay(t) };
  const { enter, name } = await open(t);
  const alice = await enter("alice", { to: "bob", hub: ways.alice.url });
  const bob = await enter("bob", { hub: ways.bob.url });
  await say(alice, "before");
  await hears(bob, "before");
  for (const page of [alice, bob]) await page.evaluate(() => (globalThis.neverReloaded = true));

  ways.alice.cut();
  ways.bob.cut();
  await isState(alice, "Reconnecting");
  await isState(bob, "Reconnecting");
  await alice.getByText("The connection is lost.").waitFor();
  await say(alice, "meanwhile 1");
  await say(alice, "meanwhile 2");
  await hasStatus(alice, "Waits for the connection");

  // Bob first: the hub delivers only to connections that are open.
  ways.bob.restore();
  await isState(bob, "Connected");
  ways.alice.restore();
  await isState(alice, "Connected");
  await hears(bob, "meanwhile 1");
  await hears(bob, "meanwhile 2");
  await hasStatus(alice, `Delivered to ${name("bob")}`);
  assert.equal(await alice.getByText("The connection is lost.").isVisible(), false);
  for (const page of [alice, bob]) assert.equal(await page.evaluate(() => globalThis.neverReloaded), true);
  assert.deepEqual((await heard(bob)).sort(), ["before", "meanwhile 1", "meanwhile 2"]);
});

test("across hand-overs, each of 200 messages is received once", async (t) => {
  const { context, name } = await open(t);
  const page = await context.newPage();
  await page.goto(site.url);
  const result = await page.evaluate(
    async ([url, sender, receiver]) => {
      const { connect } = await import("/client/hub.js");
      // Tokens of 12 s, which this chance has replaced after 3 s: hand-overs are frequent, and a busy machine has time for them.
      const token = () => ({ token: "x", expiresAt: Date.now() + 12_000 });
      Math.random = () => 5;
      const from = connect({ url, session: sender, token });
      const to = connect({ url, session: receiver, token });
      const counts = new Map();
      const connections = new Set();
      const trouble = [];
      let raw = 0; // Deliveries, and messages from the history in their place.
      to.on("message", ({ message, missed }) => {
        counts.set(message, (counts.get(message) ?? 0) + 1);
        raw += missed;
      });
      to.on("frame", ({ data, direction, connection }) => {
        if (direction !== "in") return;
        connections.add(connection);
        raw += JSON.parse(data).type === "message";
      });
      await Promise.all([from.ready(), to.ready()]);
      for (const client of [from, to]) {
        client.on("state", ({ name, reason }) => name !== "open" && trouble.push(`${name}: ${reason}`));
        client.on("error", ({ message }) => trouble.push(message));
      }
      const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      const sends = [];
      for (let n = 0; n < 200; n++) {
        sends.push(from.send(receiver, n));
        await pause(60);
      }
      const receipts = await Promise.all(sends);
      for (let tries = 0; counts.size < 200 && tries < 200; tries++) await pause(50);
      await pause(300); // Time for a repetition.
      const { duplicates } = to.stats;
      const seen = [...trouble];
      await Promise.all([from.close(), to.close()]);
      return {
        unreceived: receipts.filter(({ reachedAll }) => !reachedAll).length,
        received: counts.size,
        repeated: [...counts.values()].filter((count) => count !== 1).length,
        connections: connections.size,
        raw,
        dropped: raw - duplicates,
        trouble: seen,
      };
    },
    [HUB_URL, name("sender"), name("receiver")],
  );
  const { connections, raw, ...rest } = result;
  assert.deepEqual(rest, { unreceived: 0, received: 200, repeated: 0, dropped: 200, trouble: [] });
  assert.ok(connections >= 3, `messages came over ${connections} connections: there were no hand-overs`);
  assert.ok(raw > 200, "no message came over both connections, so there was nothing to drop");
});

test("without a network the page says so, and reconnects when the network is back", async (t) => {
  const way = await openWay(t);
  const { context, enter } = await open(t);
  const page = await enter("alice", { to: "bob", hub: way.url });
  await context.setOffline(true);
  way.cut();
  await isState(page, "Offline");
  await page.getByText("There is no network.").waitFor();
  await say(page, "meanwhile");
  await hasStatus(page, "Waits for the connection");
  await page.waitForTimeout(1_500);
  await isState(page, "Offline");
  assert.equal(await token(page).isVisible(), false, "no token helps here");
  way.restore();
  await context.setOffline(false);
  await isState(page, "Connected");
  await hasStatus(page, "No one is connected");
});

test("a page restored from the page cache, or thawed, keeps its content and reconnects", async (t) => {
  const { context, enter, name } = await open(t);
  const page = await enter("alice", { to: "bob" });
  const bob = await enter("bob", { to: "alice" });
  await say(page, "before");
  await hears(bob, "before");
  await message(page).fill("a draft");

  await transition(page, "pagehide");
  await isState(page, "Paused");
  await untilGone(bob, "asleep?");
  await transition(page, "pageshow");
  await isState(page, "Connected");
  assert.equal(await message(page).inputValue(), "a draft");
  assert.equal(await page.locator(`${LOG} .out .bubble`).textContent(), "before");
  await say(bob, "awake?");
  await hears(page, "awake?");

  const devtools = await context.newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  await say(bob, "frozen?");
  await hasStatus(bob, `Delivered to ${name("alice")}`);
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await hears(page, "frozen?");
  await isState(page, "Connected");
  assert.equal(await message(page).inputValue(), "a draft");
});

test("an unreachable hub is named, and Try now connects at once", async (t) => {
  const way = await openWay(t);
  way.cut();
  const { context, address } = await open(t);
  const page = await context.newPage();
  // A wait of 30 s, so that only the button can have caused the next attempt.
  await page.addInitScript(() => (Math.random = () => 60));
  await page.goto(address("alice", "", way.url));
  await page.getByText(`${new URL(way.url).host} refuses the connection, or cannot be reached.`).waitFor();
  await page.getByText(/Next attempt in (2\d|30) s\./).waitFor();
  await page.evaluate(() => (Math.random = () => 0.5));
  way.restore();
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByRole("status").filter({ hasText: "Connected" }).waitFor({ timeout: 15_000 });
});

test("the panel shows raw frames in both directions", async (t) => {
  const { enter } = await open(t);
  const page = await enter("alice", { to: "alice" });
  await page.getByRole("button", { name: "Frames" }).click();
  await say(page, "<i>raw</i>");
  // A frame that begins so: an answer with the session's history holds messages too.
  for (const beginning of [/^\{"action":"sendMessage"/, /^\{"type":"message"/, /^\{"type":"receipt"/]) {
    await page.locator("#frames code").filter({ hasText: beginning }).first().waitFor();
  }
  assert.equal(await page.locator("#frames i").count(), 0);
  await page.getByRole("button", { name: "Clear" }).click();
  // A frame may have come since.
  assert.equal(await page.locator("#frames code").filter({ hasText: "raw" }).count(), 0);
});

test("the panel shows the round-trip time once it is measured", async (t) => {
  const { enter } = await open(t);
  const page = await enter("alice", { to: "alice" });
  await page.getByRole("button", { name: "Frames" }).click();
  await page
    .locator("#stats")
    .filter({ hasText: /^ping \d+ ms$/ })
    .waitFor();
});
