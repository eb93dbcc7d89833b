// The positions that the page stores: up to where it has shown each session.

import assert from "node:assert/strict";
import {
  hasKeptNothing,
  HUB_URL,
  isState,
  joined,
  joinRoom,
  joinWith,
  keepNothing,
  open,
  openWay,
  room,
  sender,
  shows,
  site,
  test,
  token,
} from "./setup.js";

test("each session of each hub has its own position, and one that was not joined has none", async (t) => {
  const way = await openWay(t);
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
  const way = await openWay(t);
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
