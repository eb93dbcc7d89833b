// Sessions beside the client's own: one socket, and for each session its listeners, its order, and what the hub refuses.

import assert from "node:assert/strict";
import { jwt } from "../../../web/client/testing.js";
import { test } from "../suite.js";
import { code, delivery, instead, internal, issue, MINUTE, SECOND, setUp } from "./setup.js";

const rooms = (count) => Array.from({ length: count }, (_, index) => `room-${index + 1}`);

/** A hub, and what alice asks of it beside pings and questions: each frame as `[action, ...names]`, since the last time. */
async function start(t, { options, connected = true, ...set } = {}) {
  const world = await setUp(t, set);
  const { hub, connect, start } = world;
  const alice = connected ? await connect("alice", options) : start("alice", options);
  let seen = 0;
  const asked = () => {
    const all = hub.frames.map(({ frame }) => frame).filter(({ action }) => /subscribe|hello/.test(action));
    return all.slice(seen, (seen = all.length)).map(({ action, sessions = [] }) => [action, ...sessions]);
  };
  const say = (message, session = "room-1") => hub.deliver(null, { id: `${message}`, sessions: [session], message });
  /** Listens, and returns what is heard and a function that ends it. */
  const listen = (name = "room-1", client = alice) => {
    const got = [];
    const off = client.session(name).on("message", ({ message }) => got.push(message));
    return Object.assign(got, { off });
  };
  return { ...world, alice, asked, say, listen };
}

/** The hub keeps its answers to what is about subscriptions; returns them as functions. */
function holdAnswers(hub, actions = /subscribe/) {
  const held = [];
  hub.intercept = (link, frame) => actions.test(frame.action) && held.push(() => hub.answer(link, frame));
  return held;
}

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

