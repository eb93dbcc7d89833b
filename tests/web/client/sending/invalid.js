// What is refused without being sent.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, hold, SECOND, setUp } from "../setup.js";

test("a message that the hub or the socket could not accept is refused without being sent", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const loop = {};
  loop.loop = loop;
  for (const message of [undefined, () => {}, loop, 1n]) {
    await assert.rejects(alice.send("bob", message), code("bad_request"));
  }
  for (const id of ["", "x".repeat(129), 5, null]) {
    await assert.rejects(alice.send("bob", 1, { id }), code("bad_request"));
  }
  await assert.rejects(alice.send(undefined, 1), code("bad_request"));
  for (const ttl of [0, -1, NaN, "5", null]) await assert.rejects(alice.send("bob", 1, { ttl }), TypeError);

  const frame = (message) => JSON.stringify({ action: "sendMessage", sessions: ["bob"], message, id: "x" });
  const room = 32 * 1024 - new TextEncoder().encode(frame("")).length;
  // Characters of two and four bytes, to distinguish bytes from characters.
  const largest = "é\u{1f600}" + "x".repeat(room - 6);
  await assert.rejects(alice.send("bob", largest + "x", { id: "x" }), code("message_too_large"));
  await alice.send("bob", largest, { id: "x" });
  assert.deepEqual(
    hub.sent.map(({ message }) => message.length),
    [room - 3],
  );

  const held = hold(hub);
  const first = alice.send("bob", 1, { id: "twice" });
  await assert.rejects(alice.send("bob", 2, { id: "twice" }), code("bad_request"));
  await settle();
  held[0]();
  await first;
});

test("an unknown option of send() is an error, and its cause is kept", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.refuse = 503;
  const alice = start("alice");
  await assert.rejects(alice.send("bob", 1, { timeout: 5 }), /unknown option timeout/);
  const late = alice.send("bob", 1, { ttl: 2 * SECOND }).catch((error) => error);
  await wind(2 * SECOND);
  const { message, cause } = await late;
  assert.match(message, /never sent/);
  assert.equal(cause.code, "connect_failed");
});
