// Messages missed while the page or its connection was away, and those that are lost.

import assert from "node:assert/strict";
import { intercept, isState, lines, open, openWay, READ_OUT, sender, shows, site, test, transition } from "./setup.js";

test("messages missed while the page was closed stand under a line that says so, and only that line is read out", async (t) => {
  const { enter, name } = await open(t);
  const tell = sender(t, name("alice"));
  const first = await enter("bob");
  // The page stores its position even if no message came.
  await first.waitForFunction(() => localStorage.length === 1);
  await first.close();
  await tell(name("bob"), "one");
  const second = await enter("bob");
  await shows(second, ["While you were away · 1 message", "one"]);
  assert.deepEqual(await lines(second, READ_OUT), ["While you were away · 1 message"]);
  await tell(name("bob"), "two");
  await shows(second, ["While you were away · 1 message", "one", "New", "two"]);
  await second.reload();
  await shows(second, ["Earlier", "one", "two"]);
});

test("messages missed while the connection was lost are marked so", async (t) => {
  const way = await openWay(t);
  const { enter, name } = await open(t);
  const tell = sender(t, name("alice"));
  await tell(name("bob"), "before");
  const bob = await enter("bob", { hub: way.url });
  await tell(name("bob"), "live");
  const before = ["Earlier", "before", "New", "live"];
  await shows(bob, before);
  way.cut();
  await isState(bob, "Reconnecting");
  await tell(name("bob"), "one", "two");
  way.restore();
  const missed = ["While the connection was lost · 2 messages", "one", "two"];
  await shows(bob, [...before, ...missed]);
  await tell(name("bob"), "again");
  await shows(bob, [...before, ...missed, "New", "again"]);

  // In the page cache, it is the page that is away.
  await transition(bob, "pagehide");
  await isState(bob, "Paused");
  await tell(name("bob"), "cached");
  await transition(bob, "pageshow");
  const cached = ["While you were away · 1 message", "cached"];
  await shows(bob, [...before, ...missed, "New", "again", ...cached]);

  await bob.reload();
  await shows(bob, ["Earlier", "before", "live", "one", "two", "again", "cached"]);
});

test("messages lost for good are reported, with their greatest possible number", async (t) => {
  const { context, enter, name, address } = await open(t);
  const tell = sender(t, name("alice"));
  const first = await enter("bob");
  await tell(name("bob"), "one", "two");
  await shows(first, ["one", "two"]);
  await first.close();
  await tell(name("bob"), "three", "four", "five", "six", "seven");

  /** Answers as a hub that has kept fewer messages. */
  const lose = (lost) => {
    let isFirst = true;
    return (frame) => {
      if (frame.type !== "history") return frame;
      const messages = frame.messages.filter(({ message }) => !lost.includes(message));
      const complete = frame.complete && !isFirst;
      if (frame.complete) isFirst = false;
      return { ...frame, complete, messages };
    };
  };
  for (const [lost, kept, text] of [
    [["three", "four", "five"], ["six", "seven"], "Up to 3 messages are missing here: no longer kept by the hub."],
    [["three"], ["four", "five", "six", "seven"], "A message is missing here: no longer kept by the hub."],
  ]) {
    const page = await context.newPage();
    const position = await page.goto(site.url).then(() => page.evaluate(() => ({ ...localStorage })));
    await intercept(page, { inwards: lose(lost) });
    await page.goto(address("bob"));
    const divider = `While you were away · ${kept.length} messages`;
    await shows(page, ["Earlier", "one", "two", divider, text, ...kept]);
    assert.deepEqual(await lines(page, READ_OUT), [divider, text]);
    await page.evaluate((position) => Object.assign(localStorage, position), position);
    await page.close();
  }

  const page = await context.newPage();
  await page.goto(site.url);
  await page.evaluate(() => {
    for (const key of Object.keys(localStorage)) localStorage[key] = "5 0ld3p0ch";
  });
  await page.goto(address("bob"));
  await shows(page, [
    "While you were away · 7 messages",
    "Messages may be missing here: the hub’s history has begun anew.",
    ...["one", "two", "three", "four", "five", "six", "seven"],
  ]);
});

test("a message not received in time is reported, and found after a reload", async (t) => {
  const { context, name, address } = await open(t);
  const tell = sender(t, name("alice"));
  const page = await context.newPage();
  let isDeaf = false;
  await intercept(page, {
    inwards: (frame) => (isDeaf && (frame.type === "history" || frame.message === "two") ? null : frame),
  });
  await page.goto(address("bob"));
  await isState(page, "Connected");
  await tell(name("bob"), "one");
  await shows(page, ["one"]);
  isDeaf = true;
  await tell(name("bob"), "two", "three");
  const gap = "A message is missing here: not received in time. Reload the page to look again.";
  await shows(page, ["one", gap, "three"]);
  isDeaf = false;
  await page.reload();
  await shows(page, ["Earlier", "one", "two", "three"]);
});
