// Runs the client's tests in every runtime that is installed, and reports in TAP.
//
//   node run.js [--runtime NAME]... [filter]
//
//   --runtime  only this one; --help lists them
//   filter     only the tests whose name contains it

import * as esbuild from "esbuild";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { findBrowser, launch } from "./browser.js";
import { startRelay } from "./relay.js";
import { programs } from "./runtimes.js";

const MAIN = join(import.meta.dirname, "main.js");
// The whole suite in one runtime.
const TIME_LIMIT = 10 * 60_000;

const host = programs.find(({ ws }) => ws);
const runtimes = [
  {
    ...host,
    id: "memory",
    name: `${host.name.replace(/ with .*/, "")}, in memory`,
    ws: false,
    memory: true,
    start: program,
  },
  ...programs.map((runtime) => ({ ...runtime, start: program })),
  { id: "chromium", name: "Chromium", start: browser, missing: findBrowser() ? undefined : "no browser is installed" },
];

const usage = `node run.js [--runtime NAME]... [filter]      (NAME: ${runtimes.map(({ id }) => id).join(", ")})`;
const { chosen, filter } = readArguments();

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      options: { runtime: { type: "string", multiple: true, default: [] }, help: { type: "boolean", short: "h" } },
      allowPositionals: true,
    });
    const unknown = values.runtime.find((id) => !runtimes.some((runtime) => runtime.id === id));
    if (unknown !== undefined) throw new Error(`there is no runtime ${unknown}`);
    if (!values.help) return { chosen: values.runtime, filter: positionals.join(" ") };
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    process.exit(2);
  }
}

/** Runs the suite in a process. Calls `line` with each line of output, and returns what went wrong, or undefined. */
async function program({ path, flags, ...configuration }, line) {
  const { stop, url } = await startRelay();
  const child = spawn(path, [...flags, MAIN, JSON.stringify({ ...configuration, relay: url, filter })], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), TIME_LIMIT);
  createInterface({ input: child.stdout }).on("line", line);
  const [code, signal] = await new Promise((resolve) => {
    child.on("error", (error) => resolve([error.message]));
    child.on("close", (...ended) => resolve(ended));
  });
  clearTimeout(timer);
  await stop();
  // 1: tests have failed.
  if (code !== 0 && code !== 1) return `it ended with ${signal ?? code}`;
}

/** The suite as one file for a page. */
async function bundle() {
  const { outputFiles } = await esbuild.build({
    entryPoints: [MAIN],
    absWorkingDir: import.meta.dirname,
    bundle: true,
    format: "esm",
    write: false,
    sourcemap: "inline",
    // The browser has no module for assertions, and its own WebSocket.
    alias: { "node:assert/strict": "@jspm/core/nodelibs/assert/strict" },
    external: ["ws"],
  });
  return outputFiles[0].contents;
}

/** The same in a page. */
async function browser(runtime, line) {
  const files = {
    "/": ["text/html", '<!doctype html><meta charset="utf-8"><script type="module" src="suite.js"></script>'],
    "/suite.js": ["text/javascript", await bundle()],
  };
  const server = createServer(({ url }, response) => {
    const [type, content] = files[url] ?? ["text/plain", ""];
    response.writeHead(files[url] ? 200 : 404, { "content-type": type }).end(content);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { stop, url } = await startRelay();
  const opened = await launch();
  try {
    const page = await opened.newPage();
    // Other types are the browser's own.
    page.on("console", (message) => message.type() === "log" && line(message.text()));
    const crashed = new Promise((resolve) => page.on("crash", () => resolve("the page has crashed")));
    const failed = new Promise((resolve) => page.on("pageerror", (error) => resolve(error.stack)));
    await page.addInitScript(`globalThis.suiteConfiguration = ${JSON.stringify({ ...runtime, relay: url, filter })}`);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const over = page.waitForFunction("globalThis.suiteIsOver", null, { timeout: TIME_LIMIT });
    return await Promise.race([over.then(() => undefined), crashed, failed]);
  } catch (error) {
    return error.message;
  } finally {
    await opened.close();
    await stop();
    server.close();
  }
}

const totals = { pass: 0, fail: 0, skipped: 0 };
let count = 0;

console.log("TAP version 13");
for (const { missing, start, ...runtime } of runtimes) {
  if (chosen.length && !chosen.includes(runtime.id)) continue;
  let { name } = runtime;
  if (missing) {
    totals.skipped++;
    console.log(`ok ${++count} - ${name}: the client's tests # SKIP ${missing}`);
    continue;
  }
  if (start === browser) {
    const opened = await launch();
    name = `Chromium ${opened.version()}`;
    await opened.close();
  }
  const started = Date.now();
  console.log(`# --- ${name}`);
  const counts = { pass: 0, fail: 0, skipped: 0 };
  let isOver = false;
  const problem = await start(runtime, (line) => {
    const [, is, rest, skip] = /^(ok|not ok) \d+ - (.*?)( # SKIP .*)?$/.exec(line) ?? [];
    if (is) {
      counts[skip ? "skipped" : is === "ok" ? "pass" : "fail"]++;
      console.log(`${is} ${++count} - ${name}: ${rest}${skip ?? ""}`);
    } else if (/^# (pass|fail|skipped) \d+$/.test(line)) {
      // Its totals come at its end.
      isOver = true;
    } else {
      console.log(line);
    }
  }).catch((error) => error.message);
  const ran = counts.pass + counts.fail + counts.skipped;
  const wrong = problem ?? (!isOver ? "it has ended before its tests" : !ran && !filter && "it has run no test");
  if (wrong) {
    counts.fail++;
    console.log(`not ok ${++count} - ${name}: ${wrong.replaceAll("\n", "\n    ")}`);
  }
  for (const kind of Object.keys(totals)) totals[kind] += counts[kind];
  console.log(`# ${name}: ${counts.pass} of ${ran} passed in ${((Date.now() - started) / 1_000).toFixed(1)} s`);
}
console.log(`1..${count}`);
for (const [kind, number] of Object.entries(totals)) console.log(`# ${kind} ${number}`);
if (filter && !totals.pass && !totals.fail) {
  console.error(`no test that ran has "${filter}" in its name`);
  process.exit(2);
}
process.exit(totals.fail ? 1 : 0);
