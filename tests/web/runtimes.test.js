// Whole programs in each runtime: that they end by themselves, and how soon a failure is noticed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { programs } from "./runtimes.js";
import { serveHub } from "./served-hub.js";

const PROGRAM = join(import.meta.dirname, "program.js");

/** Runs the program. Returns its output, its exit code, and how long it ran after the last line. */
async function run({ path, flags, ws }, options) {
  const child = spawn(path, [...flags, PROGRAM, JSON.stringify({ ...options, ws })], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  let saidAt = NaN;
  child.stdout.on("data", (data) => {
    said += data;
    saidAt = performance.now();
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const [code, signal] = await new Promise((resolve) => child.on("close", (...ended) => resolve(ended)));
  clearTimeout(timer);
  return { said: said.trim(), code: signal ?? code, lingered: performance.now() - saidAt };
}

for (const runtime of programs) {
  const { name, missing: skip } = runtime;

  test(`${name}: a program ends by itself after close()`, { skip }, async (t) => {
    const hub = await serveHub();
    t.after(() => hub.stop());
    const { said, code, lingered } = await run(runtime, { url: hub.url });
    assert.match(said, /^closed \d+$/);
    assert.equal(code, 0);
    assert.ok(lingered < 1_000, `it lived on for ${lingered} ms`);
    assert.deepEqual(
      hub.sent.map(({ message }) => message),
      ["hello"],
    );
  });

  test(`${name}: a program ends within 2 s after close(), even if the hub does not answer`, { skip }, async (t) => {
    const hub = await serveHub();
    t.after(() => hub.stop());
    hub.silent = true;
    const { said, code, lingered } = await run(runtime, { url: hub.url });
    assert.match(said, /^closed \d+$/);
    assert.equal(code, 0);
    assert.ok(lingered < 2_000, `it lived on for ${lingered} ms`);
  });

  test(`${name}: if the port is closed, the second attempt comes within 1 s`, { skip }, async () => {
    const server = createServer();
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    const { said, code, lingered } = await run(runtime, { url: `ws://127.0.0.1:${port}/`, closed: true });
    assert.match(said, /^again \d+$/);
    assert.ok(Number(said.split(" ")[1]) < 1_000, said);
    assert.equal(code, 0);
    assert.ok(lingered < 2_000, `it lived on for ${lingered} ms`);
  });
}
