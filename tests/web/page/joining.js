// Joining a hub: by hand, from a link, and with a token.

import assert from "node:assert/strict";
import {
  hasStatus,
  hears,
  HUB_URL,
  isFocused,
  isState,
  joinWith,
  LOG,
  open,
  openWay,
  say,
  site,
  status,
  test,
  to,
  token,
  until,
  untilGone,
} from "./setup.js";

test("joining by hand: the address can be shared, and never holds the token", async (t) => {
  const { context, name } = await open(t);
  const page = await context.newPage();
  await page.goto(site.url);
  for (const address of ["https://hub.example", "wss:// host/live", "ws://127.0.0.1:99999/live", "wss://"]) {
    await page.getByLabel("Your session").fill(name("alice"));
    await page.getByLabel("Hub address").fill(address);
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "must look like wss://" }).waitFor();
    await page.reload();
  }
  await page.getByLabel("Hub address").fill(HUB_URL);
  await page.getByLabel("Your session").fill("not a session");
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("alert").filter({ hasText: "Session must be 1 to 128" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "session");
  await page.getByLabel("Your session").fill(name("alice"));
  await token(page).fill("s3cret");
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  await to(page).fill(name("bob"));
  await say(page, "hello");
  await hasStatus(page, "No one is connected");
  const address = new URL(page.url());
  assert.deepEqual(Object.fromEntries(address.searchParams), {
    url: HUB_URL,
    session: name("alice"),
    to: name("bob"),
  });

  // Not even if it is pasted into the address.
  await page.getByRole("button", { name: "Leave" }).click();
  await page.getByLabel("Hub address").fill(`${HUB_URL}?token=s3cret`);
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  await to(page).fill(name("bob"));
  await to(page).blur();
  assert.doesNotMatch(page.url(), /s3cret/);

  // This hub needs no token, so the field may stay empty.
  await page.reload();
  await isState(page, "Token needed");
  await page.getByRole("button", { name: "Join again" }).click();
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  await page.reload();
  await isState(page, "Connected");
  assert.equal(await to(page).inputValue(), name("bob"));

  // The invitation names the hub and the recipient; the guest chooses a session.
  const [guest] = await Promise.all([
    context.waitForEvent("page"),
    page.getByRole("link", { name: "Another session" }).click(),
  ]);
  await guest.getByLabel("Your session").fill(name("bob"));
  await guest.keyboard.press("Enter");
  await isState(guest, "Connected");
  await say(guest, "I am here");
  await hears(page, "I am here");

  await page.getByRole("button", { name: "Leave" }).click();
  assert.equal(new URL(page.url()).searchParams.has("session"), false);
  assert.equal(await token(page).inputValue(), "");
  await untilGone(guest, "gone?");
});

test("an invitation is copied; if the browser refuses, the page says so", async (t) => {
  const { context, enter } = await open(t);
  const page = await enter("alice");
  const button = page.getByRole("button", { name: /Cop/ });
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new DOMException("refused", "NotAllowedError"));
  });
  await button.click();
  await page.locator(`${LOG} .notice`).filter({ hasText: "does not let this page copy" }).waitFor();
  assert.equal(await button.textContent(), "Copy invitation");

  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.evaluate(() => delete navigator.clipboard.writeText);
  await button.click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  const link = await page.getByRole("link", { name: "Another session" }).getAttribute("href");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), link);
});

test("a token that the hub keeps refusing is named as the reason", async (t) => {
  const way = await openWay(t);
  way.refuse();
  const { context, name } = await open(t);
  const page = await context.newPage();
  await page.addInitScript(() => (Math.random = () => 0));
  await joinWith(page, way.url, name("alice"), "s3cret");
  await page.getByText("The hub has refused this token 5 times:").waitFor();
  await page.getByText("it may have expired, or not cover this session.").waitFor();
  await page.getByText(/Next attempt in (2\d|30) s\./).waitFor();
  await isState(page, "Connecting");
  assert.match(way.refused.at(-1), /^sec-websocket-protocol: hub\.v1, bearer\.s3cret\r$/im);
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText("The hub has refused this token 6 times:").waitFor();
  // The page asks for another token, and uses it at once.
  way.restore();
  await token(page).fill("token-2");
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  assert.equal(await page.getByText("refused this token").isVisible(), false);
  assert.equal(await token(page).isVisible(), false);
  await isFocused(page, "to");
});

