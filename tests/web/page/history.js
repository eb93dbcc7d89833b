// History: earlier messages, those that were missed, and those that are lost.

import assert from "node:assert/strict";
import { proxy } from "../browser.js";
import {
  fake,
  hasStatus,
  hasKeptNothing,
  HUB_URL,
  intercept,
  isState,
  joined,
  joinRoom,
  joinWith,
  keepNothing,
  lines,
  open,
  READ_OUT,
  room,
  say,
  sender,
  shows,
  simulate,
  site,
  test,
  to,
  token,
  waitsForEarlier,
  transition,
  until,
} from "./setup.js";

test("earlier messages are shown apart from new ones", async (t) => {
  const { enter, name } = await open(t);
  const tell = sender(t, name("alice"));
  await tell(name("bob"), "one", "two", "three");
  const bob = await enter("bob");
  await shows(bob, ["Earlier", "one", "two", "three"]);
  assert.equal(await to(bob).inputValue(), "", "no recipient is filled in");
  assert.deepEqual(await lines(bob, READ_OUT), [], "nothing of it is read out");
  await tell(name("bob"), "four");
  await shows(bob, ["Earlier", "one", "two", "three", "New", "four"]);
  await tell(name("bob"), "five");
  await shows(bob, ["Earlier", "one", "two", "three", "New", "four", "five"]);
  assert.deepEqual(await lines(bob, READ_OUT), ["four", "five"]);
  await bob
    .getByRole("button", { name: name("alice") })
    .first()
    .click();
  assert.equal(await to(bob).inputValue(), name("alice"));
});

test("messages that arrive while the page loads earlier ones are shown after them, once", async (t) => {
  const { context, name } = await open(t);
  const tell = sender(t, name("alice"));
  for (const held of ["question", "answer"]) {
    const session = name(held);
    await tell(session, "one", "two");
    const page = await context.newPage();
    await waitsForEarlier(page);
    let release;
    let wasHeld = false;
    const hold = (isIt) => (frame, pass) => {
      if (wasHeld || !isIt(frame)) return frame;
      wasHeld = true;
      release = () => pass(frame);
      return null;
    };
    await intercept(page, {
      outwards: held === "question" ? hold(({ last }) => last) : undefined,
      inwards: held === "answer" ? hold(({ type, messages }) => type === "history" && messages.length) : undefined,
    });
    await page.goto(`${site.url}?${new URLSearchParams({ url: HUB_URL, session, to: session })}`);
    await isState(page, "Connected");
    await say(page, "mine");
    await hasStatus(page, "Delivered");
    await tell(session, "three");
    await tell.unstored(session, "aside");
    await page.locator("#frame-list code").filter({ hasText: "aside" }).waitFor({ state: "attached" });
    assert.deepEqual(await lines(page), ["mine"], "nothing is shown before what came earlier");
    release();
    await shows(page, ["Earlier", "one", "two", "New", "mine", "three", "aside"]);
    await tell(session, "four");
    await shows(page, ["Earlier", "one", "two", "New", "mine", "three", "aside", "four"]);
    // After a reload, a message to one's own session is shown once.
    await page.reload();
    await shows(page, ["Earlier", "one", "two", "mine", "three", "four"]);
    await page.close();
  }
});

test("earlier messages have no hole and no repetition, in whatever order the hub answers", async (t) => {
  const { context, name, address } = await open(t);
  const tell = sender(t, name("alice"));
  // The client's first question is where the session stands; here it reaches the hub after "three" was sent. The
  // page's question is answered before that, and its answer reaches the page before or after the client's.
  for (const session of ["before", "later"]) {
    await tell(name(session), "one", "two");
    const page = await context.newPage();
    await waitsForEarlier(page);
    let own, recent, late, sent;
    let isHeld = true;
    await intercept(page, {
      outwards: (frame, pass) => {
        if (frame.action !== "history" || frame.last || !isHeld) return frame;
        own = () => pass(frame);
        return null;
      },
      inwards: (frame, pass) => {
        if (frame.type === "message" && frame.message === "three") {
          late = () => pass(frame);
          return null;
        }
        if (frame.type !== "history") return frame;
        if (!isHeld) {
          if (recent) setTimeout(recent);
          recent = null;
          return frame;
        }
        sent ??= tell(name(session), "three").then(() => {
          isHeld = false;
          own();
        });
        if (session === "before") return frame;
        recent = () => pass(frame);
        return null;
      },
    });
    await page.goto(address(session));
    await shows(page, ["Earlier", "one", "two", "three"]);
    late();
    await tell(name(session), "four");
    await shows(page, ["Earlier", "one", "two", "three", "New", "four"]);
    await page.close();
  }
});

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

