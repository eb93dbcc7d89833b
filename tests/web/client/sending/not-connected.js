// The answer not_connected: the hub has forgotten the connection, and a new one takes its place.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, SECOND, setUp } from "../setup.js";

test("a connection that the hub does not know is replaced, and the send repeated", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const [lost] = hub.open;
  const notConnected = (link, { id, action }) =>
    action === "sendMessage" &&
    (link.say({ type: "error", code: "not_connected", message: "connect again", id }) ?? true);
  hub.intercept = (link, frame) => link === lost && notConnected(link, frame);
  const send = alice.send("bob", "hello");
  await settle();
  assert.equal(alice.state.name, "waiting");
  await wind(250);
  await send;
  assert.equal(hub.handshakes.length, 2);

  hub.intercept = notConnected;
  const hopeless = assert.rejects(alice.send("bob", "again"), code("not_connected"));
  await wind(10 * SECOND);
  await hopeless;
  assert.equal(hub.sent.filter(({ message }) => message === "again").length, 3);
});

test("not_connected for an aborted send makes a new connection", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = () => true;
  const abort = new AbortController();
  const send = alice.send("bob", 1, { signal: abort.signal });
  await settle();
  abort.abort(new Error("enough"));
  await assert.rejects(send, /enough/);
  const [{ link, frame }] = hub.frames;
  hub.intercept = () => false;
  link.say({ type: "error", code: "not_connected", message: "connect again", id: frame.id });
  await wind(SECOND);
  assert.deepEqual([hub.handshakes.length, alice.state.name], [2, "open"]);
});

test("not_connected makes a new connection also for a post, a timed-out send, and the second time", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { ttl: 5 * SECOND });
  const forgotten = { type: "error", code: "not_connected", message: "connect again" };
  hub.intercept = (link, { id }) => {
    if (id) return true;
    link.say(forgotten);
    return true;
  };
  assert.equal(alice.post("bob", 1), true);
  await wind(SECOND);
  assert.equal(hub.handshakes.length, 2);
  await assert.rejects(Promise.all([alice.send("bob", 1, { id: "late" }), wind(6 * SECOND)]), code("timeout"));
  for (const count of [3, 4]) {
    const [link] = hub.open;
    link.say({ ...forgotten, id: "late" });
    await wind(SECOND);
    assert.deepEqual([hub.handshakes.length, alice.state.name], [count, "open"]);
  }
});
