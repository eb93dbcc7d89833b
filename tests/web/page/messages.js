// Messages: how they are sent and shown, and what the page says of their receipts.

import assert from "node:assert/strict";
import {
  hasStatus,
  heard,
  hears,
  HUB_URL,
  isState,
  LOG,
  open,
  say,
  simulate,
  status,
  test,
  to,
  until,
} from "./setup.js";

test("two tabs talk, the sender sees the receipt, and a third session hears nothing", async (t) => {
  const { enter, name } = await open(t);
  const alice = await enter("alice", { to: "bob" });
  const bob = await enter("bob");
  const eve = await enter("eve");

  await say(alice, "Hello, Bob");
  await hears(bob, "Hello, Bob");
  await hasStatus(alice, `Delivered to ${name("bob")}`);
  assert.equal(await bob.locator(`${LOG} .in .name`).textContent(), name("alice"));

  // Without a recipient of its own, a page answers the sender.
  await say(bob, "Hello, Alice");
  await hears(alice, "Hello, Alice");

  // A second tab of the same session receives the messages too.
  const second = await enter("bob");
  await to(alice).fill(`${name("bob")} ${name("nobody")}`);
  await say(alice, "All of you");
  await Promise.all([bob, second].map((page) => hears(page, "All of you")));
  await hasStatus(alice, `Delivered to ${name("bob")} (2). No one is connected as ${name("nobody")}`);

  assert.deepEqual(await heard(bob), ["Hello, Bob", "All of you"]);
  assert.deepEqual(await heard(eve), []);
});

test("a session id may hold any visible character that the hub accepts, and is shown as it is", async (t) => {
  const { enter, name } = await open(t);
  const odd = ["auth0|64af", "ann+test@example.com", "a,b", "a&b=c", "#x", "<b>", "../x", "o'brien@x", "100%25"];
  const sender = await enter(odd[0]);
  await to(sender).fill(odd.map(name).join("  "));
  for (const own of odd) {
    const page = await enter(own, { to: odd[0] });
    assert.equal(await page.locator("#me").textContent(), name(own));
    assert.equal(await page.title(), `${name(own)} · Hub`);
    assert.equal(await to(page).inputValue(), name(odd[0]));
    await say(page, `from ${own}`);
    await hears(sender, `from ${own}`);
    await sender.getByRole("button", { name: name(own), exact: true }).click();
    assert.equal(await to(sender).inputValue(), name(own));
    assert.equal(new URL(sender.url()).searchParams.get("to"), name(own));
    const invitation = await page.getByRole("link", { name: "Another session" }).getAttribute("href");
    assert.deepEqual(Object.fromEntries(new URL(invitation).searchParams), { url: HUB_URL, to: name(own) });
    await page.reload();
    await isState(page, "Connected");
    assert.equal(await page.locator("#me").textContent(), name(own));
    await page.close();
  }

  // A comma is part of the session id.
  await to(sender).fill(`${name("bob")}, ${name("a,b")}`);
  await say(sender, "by habit");
  await hasStatus(sender, `No one is connected as “${name("bob")},” and “${name("a,b")}”`);
  assert.match(await sender.locator(`${LOG} .out .head`).last().textContent(), /^to “bob-\w+,” and “a,b-\w+” /);

  const address = new URL(sender.url());
  assert.equal(address.searchParams.get("to"), `${name("bob")}, ${name("a,b")}`);
  await sender.goto(address.href.replace(/to=.*/, `to=${name("bob")}%20${name("carol")}`));
  await isState(sender, "Connected");
  await say(sender, "to two");
  await hasStatus(sender, `No one is connected as ${name("bob")} and ${name("carol")}`);
});

test("a message to one's own session is not shown to its sender twice", async (t) => {
  const { enter, name } = await open(t);
  const tabs = [await enter("self", { to: "self" }), await enter("self")];
  await say(tabs[0], "note to self");
  await hears(tabs[1], "note to self");
  await hasStatus(tabs[0], `Delivered to ${name("self")} (2)`);
  assert.deepEqual(await heard(tabs[0]), []);
});

test("markup in a message is text", async (t) => {
  const { enter } = await open(t);
  const alice = await enter("alice", { to: "bob" });
  const bob = await enter("bob");
  const markup = "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b> &amp; \u202eoverride";
  await say(alice, markup);
  await hears(bob, "bold");
  assert.deepEqual(await heard(bob), [markup]);
  for (const page of [alice, bob]) {
    assert.equal(await page.locator(`${LOG} .bubble`).textContent(), markup);
    assert.equal(await page.locator(`${LOG} .bubble *`).count(), 0);
  }
});

