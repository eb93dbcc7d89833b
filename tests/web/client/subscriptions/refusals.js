// Requests that are not answered, and sessions that the hub refuses.

import assert from "node:assert/strict";
import { code, internal, MINUTE, SECOND } from "../setup.js";
import { test } from "../../suite.js";
import { holdAnswers, rooms, start } from "./setup.js";

test("an unanswered request is repeated after 35 s, for the sessions wanted by then", async (t) => {
  const { hub, alice, asked, listen, say, wind, settle } = await start(t);
  hub.loseAnswers();
  const got = listen();
  await settle();
  say(1);
  await wind(34 * SECOND);
  assert.deepEqual([asked(), [...got], alice.session("room-1").isReady], [[["subscribe", "room-1"]], [1], false]);
  await wind(SECOND);
  assert.deepEqual([asked(), alice.session("room-1").isReady], [[["subscribe", "room-1"]], true]);
  hub.loseAnswers(2);
  got.off();
  await wind(37 * SECOND);
  assert.deepEqual(asked(), [
    ["unsubscribe", "room-1"],
    ["unsubscribe", "room-1"],
  ]);
  // The hub may have acted on it.
  const again = listen();
  await wind(35 * SECOND);
  assert.deepEqual(asked(), [["subscribe", "room-1"]]);
  hub.loseAnswers();
  again.off();
  const other = listen("room-2");
  await settle();
  other.off();
  await wind(36 * SECOND);
  assert.deepEqual(asked(), [
    ["subscribe", "room-2"],
    ["unsubscribe", "room-1"],
    ["unsubscribe", "room-2"],
  ]);
});

test("while the hub fails, requests are repeated after waits of up to half a minute, and others go ahead", async (t) => {
  const { hub, alice, asked, listen, wind, settle } = await start(t, { random: 0.999 });
  hub.intercept = (link, frame) => frame.sessions?.includes("room-1") && (internal(link, frame), true);
  listen();
  await settle();
  listen("room-2");
  await settle();
  assert.deepEqual(asked(), [
    ["subscribe", "room-1"],
    ["subscribe", "room-2"],
  ]);
  assert.equal(alice.session("room-2").isReady, true);
  const waits = [];
  for (let waited = 1; waits.length < 7; waited++) {
    await wind(SECOND);
    if (asked().length) (waits.push(waited), (waited = 0));
  }
  assert.deepEqual(waits, [2, 4, 8, 16, 32, 32, 32]);
  assert.deepEqual([...new Set(alice.heard("error").map(({ code }) => code))], ["internal"]);
  hub.intercept = () => false;
  await wind(MINUTE);
  assert.equal(alice.session("room-1").isReady, true);
});

test("a refused unsubscribe is repeated", async (t) => {
  const { hub, asked, listen, wind, settle } = await start(t);
  const got = listen();
  await settle();
  let refusals = 1;
  hub.intercept = (link, { action, id }) => {
    const isRefused = action === "unsubscribe" && refusals-- > 0;
    if (isRefused) link.say({ type: "error", code: "bad_request", message: "no", id });
    return isRefused;
  };
  got.off();
  await wind(1_500);
  assert.equal(asked().length, 2);
  await wind(3 * SECOND);
  assert.deepEqual([asked().length, [...hub.open][0].subscriptions.size], [1, 0]);
});

test("a request that the gateway refuses is soon repeated", async (t) => {
  const { hub, alice, asked, listen, wind } = await start(t);
  let refusals = 2;
  hub.intercept = (link, { action }) =>
    action === "subscribe" && refusals-- > 0 && (link.say({ message: "Too Many Requests", connectionId: "c" }), true);
  listen();
  await wind(6 * SECOND);
  assert.deepEqual([asked().length, alice.session("room-1").isReady], [3, true]);
  await wind(MINUTE);
  assert.equal(asked().length, 0);
});

