// The documentation is true: the examples of docs/client.md run, and it names the same things as types and code; the first steps
// show what the scripts print; links between the pages lead somewhere.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { WebSocket } from "ws";
import { connect } from "../../web/client/hub.js";
import { Clock, FakeHub } from "../../web/client/testing.js";
import { brokenLinks, sources } from "./links.js";
import { missingTests } from "./named-tests.js";
import { serveHub } from "./served-hub.js";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const docs = read("docs/client.md");
const types = read("web/client/hub.d.ts");

const section = (title) => docs.match(RegExp(`\n## ${title}\n([^]*?)(\n## |$)`))[1];
const firstColumn = (text) =>
  [...text.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name));
const members = (name) =>
  [...types.match(RegExp(`interface ${name}[^{]*\\{([^]*?)\n\\}`))[1].matchAll(/^  (?:readonly )?(\w+)\??:/gm)].map(
    ([, member]) => member,
  );

/** Runs an example as it stands, but for the address and where the package is. */
async function runExample(code, url) {
  const places = { "": "hub.js", "/testing": "testing.js" };
  const program = code
    .replace(/"@websocket-hub\/client(\/testing)?"/g, (_, path = "") =>
      JSON.stringify(new URL(`../../web/client/${places[path]}`, import.meta.url).href),
    )
    .replace(/"wss:[^"]*"/, JSON.stringify(url));
  const prelude = 'globalThis.WebSocket ??= (await import("ws")).WebSocket;\n';
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", prelude + program], {
    cwd: import.meta.dirname,
    timeout: 20_000,
  });
  return stdout;
}

test("the first example works as it stands", async (t) => {
  const hub = await serveHub();
  t.after(() => hub.stop());
  const [, example] = docs.match(/```js\n([^]*?)```/);
  assert.equal(await runExample(example, hub.url), "reached 0 connections\n");
  assert.deepEqual(hub.sent[0].sessions, ["bob", "carol"]);
});

test("the example of a session works as it stands", async (t) => {
  const hub = await serveHub();
  t.after(() => hub.stop());
  const [, connecting] = docs.match(/```js\n(import [^]*?;\n\n.*;\n)/);
  const [, example] = section("Sessions").match(/```js\n([^]*?)```/);
  assert.equal(await runExample(`${connecting}${example}await hub.close();`, hub.url), "alice hello, room\n");
  assert.deepEqual(
    hub.frames.map(({ frame }) => frame.action).filter((action) => action !== "history"),
    ["subscribe", "sendMessage"],
  );
});

test("types, documentation and code name the same of a session", async () => {
  const clock = new Clock();
  const hub = new FakeHub({ clock });
  const client = connect({ url: hub.url, session: "alice", WebSocket: hub.WebSocket, clock });
  const room = client.session("room");
  const all = types.match(/interface Session<[^{]*\{([^]*?)\n\}/)[1].matchAll(/^  (?:readonly )?(\w+)(?=[:(<])/gm);
  const named = [...all].map(([, name]) => name);
  assert.deepEqual(Object.keys(room).sort(), named.sort());
  for (const name of named.filter((name) => name !== "name")) assert.match(section("Sessions"), RegExp(`\`${name}`));
  for (const type of members("SessionEvents")) {
    room.on(type, () => {})();
    assert.ok(section("Sessions").includes(`on("${type}"`), type);
  }
  await client.close();
});

test("the examples of the tests work as they stand", async () => {
  const examples = [...section("Testing your own code").matchAll(/```js\n([^]*?)```/g)].map(([, example]) => example);
  const [first, lost] = examples;
  await runExample(first);
  const listen = 'alice.on("lost", ({ session }) => console.log(session)); await clock.advance(5_000);\n';
  // Its client has to know the history from the beginning.
  const withHistory = first.replace("new FakeHub({ clock })", "new FakeHub({ clock, history: true })");
  assert.equal(await runExample(`${withHistory}${listen}${lost}`), "alice\n");
});

test("types, documentation and code name the same options", () => {
  const documented = firstColumn(section("Options"));
  assert.deepEqual([...documented].sort(), members("HubOptions").sort());
  const given = { url: "wss://hub.example", session: "a", WebSocket };
  for (const name of documented.filter((name) => !["autoConnect", "clock"].includes(name))) {
    // It knows the option, and finds fault with the value.
    const wrong = name === "positions" ? { a: {} } : {};
    assert.throws(() => connect({ ...given, [name]: wrong }), { name: "TypeError", message: RegExp(name) }, name);
  }
  assert.throws(() => connect({ ...given, sendTimeout: 1 }), /sendTimeout/);
});

test("types, documentation and code name the same states, events and numbers", async () => {
  const clock = new Clock();
  const hub = new FakeHub({ clock });
  const client = connect({ url: hub.url, session: "alice", WebSocket: hub.WebSocket, clock });
  const states = [...types.match(/type HubStateName = ([^;]*)/)[1].matchAll(/"(\w+)"/g)].map(([, name]) => name);
  const table = firstColumn(section("States"));
  assert.deepEqual(
    states.filter((name) => !table.includes(name)),
    [],
  );
  const fields = [...members("HubStateFields"), "error"];
  assert.deepEqual(Object.keys(client.state).sort(), fields.sort());
  assert.deepEqual(Object.keys(client.stats).sort(), members("HubStats").sort());
  for (const name of [...fields, ...members("HubStats")]) assert.match(section("States"), RegExp(`\`${name}\``));
  const events = members("HubEvents");
  for (const name of events) {
    assert.ok(firstColumn(section("Receiving")).includes(name), name);
    client.on(name, () => {})();
  }
  await client.close();
});

