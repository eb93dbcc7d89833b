// docs/asyncapi.yaml is true: it is well formed, describes no damaged frame, agrees with docs/protocol.md and the types, and
// describes every frame that the tests exchanged, if HUB_FRAMES names the folder with the recorded frames.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { FakeHub } from "../../web/client/testing.js";
import { MALFORMED, testHub } from "./damaged.js";
import { damaged, document, faults, kindsOf, messages, options, parse, uses } from "./protocol.js";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

test("the document is valid AsyncAPI, and each reference leads somewhere", () => {
  assert.deepEqual(faults(), null);
  JSON.stringify(document, (key, value) => {
    if (key === "$ref") {
      const found = value
        .slice(2)
        .split("/")
        .reduce((node, name) => node?.[name], document);
      assert.ok(found, `${value} leads nowhere`);
    }
    return value;
  });
});

test("each message has examples, which match that message and no other, and show each of its keys", () => {
  for (const message of messages) {
    const { name, channel, by, payload, examples } = message;
    for (const { payload: example } of examples) {
      assert.deepEqual(kindsOf({ channel, by, text: JSON.stringify(example) }), [message], JSON.stringify(example));
    }
    const keys = options(payload).filter((option) => !option.includes("="));
    assert.deepEqual(
      keys.filter((key) => !examples.some(({ payload }) => uses(payload, key))),
      [],
      name,
    );
  }
});

test("no damaged frame matches a message", () => {
  const taken = damaged.filter((frame) => kindsOf(frame).length > 0);
  assert.deepEqual(
    taken.map(({ what, text }) => `${what}: ${text.slice(0, 200)}`),
    [],
  );
});

const hub = new FakeHub({ history: true });
testHub("FakeHub", () => new hub.WebSocket(`${hub.url}?session_id=bob`), { except: "notation" });

/** Every key of a message, and those of what it is made of. */
const keysOf = ({ payload }) => [...options(payload, { all: true }).filter((option) => !option.includes("="))];
const messageNamed = (name) => messages.find((message) => message.name === name);

test("the frames that the README and the first steps show are in the document", () => {
  for (const page of ["README.md", "docs/getting-started.md"]) {
    const shown = [...read(page).matchAll(/^([<>]) (\{.*\})$/gm)];
    assert.ok(shown.length >= 3, page);
    for (const [, sign, text] of shown) {
      assert.equal(kindsOf({ channel: "socket", by: sign === ">" ? "client" : "hub", text }).length, 1, text);
    }
  }
});