test("after a reload, a page that joined with a token asks for it and keeps the rest", async (t) => {
  const way = await openWay(t);
  const { context, name } = await open(t);
  const page = await context.newPage();
  await joinWith(page, way.url, name("alice"), "s3cret");
  await isState(page, "Connected");
  await to(page).fill(name("bob"));
  await to(page).blur();
  await page.reload();
  // Only now: before the reload, the page would connect again.
  way.refuse();
  await page.getByText("Enter your token again.").waitFor();
  await isState(page, "Token needed");
  await isFocused(page, "new-token");
  assert.equal(way.refused.length, 0, "there was an attempt that could not succeed");
  await page.getByRole("button", { name: "Join again" }).click();
  await isFocused(page, "token");
  assert.equal(await page.getByLabel("Your session").inputValue(), name("alice"));
  way.restore();
  await page.keyboard.type("s3cret");
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  assert.equal(await to(page).inputValue(), name("bob"));

  await page.reload();
  await isFocused(page, "new-token");
  await page.keyboard.type("s3cret");
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  await isFocused(page, "text");
});

test("a link to a hub that requires a token soon asks for one", async (t) => {
  const way = await openWay(t);
  way.refuse();
  const { context, name, address } = await open(t);
  const page = await context.newPage();
  await page.goto(address("alice", "bob", way.url));
  await isFocused(page, "new-token");
  assert.ok(way.refused.length >= 2, "one refusal is not enough: the hub may be unreachable for a moment");
  await page.getByText("If the hub asks for a token, enter one.").waitFor();
  // Further attempts leave the field alone.
  await page.keyboard.type("s3cret");
  const before = way.refused.length;
  await page.getByRole("button", { name: "Try now" }).click();
  await until(() => way.refused.length > before);
  assert.equal(await token(page).inputValue(), "s3cret");
  await page.getByRole("button", { name: "Join again" }).click();
  assert.deepEqual(Object.fromEntries(new URL(page.url()).searchParams), { url: way.url, to: name("bob") });
});

test("a token in the page's address is removed at once, and used", async (t) => {
  const way = await openWay(t);
  way.refuse();
  const { context, name } = await open(t);
  const page = await context.newPage();
  await page.addInitScript(() => {
    const { replaceState } = history;
    const Socket = WebSocket;
    globalThis.steps = [];
    history.replaceState = function (...args) {
      steps.push(`address ${String(args[2]).includes("s3cret")}`);
      replaceState.apply(this, args);
    };
    globalThis.WebSocket = class extends Socket {
      constructor(...args) {
        steps.push("socket");
        super(...args);
      }
    };
  });
  const query = (parameters) => `${site.url}?${new URLSearchParams(parameters)}`;
  for (const address of [
    query({ url: `${way.url}?token=s3cret&session_id=x`, session: name("alice"), to: "bob" }),
    query({ url: way.url, token: "s3cret", session: name("alice"), to: "bob" }),
  ]) {
    await page.goto("about:blank");
    const refused = way.refused.length;
    await page.goto(address);
    await until(() => way.refused.length > refused);
    assert.match(way.refused.at(-1), /bearer\.s3cret/);
    assert.doesNotMatch(way.refused.at(-1).split("\r\n")[0], /s3cret|session_id=x/);
    assert.equal(page.url(), query({ url: way.url, session: name("alice"), to: "bob" }));
    const steps = await page.evaluate(() => steps);
    assert.equal(steps[0], "address false");
    assert.ok(!steps.includes("address true"));
  }
  // Without a session, the page shows the form, with the token in its field.
  await page.goto(`${site.url}?url=${way.url}?token=s3cret`);
  assert.equal(await token(page).inputValue(), "s3cret");
  assert.doesNotMatch(page.url(), /s3cret/);
});

test("a token is neither readable on the screen nor saved by the browser", async (t) => {
  const { context, name } = await open(t);
  const page = await context.newPage();
  await page.goto(site.url);
  const look = (id) =>
    page.locator(id).evaluate((field) => {
      const { webkitTextSecurity } = getComputedStyle(field);
      return [field.type, field.autocomplete, field.spellcheck, field.name, webkitTextSecurity];
    });
  for (const id of ["#token", "#new-token"]) assert.deepEqual(await look(id), ["text", "off", false, "", "disc"]);
  await joinWith(page, HUB_URL, name("alice"), "s3cret");
  await isState(page, "Connected");
  assert.equal(await page.locator("#token").inputValue(), "");
});

test("a token that can never work is final: the page says why, and accepts another", async (t) => {
  const { context, name } = await open(t);
  const page = await context.newPage();
  await joinWith(page, HUB_URL, name("alice"), "x".repeat(8_001));
  await isState(page, "Token too large");
  await page.getByText("Token too large. It would not get through to the hub. Get one with fewer claims.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Try now" }).isVisible(), false);
  await to(page).fill(name("bob"));
  await say(page, "too late");
  await hasStatus(page, "Not sent: the token is too large.");
  await token(page).fill("short");
  await page.keyboard.press("Enter");
  await isState(page, "Connected");
  await status(page).getByRole("button", { name: "Send again" }).click();
  await hasStatus(page, "No one is connected");
});
