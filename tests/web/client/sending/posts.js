// Posts: messages without a receipt, sent at once or not at all.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, SECOND, setUp, types } from "../setup.js";

test("a post requests no receipt, and is dropped if it cannot be sent at once", async (t) => {
  const { hub, connect, cut, settle, wind } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  assert.equal(alice.post("bob", 1), true);
  await settle();
  assert.deepEqual(bob.got(), [1]);
  assert.deepEqual(hub.sent, [{ action: "sendMessage", sessions: ["bob"], message: 1, receipt: false, store: false }]);
  assert.throws(() => alice.post("bob", undefined), code("bad_request"));
  await cut();
  assert.equal(alice.post("bob", 2), false);
  await wind(SECOND);
  assert.deepEqual([alice.stats.dropped, alice.stats.unanswered, hub.sent.length], [1, 0, 1]);
  alice.close();
  assert.equal(alice.post("bob", 3), false);
  assert.deepEqual(types(alice).includes("error"), false);
});

test("an error about a post is reported, since no send waits for it", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link) => link.say({ type: "error", code: "forbidden", message: "not to bob" }) ?? true;
  alice.post("bob", 1);
  await settle();
  assert.deepEqual(
    alice.heard("error").map(({ code, message }) => [code, message]),
    [["forbidden", "not to bob"]],
  );
});

test("a post is dropped while the network is backed up, and counted", async (t) => {
  const { hub, connect, settle, standard } = await setUp(t);
  let backedUp = 0;
  const Base = standard.WebSocket ?? globalThis.WebSocket;
  class Slow extends Base {
    get bufferedAmount() {
      return backedUp;
    }
  }
  const alice = await connect("alice", { WebSocket: Slow });
  assert.equal(alice.post("bob", 1), true);
  backedUp = 100_000;
  assert.equal(alice.post("bob", 2), false);
  backedUp = 10_000;
  assert.equal(alice.post("bob", 3), true);
  await settle();
  assert.deepEqual(
    hub.sent.map(({ message, receipt }) => [message, receipt]),
    [
      [1, false],
      [3, false],
    ],
  );
  assert.equal(alice.stats.dropped, 1);
});