const firstSteps = read("docs/getting-started.md");

test("the first steps show how an environment is made", async (t) => {
  const root = join(import.meta.dirname, "../..");
  const copy = mkdtempSync(join(tmpdir(), "hub-first-steps-"));
  t.after(() => rmSync(copy, { recursive: true }));
  const variables = readdirSync(join(root, "infra")).filter((name) => name.startsWith("variables"));
  for (const path of ["scripts", "infra/.terraform.lock.hcl", ...variables.map((name) => `infra/${name}`)])
    cpSync(join(root, path), join(copy, path), { recursive: true });

  const [, shown] = firstSteps.match(/\$ scripts\/new-environment\.sh demo\n([^]*?)```/);
  const answers = "chat\neu-west-1\n\n\n\nanonymous\nlocal\n";
  const { AWS_REGION, AWS_DEFAULT_REGION, ...env } = process.env;
  const run = promisify(execFile)("scripts/new-environment.sh", ["demo"], { cwd: copy, env });
  run.child.stdin.end(answers);
  const { stdout, stderr } = await run;
  const printed = stderr + stdout;
  const lines = shown.split("\n").filter((line) => line && line !== "…");
  for (const line of lines) {
    // What is typed is not in the output.
    const [, question] =
      line.match(/^([a-z-]+(?: or [a-z-]+)?(?: \[.*\])?: )(?:chat|eu-west-1|anonymous|local)$/) ?? [];
    assert.ok(printed.includes(question ?? line), line);
  }
  assert.ok(lines.length > 10);
});

test("the first steps show what deploying, rolling back and removing print", () => {
  const printed = {
    "scripts/build.sh": ["building the functions for"],
    "scripts/deploy.sh": ["Apply this? Type yes: ", "This hub is OPEN TO EVERYONE: whoever knows the address"],
    "scripts/lib/plan_summary.py": ["join any session, and subscribe and send to any"],
    "scripts/lib/smoke.py": ["a message reached both clients; the receipt came after"],
    "scripts/rollback.sh": ["Roll back? Type yes: "],
    "scripts/lib/releases.py": [" would return to release ", " runs release ", " runs version "],
    "scripts/destroy.sh": [
      ": every socket is closed, and the tables and the logs are gone.",
      " does not come back: a hub that is deployed again gets another one. Only a custom domain can be used again.",
      "To go on, type the hub's name: ",
    ],
  };
  for (const [path, texts] of Object.entries(printed)) {
    for (const text of texts) assert.ok(read(path).includes(text) && firstSteps.includes(text), `${path}: ${text}`);
  }
});

test("each link in the Markdown files, and each mention of a page in docs/, leads to a file and a heading", () => {
  const files = sources();
  assert.deepEqual(brokenLinks(files), []);
  for (const page of ["README.md", "docs/client.md", "events/README.md"])
    assert.ok(
      files.some(({ path }) => path === page),
      page,
    );
});

test("a link that leads nowhere is found", () => {
  const page =
    "# A page\n## `send` of [a](a.md), twice\n## `send` of [a](a.md), twice\n```md\n# Code\n[c](no.md)\n```\n";
  const good =
    "[1](a.md#send-of-a-twice) [2](a.md#send-of-a-twice-1) [`3`](#here)\n# Here\n[4](https://example.com/no)\n";
  const bad = '[5](c.md) [6](a.md#code) [7](a.md#send) [8](#there) [`9`](../b.md) `[10](no.md)` <img src="b.png">\n';
  const files = [
    { path: "pages/a.md", text: page },
    { path: "pages/b.md", text: good + bad },
    { path: "src/main.rs", text: `// docs/client.md, docs/${"no"}.md#why, https://example.com/docs/d.md` },
  ];
  const there = ["docs/client.md", ...files.map(({ path }) => path)];
  assert.deepEqual(
    brokenLinks(files, (path) => there.includes(path)),
    [
      ...["c.md", "a.md#code", "a.md#send", "#there", "../b.md", "b.png"].map((link) => `pages/b.md: ${link}`),
      `src/main.rs: docs/${"no"}.md#why`,
    ],
  );
});

test("each test that docs/delivery.md names exists", () => {
  const promises = read("docs/delivery.md");
  assert.deepEqual(missingTests(promises, sources()), []);
  const page = `- **Kept.** How.
  - \`faults\`: \`a::b::works\`, \`a::*_works\`,
    \`a::no\`
  - \`system\`: \`a::works\`
  - \`hub\`: \`c::tests::works\`
  - \`client\`: \`d/e.js\`, and \`no.js\` with 50 sessions
  - \`infra/no.hcl\`
`;
  const files = [
    { path: "tests/web/client/d/e.js", text: "" },
    { path: "tests/faults/src/a/b.rs", text: "async fn works() {" },
    { path: "tests/faults/src/a.rs", text: "async fn it_works() {\nfn no_more() {" },
    { path: "functions/hub/src/c/tests.rs", text: "fn works() {" },
  ];
  assert.deepEqual(missingTests(page, files), ["faults a::no", "system a::works", "client no.js"]);
});