test("a refusal is reported with its session, and the others of the frame are subscribed", async (t) => {
  const { hub, alice, asked, listen, wind, cut } = await start(t);
  const no = new Set(["room-3", "room-17"]);
  hub.maySubscribe = (link, session) => !no.has(session);
  const changes = [];
  const third = alice.session("room-3");
  third.on("change", () => changes.push(third.error?.code ?? third.isReady));
  const errors = [];
  third.on("error", (error) => errors.push(error));
  for (const room of rooms(20)) listen(room);
  const refused = third.ready().catch((error) => error);
  await wind(SECOND);
  const [link] = hub.open;
  assert.deepEqual(
    [...link.subscriptions].sort(),
    rooms(20)
      .filter((room) => !no.has(room))
      .sort(),
  );
  const error = await refused;
  assert.ok(code("forbidden")(error));
  assert.deepEqual([error.session, error.retryable, third.error, errors], ["room-3", false, error, [error]]);
  assert.deepEqual(
    alice
      .heard("error")
      .map(({ session }) => session)
      .sort(),
    ["room-17", "room-3"],
  );
  assert.deepEqual([changes.pop(), third.isReady], ["forbidden", false]);
  assert.ok(asked().length < 20);
  // The same listeners do not repeat the request; another one does.
  await wind(MINUTE);
  assert.deepEqual(asked(), []);
  await assert.rejects(third.ready(), code("forbidden"));
  assert.deepEqual(asked(), [["subscribe", "room-3"]]);

  // They do not delay the others on the next connection, which may present another token.
  no.delete("room-17");
  await cut();
  await wind(500);
  const frames = asked();
  assert.deepEqual(
    frames.map(([, ...names]) => names.length),
    [18, 1, 1],
  );
  assert.deepEqual([alice.session("room-17").isReady, alice.session("room-17").error], [true, null]);
  assert.equal(third.error.code, "forbidden");
  no.clear();
  await cut();
  await wind(10 * SECOND);
  asked();
  await cut();
  await wind(10 * SECOND);
  assert.deepEqual(asked(), [["subscribe", ...rooms(20)]]);
});

