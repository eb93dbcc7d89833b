// Listeners subscribe and unsubscribe: which frames are sent, and when.

import assert from "node:assert/strict";
import { code, MINUTE, SECOND } from "../setup.js";
import { test } from "../../suite.js";
import { holdAnswers, start } from "./setup.js";

for (const history of [false, true]) {
  test(`the first listener subscribes and the last one unsubscribes, history: ${history}`, async (t) => {
    const { hub, alice, asked, say, listen, wind, settle } = await start(t, { history });
    const [first, second] = [listen(), listen()];
    const other = listen("room-2");
    const own = listen("alice");
    await settle();
    assert.deepEqual(asked(), [["subscribe", "room-1", "room-2"]]);
    say("a");
    say("b", "room-2");
    say("c", "alice");
    await settle();
    assert.deepEqual([[...first], [...second], [...other], [...own]], [["a"], ["a"], ["b"], ["c"]]);
    assert.deepEqual(alice.got(), ["a", "b", "c"]);

    first.off();
    first.off();
    own.off();
    await wind(MINUTE);
    assert.deepEqual(asked(), []);
    second.off();
    await wind(999);
    assert.deepEqual(asked(), []);
    await wind(1);
    assert.deepEqual(asked(), [["unsubscribe", "room-1"]]);
    const [link] = hub.open;
    assert.deepEqual([...link.subscriptions], ["room-2"]);
    assert.equal(say("d").delivered, 0);
    assert.equal(alice.position("room-1"), undefined);
    other.off();
    await wind(MINUTE);
    assert.deepEqual([asked(), alice.heard("error")], [[["unsubscribe", "room-2"]], []]);
  });
}

test("a listener that returns within a second costs no frame, and misses nothing", async (t) => {
  const { asked, say, listen, wind, settle } = await start(t, { history: true });
  const before = listen();
  await settle();
  before.off();
  const after = listen();
  after.off();
  await wind(900);
  const last = listen();
  await wind(MINUTE);
  say(1);
  await settle();
  assert.deepEqual([asked(), [...before], [...after], [...last]], [[["subscribe", "room-1"]], [], [], [1]]);
});

test("a listener that begins without a connection is subscribed on the next", async (t) => {
  const { alice, asked, listen, settle, say } = await start(t, { connected: false });
  const got = listen();
  let isReady = false;
  alice
    .session("room-1")
    .ready()
    .then(() => (isReady = true));
  alice.pause();
  await settle();
  assert.deepEqual([asked(), isReady, alice.session("room-1").isReady], [[], false, false]);
  alice.resume();
  await settle();
  say(1);
  await settle();
  assert.deepEqual([asked(), isReady, [...got]], [[["subscribe", "room-1"]], true, [1]]);
});

test("a session is in one frame at a time, and no session waits for another", async (t) => {
  const { hub, alice, asked, listen, wind, settle } = await start(t);
  const held = holdAnswers(hub);
  const first = listen();
  await settle();
  // The listener ends and returns while nothing is answered.
  first.off();
  await wind(5 * SECOND);
  const second = listen();
  await settle();
  second.off();
  await wind(5 * SECOND);
  const other = listen("room-2");
  await settle();
  assert.deepEqual(asked(), [
    ["subscribe", "room-1"],
    ["subscribe", "room-2"],
  ]);
  held.pop()();
  await settle();
  assert.deepEqual([alice.session("room-2").isReady, alice.session("room-1").isReady], [true, false]);
  held.pop()();
  await settle();
  assert.deepEqual(asked(), [["unsubscribe", "room-1"]]);

  // Another listener begins before the answer.
  const third = listen();
  await wind(5 * SECOND);
  assert.deepEqual([asked(), alice.session("room-1").isReady], [[], false]);
  held.pop()();
  await settle();
  assert.deepEqual(asked(), [["subscribe", "room-1"]]);
  held.pop()();
  await settle();
  assert.equal(alice.session("room-1").isReady, true);
  third.off();
  other.off();
  await wind(2 * SECOND);
  assert.deepEqual(asked(), [["unsubscribe", "room-1", "room-2"]]);
});

test("ready() subscribes while it waits, and rejects when it is over", async (t) => {
  const { hub, alice, asked, wind, settle } = await start(t);
  const held = holdAnswers(hub);
  const room = alice.session("room-1");
  const abort = new AbortController();
  const [one, two] = [room.ready(), room.ready({ signal: abort.signal }).catch((reason) => reason)];
  await settle();
  abort.abort("enough");
  assert.equal(await two, "enough");
  held.pop()();
  await one;
  await room.ready();
  assert.deepEqual([asked(), room.isReady], [[["subscribe", "room-1"]], true]);
  await wind(SECOND);
  assert.deepEqual(asked(), [["unsubscribe", "room-1"]]);
  const late = alice
    .session("room-2")
    .ready()
    .catch((error) => error);
  await settle();
  alice.close();
  assert.ok(code("closed")(await late));
  await assert.rejects(alice.session("room-3").ready(), code("closed"));
  alice.session("room-3").on("message", () => {})();
});

test("the client's own session is ready with the client, without a frame", async (t) => {
  const { alice, asked, listen, cut, wind, settle } = await start(t, { connected: false });
  const own = alice.session("alice");
  const changes = [];
  own.on("change", () => changes.push(own.isReady));
  listen("alice");
  await own.ready();
  await cut();
  assert.equal(own.isReady, false);
  await wind(SECOND);
  await own.ready();
  await settle();
  assert.deepEqual([asked(), own.isReady, own.error], [[], true, null]);
  assert.deepEqual([changes.includes(false), changes.pop()], [true, true]);
});

test("a loop over a session's messages counts as a listener", async (t) => {
  const { alice, asked, say, wind, settle } = await start(t);
  const got = [];
  const abort = new AbortController();
  const read = async (signal) => {
    for await (const { message } of alice.session("room-1").messages({ signal })) got.push(message);
  };
  const whole = read(abort.signal);
  const loop = alice.session("room-1").messages();
  await settle();
  say(1);
  await settle();
  assert.equal((await loop.next()).value.message, 1);
  await loop.return();
  await wind(MINUTE);
  abort.abort();
  await whole;
  await wind(MINUTE);
  assert.deepEqual(
    [got, asked()],
    [
      [1],
      [
        ["subscribe", "room-1"],
        ["unsubscribe", "room-1"],
      ],
    ],
  );
});
