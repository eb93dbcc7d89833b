// Rooms: the sessions that the page subscribes to.

import assert from "node:assert/strict";
import {
  fake,
  hasChips,
  hasStatus,
  heard,
  hears,
  HUB_URL,
  isFocused,
  isState,
  joined,
  joinRoom,
  joinWith,
  keepNothing,
  leaveRoom,
  lines,
  LOG,
  open,
  openWay,
  READ_OUT,
  room,
  roomsOf,
  say,
  sender,
  shows,
  site,
  test,
  to,
  token,
  transition,
  until,
} from "./setup.js";

test("rooms are received over one connection, and each is shown by itself", async (t) => {
  const { enter, name } = await open(t);
  const [seven, eight] = [name("room-7"), name("room-8")];
  const alice = await enter("alice");
  const bob = await enter("bob", { rooms: ["room-7", "room-8"] });
  const eve = await enter("eve", { rooms: ["room-8"] });
  await joinRoom(alice, seven);
  for (const page of [alice, bob]) await joined(page, seven);
  await joined(eve, eight);
  await isFocused(alice, "text");
  assert.equal(await to(alice).inputValue(), seven, "who joins a room writes to it");
  assert.equal(await to(bob).inputValue(), seven, "a link opens its first room");

  await say(alice, "Hello, room");
  await hasStatus(alice, `Delivered to ${seven} (2)`);
  await hears(bob, "Hello, room");
  assert.match(await bob.locator(`${LOG} .in .head`).textContent(), new RegExp(`^${name("alice")} to ${seven} `));
  await say(bob, "Hello, Alice");
  await hears(alice, "Hello, Alice");
  assert.deepEqual(await heard(alice), ["Hello, Alice"], "one's own is not shown twice");

  // Messages in a room that is not in view are counted.
  await joinRoom(eve, seven);
  await joined(eve, seven);
  await say(bob, "one");
  await say(bob, "two");
  await hears(eve, "two");
  await room(eve, "Direct").click();
  await say(bob, "three");
  await hasChips(eve, "Direct", `${eight}, joined`, `${seven}, joined, 1 unread`);
  assert.equal(await eve.title(), `(1) ${name("eve")} · Hub`);
  await to(bob).fill(`${seven} ${eight}`);
  await say(bob, "to both");
  await hasChips(eve, "Direct", `${eight}, joined, 1 unread`, `${seven}, joined, 2 unread`);
  await hasChips(bob, "Direct", `${seven}, joined`, `${eight}, joined`);
  await room(bob, `${eight}, joined`).click();
  await hears(bob, "to both");
  await room(bob, `${seven}, joined`).click();
  await room(eve, `${seven}, joined, 2 unread`).click();
  await hasChips(eve, "Direct", `${eight}, joined, 1 unread`, `${seven}, joined`);
  assert.equal(await room(eve, `${seven}, joined`).getAttribute("aria-current"), "true");
  assert.deepEqual(await heard(eve), ["Hello, room", "Hello, Alice", "one", "two", "three", "to both"]);
  await room(eve, `${eight}, joined, 1 unread`).click();
  assert.deepEqual(await heard(eve), ["to both"]);
  await room(eve, "Direct").click();
  assert.deepEqual(await heard(eve), []);
  assert.equal(await eve.title(), `${name("eve")} · Hub`);

  // In a hidden tab no room is in view.
  const hide = (hidden) =>
    eve.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await hide(true);
  await to(bob).fill(name("eve"));
  await say(bob, "Eve?");
  await hasChips(eve, "Direct, 1 unread", `${eight}, joined`, `${seven}, joined`);
  assert.equal(await eve.title(), `(1) ${name("eve")} · Hub`);
  await hide(false);
  await hasChips(eve, "Direct", `${eight}, joined`, `${seven}, joined`);
  assert.equal(await eve.title(), `${name("eve")} · Hub`);

  // After leaving a room, a page receives none of its messages. It unsubscribes a moment later.
  await leaveRoom(alice, seven);
  await hasChips(alice, "Direct");
  assert.equal(roomsOf(alice), "");
  await to(bob).fill(`${seven} ${name("alice")}`);
  await say(bob, "Has she left?");
  await hasStatus(bob, `Delivered to ${seven} (2) and ${name("alice")}`);
  await hears(alice, "Has she left?");
  const frames = await alice.locator("#frame-list li").allTextContents();
  assert.ok(
    frames.every((frame) => frame.includes("connection 1")),
    "another connection was made",
  );
});

