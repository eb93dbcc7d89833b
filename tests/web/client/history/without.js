// Hubs without history, and clients that do without it.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, delivery, ends, instead, MINUTE, SECOND, setUp, withHistory } from "../setup.js";

test("a hub without history gets one request, and everything else works", async (t) => {
  const { hub, connect, cut, wind, settle } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const asked = () => hub.frames.filter(({ frame }) => frame.action === "history").length;
  await wind(MINUTE);
  assert.equal(asked(), 2);
  for (let times = 0; times < 3; times++) {
    await cut();
    await wind(MINUTE);
  }
  const receipt = await alice.send("bob", 1, { store: false });
  assert.deepEqual(receipt.sessions, [{ session: "bob", delivered: 1, gone: 0, failed: 0 }]);
  await alice.send("bob", 2);
  await settle();
  assert.deepEqual([bob.got(), bob.position(), asked()], [[1, 2], undefined, 2]);
  await assert.rejects(bob.history({ last: 5 }), code("unknown_action"));
  assert.deepEqual([asked(), bob.heard("error"), alice.heard("error")], [2, [], []]);
});

test("a program's request before the hub is known to have no history is refused too, and other errors are reported", async (t) => {
  const { hub, start, settle } = await setUp(t);
  const bob = start("bob");
  const [question, send] = [bob.history().catch((error) => error), bob.send("bob", 1)];
  await settle();
  assert.ok(code("unknown_action")(await question));
  assert.equal((await send).delivered, 1);
  assert.deepEqual(bob.heard("error"), []);
  [...hub.open][0].say({ type: "error", code: "unknown_action", message: "no such action" });
  await settle();
  assert.deepEqual(
    bob.heard("error").map(({ code }) => code),
    ["unknown_action"],
  );
});

test("a hub that has answered has history, whatever else it does not know", async (t) => {
  const { hub, bob, settle } = await withHistory(t);
  [...hub.open][0].say({ type: "error", code: "unknown_action", message: "no such action" });
  await settle();
  assert.deepEqual(
    bob.heard("error").map(({ code }) => code),
    ["unknown_action"],
  );
  assert.deepEqual((await bob.history()).messages, []);
});

test("a hub that gives offsets but answers no requests: waiting messages are passed on at once", async (t) => {
  const { hub, start, settle } = await setUp(t, { history: true });
  const answers = [];
  instead(hub, (link) => answers.push(() => link.say({ type: "error", code: "unknown_action", message: "what?" })));
  const bob = start("bob");
  await settle();
  const [link] = hub.open;
  for (const offset of [3, 1]) link.say(delivery(offset, "e"));
  await settle();
  assert.deepEqual(bob.got(), []);
  answers[0]();
  link.say(delivery(2, "e"));
  await settle();
  assert.deepEqual([bob.got(), bob.heard("error"), bob.position()], [[1, 3, 2], [], undefined]);
});

test("if a hub switches its history off, messages missing before waiting ones are a gap", async (t) => {
  const { hub, bob, say, wind } = await withHistory(t);
  say(1);
  await wind(6 * SECOND);
  hub.drop();
  say(2);
  say(3);
  hub.history = false;
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap").map(ends), bob.heard("error")], [[1, 3], [[1, 2]], []]);
});

test("with history: false no history is requested, and messages are passed on as they arrive", async (t) => {
  const { hub, connect, settle } = await setUp(t, { history: true });
  const bob = await connect("bob", { history: false });
  const [link] = hub.open;
  for (const offset of [3, 1, 2, 1]) link.say(delivery(offset, "e"));
  await settle();
  assert.deepEqual([bob.got(), bob.stats.duplicates, bob.position(), hub.frames], [[3, 1, 2], 1, undefined, []]);
  await assert.rejects(bob.history(), code("unknown_action"));
});
