// Frames that are no message, or that nothing waits for, end nothing.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { hold, setUp } from "./setup.js";

const frame = (id, from, message) => ({ type: "message", id, from, message, sent_at: "2030-01-01T00:00:00.000Z" });

test("frames that answer no send are reported as errors, and end nothing", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", "hello");
  await settle();
  const [link] = hub.open;
  link.say({ message: "Internal server error", connectionId: "c", requestId: "r" });
  link.say({ type: "error", code: "unknown_action", message: "no such action" });
  link.say({ type: "error", code: "internal", message: "ours", id: "long gone" });
  link.say("no JSON");
  for (const odd of ["null", "7", "[]", '"text"', "{}", '{"type":"news"}']) link.say(odd);
  link.say({ type: "receipt", id: "long gone", delivered: 1, gone: 0, failed: 0, sessions: [] });
  await settle();
  held[0]();
  await send;
  assert.deepEqual(
    alice.heard("error").map(({ code, id }) => [code, id]),
    [
      ["gateway", undefined],
      ["unknown_action", undefined],
      ["internal", "long gone"],
      ["bad_frame", undefined],
    ],
  );
  assert.match(alice.heard("error")[0].message, /Internal server error/);
  assert.equal(alice.state.name, "open");
});

test("frames of any shape cause at most an error, and end nothing", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  const held = hold(hub);
  const send = alice.send("bob", 1, { id: "mine" });
  await settle();
  for (const frame of [
    ...["", " ", "null", "[]", "5", '"x"', "{", "{}", '{"type":5}', '{"type":null}', '{"message":5}'],
    ...["sessions", "delivered", "id"].map((key) => ({ type: "receipt", id: "other", [key]: 5 })),
    { type: "receipt" },
    { type: "history" },
    { type: "history", id: null, epoch: "e", offset: 5, more: false, messages: [] },
    { type: "history", id: "mine", messages: 5 },
    { type: "history", id: {}, messages: [null] },
    { type: "error" },
    { type: "error", code: 7, message: {}, id: [] },
    { type: "message" },
    { type: "message", id: {}, from: 5, sent_at: "never" },
    { type: "toString" },
    { type: "__proto__" },
    new TextEncoder().encode('{"type":"pong"}'),
    new Uint8Array([255, 254]),
    new Uint8Array(0),
  ]) {
    link.say(frame);
  }
  await settle();
  for (const { code } of alice.heard("error")) assert.equal(typeof code, "string");
  held[0]();
  assert.equal((await send).id, "mine");
  assert.deepEqual([alice.state.name, hub.handshakes.length], ["open", 1]);
});

test("an empty frame is neither an answer nor an error", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  link.say("");
  link.say(new Uint8Array(0));
  await settle();
  assert.deepEqual([alice.heard("error"), alice.state.name], [[], "open"]);
});

test("a frame in binary is read as text", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const [link] = hub.open;
  link.say(new TextEncoder().encode(JSON.stringify(frame("1", null, "é"))));
  await settle();
  assert.deepEqual([alice.got(), alice.heard("error")], [["é"], []]);
});