test("rooms are part of the address and of the invitation, whatever their names", async (t) => {
  const { enter, name } = await open(t);
  const odd = ["auth0|64af", "ann+test@example.com", "a,b", "a&b=c", "#x", "100%25"].map(name);
  const page = await enter("alice");
  await joinRoom(page, ` ${odd.join("  ")} ${odd[0]} ${name("alice")}`);
  for (const one of odd) await joined(page, one);
  await page.reload();
  await isState(page, "Connected");
  await hasChips(page, "Direct", ...odd.map((one) => `${one}, joined`));
  assert.equal(roomsOf(page), odd.join(" "));
  await room(page, `${odd[2]}, joined`).click();
  await page.reload();
  await isState(page, "Connected");
  assert.equal(await to(page).inputValue(), odd[2], "what was in view still is");
  const link = page.getByRole("link", { name: "Another session" });
  const [guest] = await Promise.all([page.context().waitForEvent("page"), link.click()]);
  await guest.getByLabel("Your session").fill(name("bob"));
  await guest.keyboard.press("Enter");
  await joined(guest, odd[2]);
  await say(guest, "I am here");
  await hears(page, "I am here");

  // One's own session is no room. An invalid name is reported at the field.
  await joinRoom(page, name("alice"));
  await isFocused(page, "text");
  assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
  assert.equal(roomsOf(page), odd.join(" "));
  await page.getByRole("button", { name: "Join room" }).click();
  await page.getByRole("alert").filter({ hasText: "Say which room" }).waitFor();
  await isFocused(page, "room");
  await joinRoom(page, "not*a*room");
  await page.getByRole("alert").filter({ hasText: "A session is named with" }).waitFor();
  await isFocused(page, "room");
  await page.goto(page.url().replace(/rooms=[^&]*/, "rooms=%22wrong%22"));
  await page.getByRole("alert").filter({ hasText: "A session is named with" }).waitFor();
  await isState(page, "Connected");
  await hasChips(page, "Direct");
  await page.getByRole("button", { name: "Leave" }).click();
  assert.equal(new URL(page.url()).searchParams.has("rooms"), false);
});

test("a message is shown in the room it goes to, and a room in view is the recipient", async (t) => {
  const { enter, name } = await open(t);
  const [seven, eight] = [name("room-7"), name("room-8")];
  const page = await enter("alice", { rooms: ["room-7", "room-8"], to: "bob" });
  const bob = await enter("bob", { rooms: ["room-7"] });
  for (const one of [page, bob]) await joined(one, seven);
  assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
  await to(page).fill(`${name("bob")} ${eight}`);
  await say(page, "to the room as well");
  await hasStatus(page, "Delivered");
  await hasChips(page, "Direct", `${seven}, joined`, `${eight}, joined`);
  assert.equal(await room(page, `${eight}, joined`).getAttribute("aria-current"), "true");
  await room(page, `${seven}, joined`).click();
  assert.equal(await to(page).inputValue(), seven);

  // A sender's name in a room is a button that writes to that session alone.
  await say(bob, "Anyone?");
  await hears(page, "Anyone?");
  await page.getByRole("button", { name: name("bob"), exact: true }).click();
  assert.equal(await to(page).inputValue(), name("bob"));
  await say(page, "aside");
  await hasStatus(page, `Delivered to ${name("bob")}`);
  assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
  assert.deepEqual(await lines(page), ["aside"]);
  await hasChips(bob, "Direct, 2 unread", `${seven}, joined`);
  await room(page, `${seven}, joined`).click();
  assert.deepEqual([await to(page).inputValue(), await lines(page)], [seven, ["Anyone?"]]);
  await room(page, "Direct").click();
  assert.equal(await to(page).inputValue(), name("bob"));
});

