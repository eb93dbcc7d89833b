// The client with expiring tokens, against the hub with `auth` at $HUB_URL: in Node with the package ws, and in a
// real browser. TOKEN_SECONDS is how long a token lives, LISTEN_SECONDS how long the clients stay.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { WebSocket as PlainWebSocket } from "ws";
import { connect } from "../../web/client/hub.js";
import { findBrowser, launch, servePage } from "./browser.js";
import { recorded, recordPages } from "./frames.js";

const WebSocket = recorded(PlainWebSocket);
const { HUB_URL } = process.env;
const life = Number(process.env.TOKEN_SECONDS ?? 8);
const stay = Number(process.env.LISTEN_SECONDS ?? 24);
const script = new URL("../../scripts/local.sh", import.meta.url).pathname;
const skip = !HUB_URL && 'HUB_URL is not set: run scripts/local.sh up --auth, and then eval "$(scripts/local.sh env)"';

const tag = Math.random().toString(36).slice(2, 8);
/** Session ids like those of identity providers, which no other test uses. */
const name = (session) => `auth0|${session}+${tag}@example.com`;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

async function token(session, ...options) {
  const { stdout } = await promisify(execFile)(script, ["token", "--session", session, ...options]);
  return stdout.trim();
}

/** What a listener has received by the end. */
function watch(client) {
  const seen = { heard: [], trouble: [], connections: new Set() };
  client.on("message", ({ message }) => seen.heard.push(message));
  client.on("state", ({ name, reason }) => name !== "open" && seen.trouble.push(`${name}: ${reason}`));
  client.on("error", ({ message }) => seen.trouble.push(message));
  client.on("frame", ({ connection }) => seen.connections.add(connection));
  return seen;
}

test("a client whose tokens expire stays connected, and receives each message once", { skip }, async (t) => {
  const [from, to] = [name("sender"), name("listener")];
  // This chance has a token replaced after a quarter of its life, so that a busy machine has time for it.
  const { random } = Math;
  Math.random = () => 5;
  t.after(() => (Math.random = random));
  const short = ["--expires-in", String(life)];
  const listener = connect({
    url: HUB_URL,
    session: to,
    token: () => token(to, ...short, "--mobile"),
    WebSocket,
  });
  const sender = connect({
    url: HUB_URL,
    session: from,
    token: () => token(from, ...short, "--send-to", to),
    WebSocket,
  });
  t.after(() => [listener, sender].forEach((client) => client.close()));
  await Promise.all([listener, sender].map((client) => client.ready()));
  const seen = [listener, sender].map(watch);

  const sent = [];
  const end = Date.now() + stay * 1_000;
  while (Date.now() < end) {
    const { delivered, reachedAll } = await sender.send(to, sent.length);
    assert.ok(reachedAll, `message ${sent.length} was delivered to ${delivered}`);
    sent.push(sent.length);
    await pause(life / 4);
  }
  await pause(0.5); // A repetition would come now.
  assert.deepEqual(seen[0].heard, sent);
  for (const { trouble, connections } of seen) {
    assert.deepEqual(trouble, []);
    // Tokens that are replaced at their end make one more than stay / life. A busy machine, which takes seconds for each
    // token, does not make many more.
    assert.ok(connections.size > stay / life + 1, `${connections.size} connections: tokens were not replaced early`);
  }
});

const noBrowser = skip || (!findBrowser() && "there is no browser: install Chromium, or name one with CHROMIUM");

test(
  "the page presents its token in the subprotocol, asks for another when it is refused or expired, and stores none",
  { skip: noBrowser },
  async (t) => {
    const site = await servePage();
    const browser = await launch();
    t.after(async () => {
      await browser.close();
      await site.stop();
    });
    const session = name("browser");
    const page = await recordPages(await browser.newContext()).newPage();
    const addresses = [];
    page.on("websocket", (socket) => addresses.push(socket.url()));
    const join = async (text) => {
      await page.goto(site.url);
      await page.getByLabel("Hub address").fill(HUB_URL);
      await page.getByLabel("Your session").fill(session);
      await field().fill(text);
      await page.getByRole("button", { name: "Join" }).click();
    };
    const field = () => page.getByRole("textbox", { name: "Token" });
    const isState = (text) => page.locator("#state").filter({ hasText: text }).waitFor();

    await join(await token(session));
    await isState("Connected");
    await page.getByRole("textbox", { name: "To", exact: true }).fill(session);
    await page.getByRole("textbox", { name: "Message" }).fill("note to self");
    await page.keyboard.press("Enter");
    await page.locator(".log .out .status").filter({ hasText: "Delivered to" }).waitFor();
    assert.ok(addresses.length > 0);
    for (const address of addresses) {
      const query = new URL(address).searchParams;
      assert.deepEqual([...query.keys()], ["session_id"]);
      assert.equal(query.get("session_id"), session);
    }

    await join(await token(name("somebody-else")));
    await page.getByText("refused this token").waitFor();
    await page.getByRole("button", { name: "Leave" }).click();

    await join("x".repeat(8_001));
    await page.getByText("Token too large.").waitFor();

    await join("copied over two lines");
    await page.getByRole("alert").filter({ hasText: "Token must be one line" }).waitFor();

    // A link that joins at once has no token, so the page asks for one. It asks again when that expires.
    const enter = async (text) => {
      await field().fill(text);
      await page.keyboard.press("Enter");
    };
    const isFocused = () => page.waitForFunction(() => document.activeElement.id === "new-token");
    const link = `${site.url}?${new URLSearchParams({ url: HUB_URL, session, to: session })}`;
    await page.goto(link);
    await page.getByText("refuses the connection").waitFor();
    await isFocused();
    await enter(await token(session, "--expires-in", "8"));
    await isState("Connected");
    await page.getByRole("textbox", { name: "Message" }).fill("before");
    await page.keyboard.press("Enter");
    await page.locator(".log .out .status").filter({ hasText: "Delivered to" }).waitFor();
    await page.getByText("The token has expired.").waitFor();
    await page.getByRole("textbox", { name: "Message" }).fill("meanwhile");
    await page.keyboard.press("Enter");
    await enter(await token(session));
    await isState("Connected");
    await page.locator(".log .out .status").last().filter({ hasText: "Delivered to" }).waitFor();
    const shown = await page.locator(".log .bubble").allTextContents();
    assert.deepEqual(shown, ["note to self", "before", "meanwhile"], "the session's earlier message comes first");

    // The page does not store the token: after a reload it asks for it, without an attempt.
    const before = addresses.length;
    await page.reload();
    await page.getByText("Enter your token again.").waitFor();
    await isFocused();
    assert.equal(addresses.length, before);
    assert.equal(page.url(), link);
    await enter(await token(session));
    await isState("Connected");
  },
);
