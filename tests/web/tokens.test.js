// The client and tokens that end, against the hub with `auth` at $HUB_URL: in Node with the package ws, and in a real browser.
// TOKEN_SECONDS is how long a token lives, LISTEN_SECONDS how long the clients stay.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import WebSocket from "ws";
import { HubClient } from "../../web/hub-client.js";
import { findBrowser, launch, servePage } from "./browser.js";

const { HUB_URL } = process.env;
const life = Number(process.env.TOKEN_SECONDS ?? 8);
const stay = Number(process.env.LISTEN_SECONDS ?? 24);
const script = new URL("../../scripts/local.sh", import.meta.url).pathname;
const skip = !HUB_URL && 'HUB_URL is not set: run scripts/local.sh up --auth, and then eval "$(scripts/local.sh env)"';

const tag = Math.random().toString(36).slice(2, 8);
/** Names as identity providers give them, which nobody else at this hub has. */
const name = (session) => `auth0|${session}+${tag}@example.com`;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

async function token(session, ...options) {
  const { stdout } = await promisify(execFile)(script, ["token", "--session", session, ...options]);
  return stdout.trim();
}

/** What a listener has heard and seen by the end. */
function watch(client) {
  const seen = { heard: [], trouble: [], connections: new Set() };
  client.addEventListener("message", ({ message }) => seen.heard.push(message));
  for (const type of ["reconnecting", "error", "refused", "failed"]) {
    client.addEventListener(type, (event) => seen.trouble.push(event.reason ?? event.error.message));
  }
  client.addEventListener("frame", ({ connection }) => seen.connections.add(connection));
  return seen;
}

test("a client whose tokens end stays connected, and hears each message once", { skip }, async (t) => {
  const [from, to] = [name("sender"), name("listener")];
  const short = ["--expires-in", String(life)];
  const listener = new HubClient(HUB_URL, {
    session: to,
    token: () => token(to, ...short, "--mobile"),
    WebSocket,
  });
  const sender = new HubClient(HUB_URL, {
    session: from,
    token: () => token(from, ...short, "--send-to", to),
    WebSocket,
  });
  t.after(() => [listener, sender].forEach((client) => client.close()));
  const seen = [listener, sender].map(watch);
  await Promise.all(
    [listener, sender].map((client) => new Promise((resolve) => client.addEventListener("open", resolve))),
  );

  const sent = [];
  const end = Date.now() + stay * 1_000;
  while (Date.now() < end) {
    const { delivered, failed } = await sender.send(to, sent.length);
    assert.ok(delivered >= 1 && failed === 0, `message ${sent.length} was delivered to ${delivered}`);
    sent.push(sent.length);
    await pause(life / 4);
  }
  await pause(0.5); // A repetition would come now.
  assert.deepEqual(seen[0].heard, sent);
  for (const { trouble, connections } of seen) {
    assert.deepEqual(trouble, []);
    assert.ok(
      connections.size >= stay / life,
      `${connections.size} connections: tokens have ended, and nothing followed`,
    );
  }
});

const noBrowser = skip || (!findBrowser() && "there is no browser: install Chromium, or name one with CHROMIUM");

test(
  "a browser brings its token in the subprotocol, and the page says when it is turned away",
  { skip: noBrowser },
  async (t) => {
    const site = await servePage();
    const browser = await launch();
    t.after(async () => {
      await browser.close();
      await site.stop();
    });
    const session = name("browser");
    const page = await browser.newPage();
    const addresses = [];
    page.on("websocket", (socket) => addresses.push(socket.url()));
    const join = async (text) => {
      await page.goto(site.url);
      await page.getByLabel("Hub address").fill(HUB_URL);
      await page.getByLabel("Your session").fill(session);
      await page.getByLabel("Token").fill(text);
      await page.getByRole("button", { name: "Join" }).click();
    };

    await join(await token(session));
    await page.getByRole("status").filter({ hasText: "Connected" }).waitFor();
    await page.getByRole("textbox", { name: "To" }).fill(session);
    await page.getByRole("textbox", { name: "Message" }).fill("note to self");
    await page.keyboard.press("Enter");
    await page.locator("#log .out .status").filter({ hasText: "Delivered to" }).waitFor();
    assert.ok(addresses.length > 0);
    for (const address of addresses) {
      const query = new URL(address).searchParams;
      assert.deepEqual([...query.keys()], ["session_id"]);
      assert.equal(query.get("session_id"), session);
    }

    await join(await token(name("somebody-else")));
    await page.getByText("turned this token away").waitFor();
    await page.getByRole("button", { name: "Leave" }).click();

    await join("x".repeat(8_001));
    await page.getByText("Token too large.").waitFor();

    await join("copied over two lines");
    await page.getByRole("alert").filter({ hasText: "Token must be one line" }).waitFor();

    // A link that joins at once has no token to join with.
    await page.goto(`${site.url}?${new URLSearchParams({ url: HUB_URL, session })}`);
    const again = async (text) => {
      await page.getByRole("button", { name: "Join again" }).click();
      await page.getByLabel("Token").fill(text);
      await page.keyboard.press("Enter");
    };
    await again(await token(session, "--expires-in", "6"));
    await page.getByRole("status").filter({ hasText: "Connected" }).waitFor();
    await page.getByText("The token has ended.").waitFor();
    await again(await token(session));
    await page.getByRole("status").filter({ hasText: "Connected" }).waitFor();
  },
);
