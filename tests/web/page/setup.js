// The page in a browser for each test, the hub behind it, and short names for what a test does and reads on the page.

import assert from "node:assert/strict";
import { WebSocket as PlainWebSocket } from "ws";
import { connect } from "../../../web/client/hub.js";
import { FakeHub } from "../../../web/client/testing.js";
import { launch, proxy, servePage } from "../browser.js";
import { recorded, recordPages } from "../frames.js";

const WebSocket = recorded(PlainWebSocket);
export const { HUB_URL } = process.env;

export let browser, site;

export async function start() {
  site = await servePage();
  browser = await launch();
}

export async function stop() {
  await browser.close();
  await site.stop();
}

export const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

/** A browser window for one test, which fails on any error in its pages and on any request to another server. */
export async function open(t, options = {}) {
  const context = recordPages(await browser.newContext({ viewport: { width: 1100, height: 720 }, ...options }));
  const problems = [];
  context.on("weberror", (error) => problems.push(String(error.error())));
  context.on("console", (message) => {
    if (/Content.Security.Policy|Trusted/i.test(message.text())) problems.push(message.text());
  });
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(site.url).origin) problems.push(`requests ${request.url()}`);
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(problems, []);
  });

  const tag = Math.random().toString(36).slice(2, 8);
  /** No other test uses such a name. */
  const name = (session) => `${session}-${tag}`;
  const address = (session, to, hub = HUB_URL, rooms = []) => {
    const named = { session: name(session), rooms: rooms.map(name).join(" "), to: to ? name(to) : "" };
    return `${site.url}?${new URLSearchParams({ url: hub, ...named })}`;
  };
  const enter = async (session, { to, hub, rooms } = {}) => {
    const page = await context.newPage();
    await page.goto(address(session, to, hub, rooms));
    await isState(page, "Connected");
    return page;
  };
  return { context, name, address, enter };
}

/** A way to the hub, for one test, that can be cut or can refuse handshakes. */
export async function openWay(t) {
  const way = await proxy(HUB_URL);
  t.after(() => way.stop());
  return way;
}

export const isState = (page, text) => page.locator("#state").filter({ hasText: text }).waitFor();

export const isFocused = (page, id) => page.waitForFunction((id) => document.activeElement.id === id, id);

export const token = (page) => page.getByRole("textbox", { name: "Token" });

export const message = (page) => page.getByRole("textbox", { name: "Message" });

export const to = (page) => page.getByRole("textbox", { name: "To", exact: true });

// The messages of the room in view.
export const LOG = ".log:not([hidden])";

export const heard = (page) => page.locator(`${LOG} .in .bubble`).allTextContents();

export const hears = (page, text) => page.locator(`${LOG} .in .bubble`).filter({ hasText: text }).waitFor();

export const status = (page) => page.locator(`${LOG} .out .status`).last();

export const hasStatus = (page, text) => status(page).filter({ hasText: text }).waitFor();

