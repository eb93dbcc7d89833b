// Earlier messages: those that the page shows when it opens.

import assert from "node:assert/strict";
import {
  fake,
  hasKeptNothing,
  hasStatus,
  HUB_URL,
  intercept,
  isState,
  lines,
  open,
  READ_OUT,
  say,
  sender,
  shows,
  simulate,
  site,
  test,
  to,
  until,
  waitsForEarlier,
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