test("docs/protocol.md shows the same keys and error codes", () => {
  const page = read("docs/protocol.md");
  const documented = messages.filter(({ channel, payload }) => channel === "socket" && wordOf(payload));
  const rows = [...page.matchAll(/^\| `\{"(?:action|type)":"(\w+)".*$/gm)];
  assert.deepEqual(rows.map(([, word]) => word).sort(), documented.map(({ payload }) => wordOf(payload)).sort());
  for (const message of documented) {
    const [key] = Object.keys(message.payload.properties);
    const [row] = rows.find(([row]) => row.includes(`"${key}":"${wordOf(message.payload)}"`));
    const shown = new Set([...row.matchAll(/"(\w+)":/g)].map(([, name]) => name));
    // The messages in an answer have a row of their own.
    const keys = keysOf(message).filter((key) => !key.startsWith("messages."));
    assert.deepEqual([...shown].sort(), [...new Set(keys.map((key) => key.split(".").at(-1)))].sort(), message.name);
  }
  const codes = page.match(/\| error code .*\n.*\n((?:\|.*\n)+)/)[1].matchAll(/^\| `(\w+)`/gm);
  assert.deepEqual(
    [...codes].map(([, code]) => code),
    messageNamed("error").payload.properties.code.enum,
  );
});

test("the client's types have the same keys and error codes", () => {
  const path = fileURLToPath(new URL("../../web/client/hub.d.ts", import.meta.url));
  const program = ts.createProgram([path], { target: ts.ScriptTarget.ES2022, types: [] });
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(path)));
  const typeNamed = (name) => checker.getDeclaredTypeOfSymbol(exported.find((symbol) => symbol.name === name));
  const members = (type, inside = "") =>
    checker.getPropertiesOfType(type).flatMap((symbol) => {
      const key = inside + symbol.name;
      const of = checker.getTypeOfSymbol(symbol);
      // What is in a list belongs to the frame too.
      const [item] = checker.isArrayType(of) && symbol.name === "sessions" ? checker.getTypeArguments(of) : [];
      return [`${key}${symbol.flags & ts.SymbolFlags.Optional ? "?" : ""}`, ...(item ? members(item, `${key}.`) : [])];
    });
  const frame = ({ payload }, besides = []) => {
    const may = new Set(options(payload));
    return keysOf({ payload })
      .filter((key) => !["type", "action", ...besides].includes(key) && !key.startsWith("messages."))
      .map((key) => `${key}${may.has(key) ? "?" : ""}`)
      .sort();
  };
  const without = (names, type) =>
    members(typeNamed(type))
      .filter((name) => !names.includes(name))
      .sort();

  assert.deepEqual(without(["reachedAll"], "Receipt"), frame(messageNamed("receipt")));
  assert.deepEqual(without([], "History"), frame(messageNamed("historyAnswer")));
  // What of a message is the client's own, and what it calls by another name.
  const told = without(["receivedAt", "missed", "sentAt", "position"], "Message");
  assert.deepEqual([...told, "sent_at"].sort(), frame(messageNamed("message"), ["epoch", "offset"]));
  assert.deepEqual(members(typeNamed("Position")), ["epoch", "offset"]);
  const asked = without(["ttl?", "signal?", "session?"], "HistoryQuery");
  assert.deepEqual([...asked, "epoch?", "id?", "session"].sort(), frame(messageNamed("history")));

  const [, codes] = read("web/client/hub.d.ts").match(/\/\/ The hub's\.\n([^]*?)\n *\/\//);
  assert.deepEqual(
    [...codes.matchAll(/"(\w+)"/g)].map(([, code]) => code),
    messageNamed("error").payload.properties.code.enum,
  );
});

function wordOf({ properties: { action, type } }) {
  return (action ?? type)?.const;
}

const folder = process.env.HUB_FRAMES;
const suites = { "fault-tests": "rust", "system-tests": "system", web: "system, with Node.js" };
const lines = (folder && existsSync(folder) ? readdirSync(folder) : []).flatMap((file) => {
  const suite = Object.keys(suites).find((suite) => file.startsWith(suite));
  return readFileSync(join(folder, file), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => ({ file, suite, ...JSON.parse(line) }));
});
// The hub ignores keys that it does not know, and tests try that: only the client's own frames must have none.
for (const line of lines) line.kinds = kindsOf({ ...line, withMore: line.by === "client" && line.suite !== "web" });

describe("the frames that clients and hubs exchanged in the tests", () => {
  const missing = Object.keys(suites).filter((suite) => !lines.some((line) => line.suite === suite));
  const none = lines.length === 0 && "no frames were recorded: scripts/test.sh rust system records them";
  const noClient =
    !lines.some(({ by }) => by === "client") && "no client's frames were recorded: scripts/test.sh system records them";
  const some =
    missing.length > 0 && `not every part has run that has frames: ${missing.map((suite) => suites[suite]).join("; ")}`;
  const show = (wrong) => wrong.slice(0, 10).map(({ file, text, why = "" }) => `${file}: ${text.slice(0, 300)} ${why}`);

  test("each frame of a hub is in the document", { skip: none }, () => {
    const wrong = lines.filter(({ by, text, kinds }) => by === "hub" && text !== "" && kinds.length !== 1);
    assert.deepEqual(show(wrong), []);
  });

  // Tests send malformed frames too. On each connection, the hub must have refused as many frames as malformed as are not in
  // the document.
  test("the hub refused each frame of a client that is not in the document, and no other", { skip: noClient }, () => {
    const connections = new Map();
    for (const line of lines) {
      const key = `${line.file} ${line.connection}`;
      if (!connections.has(key)) connections.set(key, []);
      connections.get(key).push(line);
    }
    const wrong = [];
    for (const passed of connections.values()) {
      // Tests also invoke functions directly; no client's frame is recorded for these answers.
      if (!passed.some(({ by }) => by === "client")) continue;
      const malformed = [];
      for (const line of passed) {
        const frame = parse(line.text);
        if (line.by === "client" && line.kinds.length !== 1) malformed.push({ ...line, id: frame?.id });
        const code = frame?.code ?? frame?.errorType;
        if (line.by === "client" || !MALFORMED.includes(code)) continue;
        const index = malformed.findIndex(({ id }) => frame.id === undefined || frame.id === id);
        if (index >= 0) malformed.splice(index, 1);
        else if (code !== "too_many_subscriptions") wrong.push({ ...line, why: "refuses what is in the document" });
      }
      wrong.push(...malformed.map((line) => ({ ...line, why: "is not in the document, and was not refused" })));
    }
    assert.deepEqual(show(wrong), []);
  });

  test("every message was exchanged, with each key and each error code", { skip: none || some }, () => {
    const unseen = messages
      // The emulator of the local stack has no failures of its own.
      .filter((message) => message["x-sender"] !== "API Gateway")
      .flatMap(({ name, payload }) => {
        // Those of publish and of a socket count as one.
        const seen = lines.filter(({ kinds: [only, ...others] }) => only?.payload === payload && !others.length);
        const frames = seen.map(({ text }) => parse(text));
        const unused = options(payload).filter((option) => !frames.some((frame) => uses(frame, option)));
        return frames.length ? unused.map((option) => `${name}: ${option}`) : [name];
      });
    assert.deepEqual(unseen, []);
  });
});