test("a listener that comes back within a second costs no frame, and misses nothing", async (t) => {
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

test("a listener that comes while the client is not connected is subscribed once it is", async (t) => {
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
  // It goes and comes back while nothing is answered.
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

  // Another listener, while that is not answered.
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

test("ready() subscribes for as long as it waits, and rejects when it is over", async (t) => {
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

test("the client's own session is ready with the client, and nothing is asked", async (t) => {
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

test("a loop over a session's messages is a listener of it", async (t) => {
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

// Answers that do not come, and refusals

test("what is not answered is asked for again after 35 s, whatever is wanted by then", async (t) => {
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
  // Perhaps it was done.
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

test("while the hub fails it is asked again with waits that grow to half a minute, and others go ahead", async (t) => {
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

test("an end that is refused is asked for again", async (t) => {
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

test("what the gateway refuses is asked for again soon", async (t) => {
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

test("a refusal is told with its session, and the others of the frame are subscribed", async (t) => {
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
  // The same listeners do not ask again, another one does.
  await wind(MINUTE);
  assert.deepEqual(asked(), []);
  await assert.rejects(third.ready(), code("forbidden"));
  assert.deepEqual(asked(), [["subscribe", "room-3"]]);

  // Nor do they keep the others waiting on the next connection, which may be one with another token.
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

test("what waits for a message of a session is told when the next connection may not be subscribed to it", async (t) => {
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

test("a listener that goes before its session is subscribed again leaves no gap behind", async (t) => {
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

test("of a session that is being left nothing is asked, and no gap is told", async (t) => {
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

test("at most a hundred sessions, of which those count that are listened to", async (t) => {
  const { hub, alice, asked, listen, wind, settle } = await start(t);
  const listeners = rooms(101).map((room) => listen(room));
  await settle();
  const [first, ...more] = asked();
  assert.deepEqual([first.length, more], [101, []]);
  const [error, ...others] = alice.heard("error");
  assert.ok(code("too_many_subscriptions")(error));
  assert.deepEqual([error.session, others], ["room-101", []]);
  await assert.rejects(alice.session("room-102").ready(), code("too_many_subscriptions"));
  // One goes, and another comes: no need to wait for the end of the second.
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

test("where the hub has less room than the client knows of, what fits is subscribed", async (t) => {
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
    test(`a hub says what it has, history: ${history}, subscriptions: ${subscriptions}`, async (t) => {
      const { hub, alice, asked, listen, say, cut, wind, settle } = await start(t, { connected: false });
      Object.assign(hub, { history, subscriptions });
      // Both are asked about before anything is answered, and what is no route has its answer from the gateway at once.
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

      // A hub that has got them meanwhile is asked again by the next connection.
      hub.subscriptions = true;
      await cut();
      await wind(SECOND);
      assert.equal(alice.session("room-1").isReady, true);
    });
  }
}

test("a hub that has answered questions is one with history, though one of them has no answer", async (t) => {
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

test("a subscription that is refused tells too that it was the history that the hub does not know", async (t) => {
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

// Where the token alone names the session

test("a client that does not know its own session asks for it first, and does not subscribe to it", async (t) => {
  const { hub, listen, connect, settle, wind } = await start(t, { history: true });
  const bob = await connect(undefined, { token: jwt({ session_id: "bob" }) });
  const own = listen("bob", bob);
  const room = listen("room-1", bob);
  hub.frames.length = 0;
  await settle();
  assert.deepEqual(
    hub.frames.map(({ frame: { action, sessions, session } }) => [action, sessions ?? session]),
    [
      ["hello", undefined],
      ["history", "bob"],
      ["subscribe", ["room-1"]],
    ],
  );
  hub.deliver(null, { id: "1", sessions: ["bob", "room-1"], message: 1 });
  await settle();
  assert.deepEqual([[...own], [...room], bob.session("bob").isReady], [[1], [1], true]);
  assert.deepEqual([bob.position()?.offset, bob.position("room-1").offset], [1, 1]);
  own.off();
  await wind(2 * SECOND);
  assert.equal(bob.position().offset, 1);
});

test("it waits for its name for 3 s at most, and takes no other for its own", async (t) => {
  const { hub, asked, listen, connect, wind } = await start(t, { history: true });
  const bob = await connect(undefined, { token: jwt({ session_id: "bob" }) });
  hub.loseAnswers();
  const got = listen("room-1", bob);
  await wind(2_999);
  assert.deepEqual(asked(), [["hello"]]);
  await wind(1);
  assert.deepEqual(asked(), [["subscribe", "room-1"]]);
  assert.equal(bob.session("room-1").isReady, true);
  assert.deepEqual([bob.position("room-1").offset, bob.position()], [0, undefined]);
  got.off();
});

// Connections that come and go

test("each new connection subscribes to all in one frame, and fetches only what has been missed", async (t) => {
  const { hub, alice, asked, say, listen, cut, wind, settle } = await start(t, { history: true });
  const [one, two, three] = rooms(3).map((room) => listen(room));
  await settle();
  say("a");
  await wind(10 * SECOND);
  assert.equal(asked().length, 1);
  await cut();
  say("b");
  say("c", "room-3");
  hub.frames.length = 0;
  await wind(500);
  const questions = hub.frames.filter(({ frame }) => frame.action === "history");
  assert.deepEqual(
    questions.map(({ frame: { session, after } }) => [session, after]),
    [
      ["alice", 0],
      ["room-1", 1],
      ["room-3", 0],
    ],
  );
  assert.deepEqual(
    hub.frames.filter(({ frame }) => frame.action === "subscribe").map(({ frame }) => frame.sessions),
    [rooms(3)],
  );
  assert.deepEqual([[...one], [...two], [...three]], [["a", "b"], [], ["c"]]);
  assert.deepEqual(
    alice.heard("message").map(({ missed }) => missed),
    [false, true, true],
  );
  assert.deepEqual([alice.heard("gap"), alice.heard("lost")], [[], []]);
});

test("a session that is left while there is no connection is not subscribed to by the next", async (t) => {
  const { asked, listen, cut, wind, settle, say } = await start(t, { history: true, options: { backoffBase: 10_000 } });
  const [one, two] = rooms(2).map((room) => listen(room));
  await settle();
  asked();
  await cut();
  one.off();
  two.off();
  say(1, "room-2");
  await wind(500);
  const back = listen("room-2");
  await wind(10 * SECOND);
  assert.deepEqual([asked(), [...back]], [[["subscribe", "room-2"]], [1]]);
});

test("on a hand-over, what takes over is subscribed before the old connection ends", async (t) => {
  const { hub, alice, asked, say, listen, wind, settle } = await start(t, {
    history: true,
    options: { handoverAfter: MINUTE, handoverOverlap: 5 * SECOND },
  });
  const got = listen();
  const room = alice.session("room-1");
  await settle();
  asked();
  const states = [];
  room.on("change", () => states.push(room.isReady));
  const held = holdAnswers(hub);
  await wind(58 * SECOND);
  assert.deepEqual([hub.open.size, asked()], [2, [["subscribe", "room-1"]]]);
  say(1);
  await wind(20 * SECOND);
  say(2);
  assert.equal(hub.open.size, 2);
  // Only that the hub has subscribed is not known yet.
  held.pop()();
  await settle();
  assert.equal(hub.open.size, 1);
  say(3);
  await settle();
  assert.deepEqual([[...got], states.includes(false), alice.heard("gap")], [[1, 2, 3], false, []]);
  assert.equal(hub.frames.filter(({ frame }) => frame.session === "room-1").length, 0, "nothing was missed");
});

test("what the old connection is asked in a gap and refuses ends nothing", async (t) => {
  const { hub, alice, say, listen, wind, settle } = await start(t, {
    history: true,
    options: { handoverAfter: MINUTE, handoverOverlap: 20 * SECOND },
  });
  const got = listen();
  await settle();
  await wind(55 * SECOND);
  const [old] = hub.open;
  const questions = [];
  hub.intercept = (link, frame) => frame.session === "room-1" && questions.push(() => hub.answer(link, frame));
  hub.drop();
  say(1);
  say(2);
  await wind(1_100);
  assert.equal(questions.length, 1);
  old.subscriptions.clear();
  questions.pop()();
  await settle();
  hub.intercept = () => false;
  await wind(3 * SECOND);
  assert.deepEqual([[...got], alice.heard("gap"), alice.heard("error")], [[1, 2], [], []]);
  assert.equal(alice.session("room-1").isReady, true);
});

test("where the old connection ends first, the new one is asked, though its subscription has no answer yet", async (t) => {
  const { hub, alice, say, listen, wind, settle } = await start(t, {
    history: true,
    options: { handoverAfter: MINUTE, handoverOverlap: 20 * SECOND },
  });
  const got = listen();
  await settle();
  holdAnswers(hub);
  await wind(58 * SECOND);
  const [old, next] = hub.open;
  next.subscriptions.add("room-1");
  hub.drop(2);
  say(1);
  say(2);
  await settle();
  old.terminate();
  await wind(4 * SECOND);
  assert.deepEqual([[...got], alice.heard("gap")], [[1, 2], []]);
  assert.equal(hub.frames.findLast(({ frame }) => frame.session === "room-1").link, next);
});

test("a question that the hub refuses for a session it has subscribed to subscribes again", async (t) => {
  const { hub, alice, asked, say, listen, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  asked();
  hub.drop();
  say(1);
  say(2);
  await settle();
  const [link] = hub.open;
  link.subscriptions.clear();
  await wind(5 * SECOND);
  assert.deepEqual([asked(), [...got]], [[["subscribe", "room-1"]], [1, 2]]);
  assert.deepEqual([alice.heard("gap"), alice.heard("error")], [[], []]);
});

test("a connection whose token ends is not kept for a subscription", async (t) => {
  const { hub, clock, connect, wind } = await setUp(t);
  hub.auth = true;
  const alice = await connect("alice", { token: () => issue(clock, 5 * MINUTE) });
  alice.session("room-1").on("message", () => {});
  await wind(MINUTE);
  holdAnswers(hub);
  await wind(3 * MINUTE);
  assert.equal(hub.open.size, 2);
  await wind(MINUTE + SECOND);
  assert.equal(hub.open.size, 1);
});

test("paused and resumed, what is listened to comes back with what was missed", async (t) => {
  const { alice, asked, say, listen, wind, settle, clock } = await start(t, { history: true });
  const got = listen();
  await settle();
  asked();
  alice.pause();
  await wind(2 * SECOND);
  assert.deepEqual([clock.running, alice.session("room-1").isReady], [0, false]);
  say(1);
  alice.resume();
  await settle();
  assert.deepEqual([asked(), [...got]], [[["subscribe", "room-1"]], [1]]);
  got.off();
  alice.close();
  await settle();
  assert.deepEqual(asked(), []);
});

test("what is still to be sent is, while the client that closes stays subscribed", async (t) => {
  const { hub, alice, say, listen, settle } = await start(t);
  const got = listen();
  await settle();
  const held = holdAnswers(hub, /sendMessage/);
  alice.send("bob", 1);
  const closed = alice.close({ drain: 5 * SECOND });
  await settle();
  say(1);
  await settle();
  held.pop()();
  await closed;
  assert.deepEqual([...got], [1]);
});

// Order and history of each session

test("messages that come before the answer wait for it, in their order", async (t) => {
  const { hub, alice, say, listen, settle } = await start(t, { history: true });
  for (const number of [1, 2, 3]) say(number);
  const held = holdAnswers(hub);
  const got = listen();
  await settle();
  const [link] = hub.open;
  const { epoch } = hub.deliver(null, { id: "4", sessions: ["room-1"], message: 4 }).sessions[0];
  for (const offset of [5, 4, 6]) link.say(delivery(offset, epoch, { session: "room-1" }));
  await settle();
  assert.deepEqual([...got], []);
  held.pop()();
  await settle();
  assert.deepEqual([[...got], alice.position("room-1")], [[4, 5, 6], { epoch, offset: 6 }]);
});

test("each session has a position, a gap and a loss of its own", async (t) => {
  const { hub, alice, say, listen, cut, wind, settle } = await start(t, { history: true });
  const [one, two] = [listen(), listen("room-2")];
  const told = [];
  for (const type of ["gap", "lost"]) {
    for (const name of ["room-1", "room-2", "alice"]) {
      alice.session(name).on(type, ({ from, to }) => told.push([type, name, from.offset, to.offset]));
    }
  }
  await settle();
  say("a");
  await settle();
  hub.drop();
  say("b");
  instead(hub);
  say("c");
  say("x", "room-2");
  await wind(500);
  assert.deepEqual([[...one], [...two]], [["a"], ["x"]]);
  await wind(10 * SECOND);
  assert.deepEqual([told, [...one]], [[["gap", "room-1", 1, 2]], ["a", "c"]]);
  hub.intercept = () => false;
  await cut();
  say("y", "room-2");
  hub.forget();
  await wind(SECOND);
  assert.deepEqual(told[1], ["lost", "room-2", 1, 2]);
  assert.deepEqual([alice.session("room-1").position().offset, alice.position("room-2").offset], [3, 2]);
});

test("a session resumes from its position once, and begins anew with a later listener", async (t) => {
  const { hub, alice, say, listen, connect, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  say(1);
  await settle();
  const positions = JSON.parse(
    JSON.stringify({ "room-1": alice.session("room-1").position(), alice: alice.position() }),
  );
  say(2);
  await settle();
  alice.close();
  const again = await connect("alice", { positions });
  assert.equal(again.position("room-1"), undefined);
  const next = listen("room-1", again);
  await settle();
  assert.deepEqual([[...got], [...next], again.heard("message")[0].missed], [[1, 2], [2], true]);
  next.off();
  await wind(2 * SECOND);
  say(3);
  const last = listen("room-1", again);
  await settle();
  say(4);
  await settle();
  assert.deepEqual([[...last], hub.open.size], [[4], 1]);
});

test("a session's history waits for its subscription, and without one it is refused", async (t) => {
  const { hub, alice, say, listen, cut, wind, settle } = await start(t, { history: true });
  say(1);
  const room = alice.session("room-1");
  await assert.rejects(room.history(), code("forbidden"));
  const held = holdAnswers(hub);
  listen();
  const asking = room.history({ last: 5 });
  const aborted = room.history({ ttl: 1_000 }).catch((error) => error);
  await wind(1_000);
  assert.ok(code("timeout")(await aborted));
  assert.equal(hub.frames.filter(({ frame }) => frame.session === "room-1").length, 1);
  held.pop()();
  assert.deepEqual(
    (await asking).messages.map(({ message }) => message),
    [1],
  );
  hub.intercept = () => false;
  await cut();
  const later = room.history();
  await wind(SECOND);
  assert.equal((await later).messages.length, 1);
  hub.maySubscribe = () => false;
  await cut();
  const never = room.history().catch((error) => error);
  await wind(SECOND);
  await settle();
  assert.ok(code("forbidden")(await never));
});

test("what comes of a session that has been left is in no order, and asks nothing", async (t) => {
  const { hub, alice, listen, wind, settle } = await start(t, { history: true });
  const got = listen();
  await settle();
  got.off();
  await wind(10 * SECOND);
  hub.frames.length = 0;
  const [link] = hub.open;
  for (const offset of [9, 7]) link.say(delivery(offset, "e0000001", { session: "room-1" }));
  await wind(MINUTE);
  assert.deepEqual([alice.got(), [...got], alice.position("room-1")], [[9, 7], [], undefined]);
  assert.deepEqual(
    hub.frames.filter(({ frame }) => frame.action !== "ping"),
    [],
  );
});

test("a message to two sessions is heard once for each", async (t) => {
  const { hub, alice, listen, settle } = await start(t);
  const [one, two] = [listen(), listen("room-2")];
  await settle();
  hub.deliver(null, { id: "1", sessions: ["room-1", "alice", "room-2"], message: "all" });
  await settle();
  assert.deepEqual([[...one], [...two], alice.got().length, alice.stats.duplicates], [["all"], ["all"], 3, 0]);
});
