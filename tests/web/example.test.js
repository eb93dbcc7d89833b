// The first example of the README, as it stands: from the installed package, in Node and in a browser, against a hub.

import assert from "node:assert/strict";
import * as esbuild from "esbuild";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { findBrowser, launch } from "./browser.js";
import { recordPages } from "./frames.js";
import { install, run } from "./installed.js";

const { HUB_URL } = process.env;
assert.ok(HUB_URL, 'start a hub (scripts/local.sh up) and run eval "$(scripts/local.sh env)"');

let folder;
const undo = [];
before(async () => {
  ({ folder } = await install({ after: (run) => undo.push(run) }, { ws: "ws" }));
});
after(() => Promise.all(undo.map((run) => run())));

/** With the hub's address, and a session of its own. */
async function example() {
  const readme = await readFile(join(folder, "node_modules/@websocket-hub/client/README.md"), "utf8");
  const code = /```js\n(.*?)```/s.exec(readme)[1];
  assert.ok(code.trim().split("\n").length <= 10, "it is ten lines");
  const other = await readFile(join(import.meta.dirname, "../../README.md"), "utf8");
  assert.ok(other.includes(code), "the README of the hub has the same");
  const found = [...code.matchAll(/"wss:[^"]*"/g)];
  assert.equal(found.length, 1, "one address is to be replaced");
  return code.replace(found[0][0], JSON.stringify(HUB_URL)).replace(/"(alice|room-7)"/g, `"$1-${Date.now()}"`);
}

function assertSaid(lines) {
  assert.deepEqual(lines.sort(), [/alice-\d+: hello/.exec(lines[0])?.[0], "reached 1 connections"]);
}

test("the example runs in Node", async () => {
  await writeFile(join(folder, "example.js"), await example());
  const frames = JSON.stringify(new URL("frames.js", import.meta.url));
  const sockets = `import WebSocket from "ws"; import { recorded } from ${frames}; globalThis.WebSocket = recorded(globalThis.WebSocket ?? WebSocket);`;
  await writeFile(join(folder, "ws.js"), sockets);
  const { stdout, stderr } = await run(process.execPath, ["--import", "./ws.js", "example.js"], { cwd: folder });
  assert.equal(stderr, "");
  assertSaid(stdout.trim().split("\n"));
});

const noBrowser = !findBrowser() && "there is no browser: install Chromium, or name one with CHROMIUM";
test("the example runs in a browser, as a bundle", { skip: noBrowser }, async (t) => {
  const stdin = { contents: await example(), resolveDir: folder };
  const built = await esbuild.build({
    stdin,
    absWorkingDir: folder,
    bundle: true,
    format: "esm",
    minify: true,
    write: false,
  });
  const browser = await launch();
  t.after(() => browser.close());
  const page = await recordPages(await browser.newContext()).newPage();
  const lines = [];
  page.on("console", (message) => lines.push(message.text()));
  page.on("pageerror", (error) => lines.push(String(error)));
  await page.addScriptTag({ type: "module", content: `${built.outputFiles[0].text}; document.title = "done";` });
  await page.waitForFunction(() => document.title === "done");
  assertSaid(lines);
});
