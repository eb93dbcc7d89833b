// The page with a keyboard, on a phone, and with a screen reader.

import AxeBuilder from "@axe-core/playwright";
import assert from "node:assert/strict";
import {
  fake,
  hasChips,
  hasStatus,
  hears,
  HUB_URL,
  isFocused,
  isState,
  joined,
  joinRoom,
  joinWith,
  LOG,
  message,
  open,
  openWay,
  room,
  say,
  site,
  test,
  to,
  token,
} from "./setup.js";

test("everything can be done from the keyboard", async (t) => {
  const { enter, name } = await open(t);
  const page = await enter("alice");
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.ariaLabel);
  assert.equal(await focused(), "to", "the first field to fill in has the focus");
  await page.keyboard.type("not*a*session");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "text");
  await page.keyboard.type("first");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "A session is named with" }).waitFor();
  assert.equal(await focused(), "to");
  await page.keyboard.press("Control+A");
  await page.keyboard.type(name("nobody"));
  await page.keyboard.press("Enter");
  await hasStatus(page, "No one is connected");
  assert.equal(await page.locator(`${LOG} .out .bubble`).textContent(), "first\nsecond");
  assert.equal(await focused(), "text");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Send");
  const reached = new Set();
  for (let presses = 0; presses < 12; presses++) {
    await page.keyboard.press("Shift+Tab");
    reached.add(await focused());
  }
  for (const id of ["text", "to", "scroller", "room", "Direct", "leave", "show-frames", "invite", "another"]) {
    assert.ok(reached.has(id), `${id} cannot be reached`);
  }
  // Rooms are joined, chosen and left.
  const one = name("room-7");
  await page.locator("#room").focus();
  await page.keyboard.type(one);
  await page.keyboard.press("Enter");
  await joined(page, one);
  assert.equal(await focused(), "text");
  await room(page, "Direct").focus();
  await page.keyboard.press("Space");
  assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), `${one}, joined`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await hasChips(page, "Direct");
  assert.equal(await focused(), "Direct");
});

test("on a phone, the enter key is labelled as Send, and the message field grows with its lines", async (t) => {
  const { enter } = await open(t, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  const page = await enter("alice", { to: "bob" });
  assert.equal(await message(page).getAttribute("enterkeyhint"), "send");
  // As in a browser without the style `field-sizing`.
  await message(page).evaluate((field) => (field.style.fieldSizing = "fixed"));
  const height = () => message(page).evaluate((field) => field.clientHeight);
  const one = await height();
  await message(page).pressSequentially("one");
  for (const line of ["two", "three"]) {
    await message(page).press("Shift+Enter");
    await message(page).pressSequentially(line);
  }
  assert.equal(await height(), 3 * one);
  await message(page).fill("line\n".repeat(100));
  assert.ok((await height()) < 10 * one, "the field grows without a limit");
  await message(page).fill("short");
  await message(page).press("Enter");
  await hasStatus(page, "No one is connected");
  assert.equal(await height(), one);

  // The last message stays in view when the log becomes smaller.
  const isAtEnd = () =>
    page.waitForFunction(() => {
      const { scrollHeight, scrollTop, clientHeight } = document.getElementById("scroller");
      return scrollHeight > clientHeight && scrollHeight - scrollTop - clientHeight <= 1;
    });
  for (let n = 0; n < 12; n++) await say(page, `line ${n}`);
  await hasStatus(page, "No one is connected");
  await isAtEnd();
  await page.getByRole("button", { name: "Frames" }).click();
  await isAtEnd();
});

test("a keypress that ends the composition of a character sends nothing", async (t) => {
  const { enter } = await open(t);
  const page = await enter("alice", { to: "bob" });
  await message(page).fill("にほん");
  // Chrome and Firefox set the first, Safari the second.
  for (const composing of [{ isComposing: true }, { keyCode: 229 }]) {
    await message(page).dispatchEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...composing });
  }
  assert.equal(await page.locator(`${LOG} .out`).count(), 0);
  await message(page).press("Enter");
  await hasStatus(page, "No one is connected");
});

