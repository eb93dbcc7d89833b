// The option ordered: a send is written when the one before it has ended.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { hold, MINUTE, SECOND, setUp } from "../setup.js";

test("with the option ordered, each send waits until the previous one has ended, however it ends", async (t) => {
  const { hub, connect, cut, wind, settle } = await setUp(t);
  const [alice, bob] = [await connect("alice", { ordered: true }), await connect("bob")];
  const held = hold(hub);
  const written = () => hub.sent.map(({ message }) => message);
  const sends = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => alice.send("bob", n, { ttl: n === 4 ? 10 * SECOND : 5 * MINUTE }));
  const ends = Promise.all(
    sends.map((send) =>
      send.then(
        ({ delivered }) => delivered,
        ({ code }) => code,
      ),
    ),
  );
  await settle();
  assert.deepEqual(written(), [1]);
  held[0]();
  await settle();
  assert.deepEqual(written(), [1, 2]);
  // The connection is lost: the same send is repeated, and no other.
  await cut();
  await wind(SECOND);
  assert.deepEqual(written(), [1, 2, 2]);
  hub.intercept = (link, { id, action }) =>
    action === "sendMessage" && (link.say({ type: "error", code: "forbidden", message: "no", id }), hold(hub), true);
  held[2]();
  await settle();
  assert.deepEqual(written(), [1, 2, 2, 3, 4]);
  // Its ttl ends.
  const later = hold(hub);
  await wind(10 * SECOND);
  assert.deepEqual(written().slice(4), [4, 5]);
  // A send whose answer never comes is repeated before the others.
  await wind(36 * SECOND);
  assert.deepEqual(written().slice(4), [4, 5, 5]);
  later[1]();
  await settle();
  // A throttled send is repeated before the others.
  hub.intercept = (link, { action }) =>
    action === "sendMessage" && (link.say({ message: "Too Many Requests", connectionId: "c" }), true);
  later[2]();
  await settle();
  hub.intercept = () => false;
  await wind(5 * SECOND);
  assert.deepEqual(written().slice(4), [4, 5, 5, 6, 7, 7, 8]);
  assert.deepEqual(await ends, [1, 1, "forbidden", "timeout", 1, 1, 1, 1]);
  assert.deepEqual(bob.got(), [1, 2, 5, 6, 7, 8]);
});

test("with the option ordered, a send waits for one on the old connection; requests for history and sends do not wait for each other", async (t) => {
  const { hub, connect, wind, settle } = await setUp(t, { history: true });
  const alice = await connect("alice", { ordered: true, handoverAfter: MINUTE });
  await wind(50 * SECOND);
  // A send does not wait for a request for history.
  hub.intercept = () => true;
  const unanswered = alice.history();
  await settle();
  const held = hold(hub);
  alice.send("bob", 1);
  const second = alice.send("bob", 2);
  assert.deepEqual((await alice.history()).messages, []);
  await wind(10 * SECOND);
  assert.deepEqual([alice.stats.handovers, hub.open.size, hub.sent.length], [1, 2, 1]);
  held[0]();
  hub.intercept = () => false;
  await settle();
  assert.equal((await second).delivered, 0);
  await wind(MINUTE);
  assert.deepEqual((await unanswered).messages, []);
});