test("of many earlier messages only the newest are shown; many missed ones are shown from the first", async (t) => {
  const { context, address } = await open(t);
  const page = await context.newPage();
  const begin = Date.now();
  let passed = 0;
  const hub = await fake(page, { now: () => begin + passed });
  const session = new URL(address("bob")).searchParams.get("session");
  const tell = (...texts) => {
    for (const text of texts) hub.deliver(null, { id: text, sessions: [session], message: text });
  };
  const many = (what) => Array.from({ length: 105 }, (_, number) => `${what} ${number}`);
  tell(...many("earlier"));
  // For a second, the hub takes the missing message for one that may still be written.
  hub.skip(session);
  tell("newest");
  await page.goto(address("bob", "", "ws://simulated/live"));
  await until(() => hub.frames.some(({ frame }) => frame.last));
  passed = 1_000;
  await shows(page, ["Earlier", ...many("earlier").slice(-49), "newest"]);
  await page.goto("about:blank");

  tell(...many("missed"));
  await page.goto(address("bob", "", "ws://simulated/live"));
  const divider = "While you were away · 105 messages";
  await shows(page, [divider, ...many("missed")]);
  assert.deepEqual(await lines(page, READ_OUT), [divider]);
  const isInView = (text) =>
    page.waitForFunction((text) => {
      const item = [...document.querySelectorAll(".log:not([hidden]) li")].find(({ textContent }) =>
        textContent.includes(text),
      );
      const { top, bottom } = item.getBoundingClientRect();
      const view = document.getElementById("scroller").getBoundingClientRect();
      return top >= view.top - 1 && bottom <= view.bottom;
    }, text);
  await isInView(divider);
  await page.getByRole("button", { name: "New messages" }).click();
  await isInView("missed 104");
  tell("live");
  await shows(page, [divider, ...many("missed"), "New", "live"]);
  await isInView("live");

  // A late message is shown like any other.
  hub.drop();
  tell("late", "after it");
  await shows(page, [divider, ...many("missed"), "New", "live", "late", "after it"]);
});