test("messages that wait in a session are passed on when the next connection may not subscribe to it", async (t) => {
  const { hub, alice, say, listen, cut, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  say(1);
  hub.drop();
  say(2);
  say(3);
  hub.maySubscribe = () => false;
  await cut();
  await wind(500);
  assert.deepEqual([[...got], alice.heard("gap").length], [[1, 3], 1]);
  assert.deepEqual(
    alice.heard("error").map(({ code }) => code),
    ["forbidden"],
  );
});

test("a listener that ends before its session is subscribed again leaves no gap", async (t) => {
  const { hub, alice, say, listen, cut, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  hub.drop();
  say(1);
  say(2);
  await settle();
  hub.intercept = (link, { action }) => action === "subscribe";
  await cut();
  await wind(20 * SECOND);
  got.off();
  await wind(MINUTE);
  assert.deepEqual([[...got], alice.heard("gap"), alice.position("room-1")], [[], [], undefined]);
});

test("a session that is being unsubscribed is not requested, and reports no gap", async (t) => {
  const { hub, alice, say, listen, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  holdAnswers(hub, /unsubscribe/);
  got.off();
  await wind(2 * SECOND);
  hub.drop();
  say(1);
  say(2);
  await wind(20 * SECOND);
  assert.deepEqual([alice.got(), alice.heard("gap"), alice.position("room-1")], [[2], [], undefined]);
  assert.equal(hub.frames.filter(({ frame }) => frame.session === "room-1").length, 0);
});

test("at most a hundred sessions, counting those with listeners", async (t) => {
  const { hub, alice, asked, listen, wind, settle } = await start(t);
  const listeners = rooms(101).map((room) => listen(room));
  await settle();
  const [first, ...more] = asked();
  assert.deepEqual([first.length, more], [101, []]);
  const [error, ...others] = alice.heard("error");
  assert.ok(code("too_many_subscriptions")(error));
  assert.deepEqual([error.session, others], ["room-101", []]);
  await assert.rejects(alice.session("room-102").ready(), code("too_many_subscriptions"));
  // One listener ends and another begins, without a wait for the second.
  listeners[0].off();
  const late = listen("room-101");
  await settle();
  assert.deepEqual(asked(), [
    ["unsubscribe", "room-1"],
    ["subscribe", "room-101"],
  ]);
  assert.deepEqual([alice.session("room-101").isReady, [...hub.open][0].subscriptions.size], [true, 100]);
  for (const { off } of [late, ...listeners]) off();
  await wind(SECOND);
  assert.equal(asked()[0].length, 101);
  await wind(MINUTE);
  assert.deepEqual([asked(), [...hub.open][0].subscriptions.size], [[], 0]);
});

test("if the hub has less room than the client assumes, the sessions that fit are subscribed", async (t) => {
  const { hub, alice, listen, wind } = await start(t);
  const [link] = hub.open;
  for (const room of rooms(60)) link.subscriptions.add(`other-${room}`);
  for (const room of rooms(50)) listen(room);
  await wind(MINUTE);
  const refused = alice.heard("error").map(({ code }) => code);
  assert.deepEqual([link.subscriptions.size, refused], [100, Array(10).fill("too_many_subscriptions")]);
});

for (const history of [true, false]) {
  for (const subscriptions of [true, false]) {
    test(`a hub shows which features it has, history: ${history}, subscriptions: ${subscriptions}`, async (t) => {
      const { hub, alice, asked, listen, say, cut, wind, settle } = await start(t, { connected: false });
      Object.assign(hub, { history, subscriptions });
      // Requests for both are sent before any answer; the gateway answers an unknown route at once.
      const slow = [];
      hub.intercept = (link, frame) => {
        const isRoute = { history, subscribe: subscriptions }[frame.action];
        return isRoute && slow.push(() => hub.answer(link, frame));
      };
      const got = listen();
      await settle();
      for (const answer of slow) answer();
      await settle();
      hub.intercept = () => false;
      assert.deepEqual(asked(), [["subscribe", "room-1"]]);
      const errors = alice.heard("error");
      assert.deepEqual(
        errors.map(({ code, session }) => [code, session]),
        subscriptions ? [] : [["unknown_action", "room-1"]],
      );
      if (!subscriptions) {
        assert.match(errors[0].message, /has no subscriptions/);
        await assert.rejects(alice.session("room-1").ready(), code("unknown_action"));
        errors.push(alice.heard("error").pop());
      }
      assert.equal(alice.position() !== undefined, history);
      assert.equal(alice.session("room-1").isReady, subscriptions);
      say(1, "alice");
      say(2);
      await settle();
      assert.deepEqual([alice.got(), [...got]], subscriptions ? [[1, 2], [2]] : [[1], []]);
      await wind(40 * MINUTE);
      assert.equal(asked().length, subscriptions ? 2 : 0);
      assert.equal(alice.heard("error").length, errors.length);

      // The next connection asks again, in case the hub has them by then.
      hub.subscriptions = true;
      await cut();
      await wind(SECOND);
      assert.equal(alice.session("room-1").isReady, true);
    });
  }
}

test("a hub that has answered for history has it, though one request is unanswered", async (t) => {
  const { hub, alice, listen, cut, settle, wind } = await start(t, { history: true });
  hub.subscriptions = false;
  await cut();
  hub.loseAnswers();
  await wind(300);
  listen();
  await settle();
  assert.deepEqual(
    alice.heard("error").map(({ code }) => code),
    ["unknown_action"],
  );
  assert.deepEqual((await alice.history()).messages, []);
});

test("a refused subscription also shows that the hub has no history", async (t) => {
  const { hub, alice, listen, wind } = await start(t, { connected: false });
  hub.maySubscribe = () => false;
  listen();
  await wind(MINUTE);
  assert.deepEqual(
    alice.heard("error").map(({ code }) => code),
    ["forbidden"],
  );
  assert.equal(hub.frames.filter(({ frame }) => frame.action === "history").length, 1);
});