test("each room shows its own earlier and missed messages", async (t) => {
  const way = await openWay(t);
  const { enter, name } = await open(t);
  const tell = sender(t, name("alice"));
  const [seven, eight] = [name("room-7"), name("room-8")];
  await tell(seven, "old");
  const page = await enter("bob", { hub: way.url, rooms: ["room-7", "room-8"] });
  await shows(page, ["Earlier", "old"]);
  await joined(page, eight);
  way.cut();
  await hasChips(page, "Direct", `${seven}, joining`, `${eight}, joining`);
  await tell(eight, "one", "two");
  way.restore();
  await hasChips(page, "Direct", `${seven}, joined`, `${eight}, joined, 2 unread`);
  await shows(page, ["Earlier", "old"]);
  await tell(seven, "live");
  await shows(page, ["Earlier", "old", "New", "live"]);
  await room(page, `${eight}, joined, 2 unread`).click();
  const missed = ["While the connection was lost · 2 messages", "one", "two"];
  await shows(page, missed);
  assert.deepEqual(await lines(page, READ_OUT), missed.slice(0, 1));

  // In the page cache, it is the page that is away.
  await transition(page, "pagehide");
  await isState(page, "Paused");
  await tell(eight, "cached");
  await transition(page, "pageshow");
  await shows(page, [...missed, "While you were away · 1 message", "cached"]);

  // Each session has a position in the room, also if it joins the room by hand.
  await page.goto(site.url);
  await tell(seven, "while away");
  const again = await enter("bob", { hub: way.url });
  await joinRoom(again, seven);
  await shows(again, ["Earlier", "old", "live", "While you were away · 1 message", "while away"]);
  await shows(await enter("carol", { hub: way.url, rooms: ["room-7"] }), ["Earlier", "old", "live", "while away"]);
  await room(again, `Leave ${seven}`).click();
  await joinRoom(again, seven);
  const all = ["Earlier", "old", "live", "while away"];
  await shows(again, all);
  await leaveRoom(again, seven);
  await tell(seven, "between");
  await joinRoom(again, seven);
  await shows(again, [...all, "between"]);
});

test("each room keeps its scroll position", async (t) => {
  const { context, address, name } = await open(t);
  const page = await context.newPage();
  const hub = await fake(page);
  const tell = (one, ...texts) => {
    for (const text of texts) hub.deliver(null, { id: text, sessions: [name(one)], message: text });
  };
  await page.goto(address("bob", "", "ws://simulated/live", ["room-7", "room-8"]));
  await joined(page, name("room-8"));
  tell("room-7", ...Array.from({ length: 50 }, (_, number) => `line ${number}`));
  await hears(page, "line 49");
  const scrollTop = () => page.locator("#scroller").evaluate((scroller) => scroller.scrollTop);
  const newer = page.getByRole("button", { name: "New messages" });
  const end = await scrollTop();
  await room(page, "Direct").click();
  tell("room-7", "while elsewhere");
  await room(page, `${name("room-7")}, joined, 1 unread`).click();
  assert.ok((await scrollTop()) > end, "the end was in view, and is again");

  await page.locator("#scroller").evaluate((scroller) => {
    scroller.scrollTop = 300;
    return new Promise((resolve) => scroller.addEventListener("scroll", resolve, { once: true }));
  });
  await room(page, `${name("room-8")}, joined`).click();
  tell("room-8", "short");
  await hears(page, "short");
  await room(page, `${name("room-7")}, joined`).click();
  assert.deepEqual([await scrollTop(), await newer.isVisible()], [300, false]);
  tell("room-8", "elsewhere");
  await room(page, `${name("room-8")}, joined, 1 unread`).click();
  await room(page, `${name("room-7")}, joined`).click();
  assert.equal(await scrollTop(), 300);
  await room(page, "Direct").click();
  tell("room-7", "newest");
  await hasChips(page, "Direct", `${name("room-7")}, joined, 1 unread`, `${name("room-8")}, joined`);
  assert.equal(await newer.isVisible(), false);
  await room(page, `${name("room-7")}, joined, 1 unread`).click();
  assert.equal(await scrollTop(), 300);
  await newer.click();
  await newer.waitFor({ state: "hidden" });
  assert.ok((await scrollTop()) > end);
});