test("an error is tied to its field, and a lost connection is announced once", async (t) => {
  const way = await openWay(t);
  const { context, enter } = await open(t);
  const form = await context.newPage();
  await form.goto(site.url);
  const marked = () =>
    form.evaluate(() =>
      Object.fromEntries(
        [...document.querySelectorAll("#join-form input")].map(({ id, ariaInvalid, attributes }) => [
          id,
          [ariaInvalid, attributes.getNamedItem("aria-describedby")?.value],
        ]),
      ),
    );
  const fine = ["false", undefined];
  const wrong = ["true", "join-error"];
  await form.getByRole("button", { name: "Join" }).click();
  assert.deepEqual(await marked(), { url: wrong, session: fine, token: fine });
  await form.getByLabel("Hub address").fill(HUB_URL);
  await form.keyboard.press("Enter");
  assert.deepEqual(await marked(), { url: fine, session: wrong, token: fine });
  await form.getByLabel("Your session").fill("alice");
  await token(form).fill("två ord");
  await form.keyboard.press("Enter");
  assert.deepEqual(await marked(), { url: fine, session: fine, token: wrong });
  assert.equal(await form.evaluate(() => document.activeElement.id), "token");

  const page = await enter("alice", { to: "bob", hub: way.url });
  // A screen reader announces every change within a status that was there before.
  await page.evaluate(() => {
    globalThis.announced = [];
    const line = document.getElementById("trouble-text");
    if (line.role !== "status" || !line.checkVisibility()) return;
    new MutationObserver(() => announced.push(line.textContent.trim())).observe(line, {
      childList: true,
      subtree: true,
    });
  });
  way.cut();
  await page.getByText("The connection is lost.").waitFor();
  await page.waitForTimeout(2_500); // Several attempts.
  await page.getByRole("button", { name: "Try now" }).click();
  way.restore();
  await isState(page, "Connected");
  assert.deepEqual(await page.evaluate(() => announced), [
    "The connection is lost. What you write now is sent when it is back.",
    "",
  ]);
});

for (const [look, options] of Object.entries({
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
})) {
  test(`axe reports no violation: ${look}`, async (t) => {
    const way = await openWay(t);
    const { context, address, enter } = await open(t, options);
    const hub = await fake(context);
    const check = async (page, what) => {
      const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
      const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${what}: ${id} at ${html}`));
      assert.deepEqual(found, []);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${what} is ${overflow} px too wide`);
    };

    const page = await context.newPage();
    await page.goto(site.url);
    await page.getByRole("button", { name: "Join" }).click();
    await check(page, "joining");

    await joinWith(page, HUB_URL, "alice", "x".repeat(8_001));
    await isState(page, "Token too large");
    await check(page, "failed");

    const alice = await enter(`a-name-that-is-rather-long-${look}`, { hub: way.url });
    await check(alice, "empty");
    const bob = await enter(`bob-${look}`, { to: `a-name-that-is-rather-long-${look}` });
    await say(bob, "Hello");
    await say(bob, "https://example.com/" + "a-long-path/".repeat(20));
    await hears(alice, "a-long-path");
    await say(alice, "Hello to you");
    await hasStatus(alice, "Delivered");
    await say(alice, "x".repeat(40_000));
    await hasStatus(alice, "Not sent");
    await alice.getByRole("button", { name: "Frames" }).click();
    await to(alice).fill("");
    await say(alice, "to whom?");
    way.cut();
    await isState(alice, "Reconnecting");
    await check(alice, "in trouble");
    await say(bob, "Are you still there?");
    await hasStatus(bob, "No one is connected");
    way.restore();
    await hears(alice, "Are you still there?");
    await check(alice, "back");
    await alice.reload();
    await hears(alice, "Are you still there?");
    await say(bob, "Good");
    await hears(alice, "Good");
    await check(alice, "joined again");
    const rooms = ["room-7", `a-room-with-quite-a-long-name-${"x".repeat(60)}`, "room-8"].map(
      (one) => `${one}-${look}`,
    );
    await joinRoom(alice, rooms.join(" "));
    for (const one of rooms) await joined(alice, one);
    await to(bob).fill(rooms[1]);
    await say(bob, "Hello, room");
    await alice.getByText("1", { exact: true }).waitFor();
    await check(alice, "in rooms");
    hub.subscriptions = false;
    const dave = await context.newPage();
    await dave.goto(address("dave", "", "ws://simulated/live", ["room-7"]));
    await dave.getByText("switched off").waitFor();
    await check(dave, "refused");
    way.cut();
    const guest = await context.newPage();
    await guest.goto(address("guest", "bob", way.url));
    await isFocused(guest, "new-token");
    await check(guest, "asked for a token");
  });
}