test("a message that is not text is shown as JSON", async (t) => {
  const { enter, name } = await open(t);
  const bob = await enter("bob");
  await bob.evaluate(
    async ([url, session, to]) => {
      const { connect } = await import("/client/hub.js");
      const hub = connect({ url, session });
      await hub.send(to, { temperature: [21.5, "<i>"] });
      await hub.close();
    },
    [HUB_URL, name("sensor"), name("bob")],
  );
  await hears(bob, "temperature");
  assert.deepEqual(JSON.parse((await heard(bob))[0]), { temperature: [21.5, "<i>"] });
});

test("a failed send says why, and can be repeated", async (t) => {
  const { enter } = await open(t);
  const page = await enter("alice", { to: "bob" });
  await say(page, "x".repeat(40_000));
  await hasStatus(page, "Not sent: it is too large.");
  await status(page).getByRole("button", { name: "Send again" }).click();
  await hasStatus(page, "Not sent: it is too large.");
  await say(page, "short");
  await hasStatus(page, "No one is connected");
});

test("only a message that reached every session gets the tick; otherwise the page names the others", async (t) => {
  const { context, address } = await open(t);
  const page = await context.newPage();
  const count = (delivered, failed = 0, rest = {}) => ({ delivered, gone: 0, failed, ...rest });
  const receipts = {
    all: { bob: count(1), carol: count(2) },
    absent: { bob: count(1), dave: count(0) },
    missed: { bob: count(1, 2), erin: count(0, 1) },
    unread: { bob: count(1), carol: count(3, 0, { complete: false }) },
    nobody: { dave: count(0) },
  };
  await simulate(page, ({ id, message }) => {
    const sessions = Object.entries(receipts[message]).map(([session, counts]) => ({ session, ...counts }));
    const sum = (name) => sessions.reduce((total, counts) => total + counts[name], 0);
    const complete = sessions.every((session) => session.complete !== false) ? undefined : false;
    return { type: "receipt", id, ...count(sum("delivered"), sum("failed"), { complete }), sessions };
  });
  await page.goto(address("alice", "bob", "ws://simulated/live"));
  await isState(page, "Connected");
  const marks = {};
  for (const [text, words] of Object.entries({
    all: "Delivered to bob and carol (2)",
    absent: "Delivered to bob. No one is connected as dave",
    missed: "Delivered to bob. Not reached: bob (2) and erin (1)",
    unread: "Delivered to bob and carol (3). Perhaps not every connection was reached as carol",
    nobody: "No one is connected as dave",
  })) {
    await say(page, text);
    await hasStatus(page, words);
    assert.equal(await status(page).textContent(), words);
    marks[text] = await status(page).evaluate((line) => getComputedStyle(line, "::before").content.split('"')[1]);
  }
  assert.deepEqual(marks, { all: "✓", absent: "◐", missed: "◐", unread: "◐", nobody: "○" });
});

test("the page recognises copies of its own latest messages, and forgets those no longer shown", async (t) => {
  const { context, name, address } = await open(t);
  const page = await context.newPage();
  const ids = [];
  const send = await simulate(page, ({ id }) => {
    ids.push(id);
    return { type: "receipt", id, delivered: 1, gone: 0, failed: 0, sessions: [] };
  });
  await page.goto(address("alice", "alice", "ws://simulated/live"));
  await isState(page, "Connected");
  await page.evaluate(async () => {
    for (let n = 0; n < 1_002; n++) {
      document.getElementById("text").value = `note ${n}`;
      document.getElementById("compose").requestSubmit();
      // The client refuses sends while too many are unanswered.
      const isSending = () => document.querySelector(".status[data-state=sending]");
      while (n % 20 === 0 && isSending()) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  await until(() => ids.length === 1_002);
  assert.equal(ids.length, 1_002);
  for (const [id, message] of [ids.at(-1), ids[2], ids[1], ids[0]].entries()) {
    send({
      type: "message",
      id: message,
      from: name("alice"),
      message: `echo ${id}`,
      sent_at: new Date().toISOString(),
    });
  }
  await hears(page, "echo 3");
  assert.deepEqual(await heard(page), ["echo 2", "echo 3"]);
});

test("times of other days have a date, also once a day has passed", async (t) => {
  const { context, address } = await open(t, { locale: "en-GB" });
  const page = await context.newPage();
  await page.clock.install();
  const send = await simulate(page);
  await page.goto(address("alice", "", "ws://simulated/live"));
  await isState(page, "Connected");
  const tell = (id, sentAt) => send({ type: "message", id, from: "bob", message: id, sent_at: sentAt });
  tell("old", "2001-09-11T12:00:00Z");
  tell("new", new Date().toISOString());
  await hears(page, "new");
  const times = () => page.locator(`${LOG} time`).allTextContents();
  assert.match((await times())[0], /^11 Sept? 2001, \d\d:\d\d$/);
  assert.match((await times())[1], /^\d\d:\d\d$/);
  await page.clock.fastForward("24:01:00");
  await page
    .locator(`${LOG} time`)
    .last()
    .filter({ hasText: /^\d+ \w+( \d{4})?, \d\d:\d\d$/ })
    .waitFor();
});