test("messages missing from a room are reported in that room", async (t) => {
  const { context, address, name } = await open(t);
  const page = await context.newPage();
  const hub = await fake(page);
  const tell = (...texts) => {
    for (const text of texts) hub.deliver(null, { id: text, sessions: [name("room-7")], message: text });
  };
  tell("one");
  const link = address("bob", "", "ws://simulated/live", ["room-7"]);
  await page.goto(link);
  await shows(page, ["Earlier", "one"]);
  await page.goto("about:blank");
  tell("two", "three");
  hub.forget();
  tell("four");
  await page.goto(link);
  const lost = "Up to 2 messages are missing here: no longer kept by the hub.";
  await shows(page, ["While you were away · 1 message", lost, "four"]);
  await room(page, "Direct").click();
  await shows(page, []);

  // After joining again, a late message is shown like any other.
  await leaveRoom(page, name("room-7"));
  await joinRoom(page, name("room-7"));
  await shows(page, ["Earlier", "four"]);
  hub.drop();
  tell("late", "after it");
  await shows(page, ["Earlier", "four", "New", "late", "after it"]);
});

test("a refused subscription is explained in its room, and can be attempted again", async (t) => {
  const { context, address, name } = await open(t);
  const page = await context.newPage();
  const hub = await fake(page);
  const said = page.getByRole("status").filter({ hasText: "You are not in" });
  const isSaid = (text) => said.filter({ hasText: `You are not in ${name("room-7")}: ${text}` }).waitFor();
  const again = page.getByRole("button", { name: "Try again" });
  const count = () => hub.frames.filter(({ frame }) => frame.action === "subscribe").length;

  hub.maySubscribe = (_, session) => session !== name("room-7");
  await page.goto(address("alice", "", "ws://simulated/live", ["room-7", "room-8"]));
  await hasChips(page, "Direct", `${name("room-7")}, refused`, `${name("room-8")}, joined`);
  await isSaid("your token does not allow it.");
  assert.ok((await page.locator("#room-state").boundingBox()).height > 10, "the explanation is not in view");
  assert.equal(await page.locator(".notice").count(), 0);
  await room(page, `${name("room-8")}, joined`).click();
  await again.waitFor({ state: "hidden" });
  await said.waitFor({ state: "detached" });
  await room(page, `${name("room-7")}, refused`).click();
  const before = count();
  await again.click();
  await until(() => count() > before);
  await isSaid("your token does not allow it.");
  hub.maySubscribe = () => true;
  await again.click();
  await joined(page, name("room-7"));
  await again.waitFor({ state: "hidden" });

  await page.goto(address("alice", "", "ws://simulated/live"));
  await joinRoom(page, Array.from({ length: 100 }, (_, number) => name(`other-${number}`)).join(" "));
  await joinRoom(page, name("room-7"));
  await isSaid("the hub allows 100 rooms at most. Leave one, and try again.");
  await room(page, `Leave ${name("other-50")}`).click();
  await room(page, `${name("room-7")}, refused`).click();
  await again.click();
  await joined(page, name("room-7"));

  hub.subscriptions = false;
  await page.goto(address("alice", "", "ws://simulated/live", ["room-7"]));
  await isSaid("this hub has no rooms, as its subscriptions are switched off.");
  await isState(page, "Connected");
  hub.deliver("bob", { id: "1", sessions: [name("alice")], message: "still here" });
  await room(page, "Direct, 1 unread").click();
  await hears(page, "still here");
});

test("entering a token again keeps the rooms", async (t) => {
  const { context, name } = await open(t);
  const tell = sender(t, name("alice"));
  const page = await context.newPage();
  await keepNothing(page);
  await joinWith(page, HUB_URL, name("bob"), "s3cret");
  await isState(page, "Connected");
  await joinRoom(page, name("room-7"));
  await joined(page, name("room-7"));
  await token(page).waitFor({ state: "hidden" });
  await page.reload();
  await isState(page, "Token needed");
  await hasChips(page, "Direct", `${name("room-7")}, joining`);
  await page.getByRole("button", { name: "Join again" }).click();
  await token(page).fill("s3cret");
  await page.keyboard.press("Enter");
  await joined(page, name("room-7"));
  await tell(name("room-7"), "hello");
  await shows(page, ["hello"]);
});