/** Waits until a condition holds, but not for ever: the assertion that follows reports a failure. */
export async function until(isSo) {
  for (const end = Date.now() + 20_000; !(await isSo()) && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Sends until the recipient's connection is gone: the hub may take a moment to notice the disconnect. */
export async function untilGone(page, text) {
  let number = 0;
  const isGone = async () => {
    await say(page, `${text} ${++number}`);
    const ended = status(page).filter({ hasText: /Delivered|No one/ });
    await ended.waitFor();
    return /No one/.test(await ended.textContent());
  };
  await until(isGone);
  assert.match(await status(page).textContent(), /No one is connected/);
}

/** Moves a page into the page cache ("pagehide") or out of it ("pageshow"). Here it stays on the screen. */
export const transition = (page, type) =>
  page.evaluate((type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);

export async function say(page, text) {
  await message(page).fill(text);
  await message(page).press("Enter");
}

/** Fills in the form, the only way to join with a token. */
export async function joinWith(page, url, session, secret) {
  await page.goto(site.url);
  await page.getByLabel("Hub address").fill(url);
  await page.getByLabel("Your session").fill(session);
  await token(page).fill(secret);
  await page.getByRole("button", { name: "Join" }).click();
}

/**
 * A hub without history for one page, which answers each send with a receipt. Returns a function that sends the page a
 * frame.
 */
export async function simulate(page, answer) {
  let send;
  await page.routeWebSocket(/^ws:\/\/simulated\//, (socket) => {
    send = (frame) => socket.send(JSON.stringify(frame));
    socket.onMessage((data) => {
      const { action, ...rest } = JSON.parse(data);
      if (action === "ping") send({ type: "pong" });
      else if (action === "sendMessage") send(answer(rest));
      else send({ type: "error", code: "unknown_action", message: "no such action" });
    });
  });
  return (frame) => send(frame);
}

export const room = (page, label) => page.getByRole("button", { name: label, exact: true });

export const joined = (page, name) => room(page, `${name}, joined`).waitFor();

export async function joinRoom(page, names) {
  await page.getByRole("textbox", { name: "Join a room" }).fill(names);
  await page.keyboard.press("Enter");
}

/** Leaves a room, and waits until the client has unsubscribed, which it does a second later. */
export async function leaveRoom(page, name) {
  const answers = page.locator("#frame-list code").filter({ hasText: '"type":"unsubscribed"' });
  const before = await answers.count();
  await room(page, `Leave ${name}`).click();
  await until(async () => (await answers.count()) > before);
  assert.ok((await answers.count()) > before, "the client has not unsubscribed");
}

export const roomsOf = (page) => new URL(page.url()).searchParams.get("rooms") ?? "";

export const chips = (page) =>
  page
    .getByRole("list", { name: "Rooms" })
    .getByRole("listitem")
    .getByRole("button")
    .evaluateAll((all) => all.map(({ ariaLabel }) => ariaLabel).filter((label) => !label.startsWith("Leave ")));

export async function hasChips(page, ...expected) {
  await until(async () => JSON.stringify(await chips(page)) === JSON.stringify(expected));
  assert.deepEqual(await chips(page), expected);
}

// The texts in view from top to bottom: messages, and the lines between them.
export const lines = (page, which = `${LOG} li`) =>
  page.locator(which).evaluateAll((items) => items.map((item) => (item.querySelector(".bubble") ?? item).textContent));

export const READ_OUT = `${LOG} li:not([aria-live=off])`;

export async function shows(page, expected) {
  await until(async () => JSON.stringify(await lines(page)) === JSON.stringify(expected));
  assert.deepEqual(await lines(page), expected);
}

/** Switches off the page's timeout for earlier messages. */
export const waitsForEarlier = (page) =>
  page.addInitScript(() => (AbortSignal.timeout = () => new AbortController().signal));

export const hasKeptNothing = (page) => page.evaluate(() => localStorage.length === 0);

export const keepNothing = (place) =>
  place.addInitScript(() => {
    Object.defineProperty(globalThis, "localStorage", {
      get() {
        throw new DOMException("denied", "SecurityError");
      },
    });
  });

/** A fake hub for one page, which can lose messages and refuse subscriptions. */
export async function fake(page, clock) {
  const hub = new FakeHub({ history: true, clock });
  await page.routeWebSocket(/^ws:\/\/simulated\//, (socket) => {
    const way = new hub.WebSocket(hub.url + new URL(socket.url()).search);
    const opened = new Promise((resolve) => way.addEventListener("open", resolve));
    way.addEventListener("message", ({ data }) => socket.send(data));
    socket.onMessage((data) => opened.then(() => way.send(data)));
    socket.onClose(() => way.close());
  });
  return hub;
}

/** A client beside the pages, whose messages arrive in the order in which they were sent. */
export function sender(t, session) {
  const hub = connect({ url: HUB_URL, session, WebSocket, ordered: true });
  t.after(() => hub.close());
  const tell = (to, ...texts) => Promise.all(texts.map((text) => hub.send(to, text)));
  return Object.assign(tell, { unstored: (to, text) => hub.send(to, text, { store: false }) });
}

/** Replaces each frame between a page and the hub by what `inwards` or `outwards` returns; null drops it. */
export function intercept(page, { inwards = (frame) => frame, outwards = (frame) => frame }) {
  return page.routeWebSocket(
    ({ href }) => href.startsWith(HUB_URL),
    (socket) => {
      const hub = socket.connectToServer();
      const pass = (to) => (frame) => frame && to.send(JSON.stringify(frame));
      socket.onMessage((data) => pass(hub)(outwards(JSON.parse(data), pass(hub), pass(socket))));
      hub.onMessage((data) => pass(socket)(inwards(JSON.parse(data), pass(socket))));
    },
  );
}