test("messages missed while the connection was lost are marked so", async (t) => {
  const way = await proxy(HUB_URL);
  t.after(() => way.stop());
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

test("if earlier messages cannot be loaded, the page says so and shows new ones", async (t) => {
  const { context, name, address } = await open(t);
  const tell = sender(t, name("alice"));
  const notice = "What came earlier could not be loaded. Reload the page to try again.";
  for (const [session, answer] of Object.entries({
    failing: (id, post) => post({ type: "error", code: "internal", message: "try again", id }),
    silent: () => {},
  })) {
    const page = await context.newPage();
    await intercept(page, {
      outwards: (frame, _, post) => (frame.last ? void answer(frame.id, post) : frame),
    });
    await page.goto(address(session));
    await isState(page, "Connected");
    await tell(name(session), "live");
    await shows(page, [notice, "live"]);
    await page.close();
  }
});

test("on a hub without history, the page shows and stores nothing of it", async (t) => {
  const { context, name, address } = await open(t);
  const page = await context.newPage();
  const send = await simulate(page);
  await page.goto(address("bob", "", "ws://simulated/live"));
  await isState(page, "Connected");
  const sent_at = new Date().toISOString();
  send({ type: "message", id: "1", from: null, session: name("bob"), message: "live", sent_at });
  await shows(page, ["live"]);
  assert.ok(await hasKeptNothing(page));
});

test("each session of each hub has its own position, and one that was not joined has none", async (t) => {
  const way = await proxy(HUB_URL);
  t.after(() => way.stop());
  const { context, enter, name } = await open(t);
  const tell = sender(t, name("alice"));
  const page = await context.newPage();
  await page.goto(site.url);
  await page.getByLabel("Hub address").fill(HUB_URL);
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("alert").filter({ hasText: "Session must be" }).waitFor();
  assert.ok(await hasKeptNothing(page));

  const [one, other] = [name("bob"), name("carol")];
  const join = async (session) => {
    await page.getByLabel("Your session").fill(session);
    await token(page).fill("s3cret");
    await page.keyboard.press("Enter");
    await isState(page, "Connected");
  };
  const leave = () => page.getByRole("button", { name: "Leave" }).click();
  await join(one);
  await tell(one, "to one");
  await shows(page, ["to one"]);
  await leave();
  await tell(other, "to other");
  await tell(one, "to one, away");
  await join(other);
  await shows(page, ["Earlier", "to other"]);
  await leave();
  await join(one);
  await shows(page, ["Earlier", "to one", "While you were away · 1 message", "to one, away"]);
  await leave();
  await join(other);
  await shows(page, ["Earlier", "to other"]);
  const kept = await page.evaluate(() => Object.entries(localStorage));
  assert.deepEqual(
    kept.map(([key]) => key).sort(),
    [one, other].map((session) => `position ["${HUB_URL}","${session}"]`),
  );
  for (const [, value] of kept) assert.match(value, /^\d+ \w{8}$/);

  // A hub under another address counts as another hub.
  await tell(one, "to one, again");
  await shows(await enter("bob", { hub: way.url }), ["Earlier", "to one", "to one, away", "to one, again"]);
});

test("without a stored position, or with an invalid one, the page starts afresh", async (t) => {
  const { context, enter, name, address } = await open(t);
  const tell = sender(t, name("alice"));
  await tell(name("bob"), "one");
  const page = await context.newPage();
  for (const value of ["12", "99999999999999999999 k3f9q2xa"]) {
    await page.goto(site.url);
    await page.evaluate(
      ([key, value]) => (localStorage[key] = value),
      [`position ["${HUB_URL}","${name("bob")}"]`, value],
    );
    await page.goto(address("bob"));
    await shows(page, ["Earlier", "one"]);
  }
  await keepNothing(context);
  const bob = await enter("bob");
  await shows(bob, ["Earlier", "one"]);
  await tell(name("bob"), "two");
  await shows(bob, ["Earlier", "one", "New", "two"]);
  await bob.reload();
  await shows(bob, ["Earlier", "one", "two"]);
});

test("a client that replaces a failed one continues from its position", async (t) => {
  const way = await proxy(HUB_URL);
  t.after(() => way.stop());
  const { context, name } = await open(t);
  const tell = sender(t, name("alice"));
  await tell(name("bob"), "one");
  const page = await context.newPage();
  await page.addInitScript(() => (Math.random = () => 0));
  await keepNothing(page);
  await joinWith(page, way.url, name("bob"), "s3cret");
  await shows(page, ["Earlier", "one"]);
  await joinRoom(page, name("room-7"));
  await joined(page, name("room-7"));
  await tell(name("room-7"), "in the room");
  await shows(page, ["in the room"]);
  await room(page, "Direct").click();
  way.refuse();
  await token(page).fill("x".repeat(8_001));
  await page.keyboard.press("Enter");
  await isState(page, "Token too large");
  for (const session of ["bob", "room-7"]) await tell(name(session), "two");
  way.restore();
  await token(page).fill("short");
  await page.keyboard.press("Enter");
  const missed = ["While the connection was lost · 1 message", "two"];
  await shows(page, ["Earlier", "one", ...missed]);
  await room(page, `${name("room-7")}, joined, 1 unread`).click();
  await shows(page, ["in the room", ...missed]);
});
