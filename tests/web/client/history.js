// History: resuming after an absence, losses, requests by the program, and hubs without history.

import assert from "node:assert/strict";
import { jwt } from "../../../web/client/testing.js";
import { test } from "../suite.js";
import { code, delivery, instead, MINUTE, SECOND, setUp, withHistory } from "./setup.js";

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("messages missed while the client was away come first, page by page, and new ones after them", async (t) => {
  const { hub, bob, epoch, say, cut, wind, settle, questions } = await withHistory(t);
  say(1);
  await settle();
  await cut();
  for (const number of numbers(2, 250)) say(number);
  let pages = 0;
  hub.intercept = (link, { action }) => {
    if (action === "history" && ++pages === 2) say(251);
    return false;
  };
  await wind(250);
  await settle();
  assert.deepEqual([bob.got(), bob.position()], [numbers(1, 251), { epoch, offset: 251 }]);
  assert.deepEqual(
    questions().map(({ after }) => after),
    [1, 101, 201],
  );
  const live = bob.heard("message").filter(({ missed }) => !missed);
  assert.deepEqual([live.map(({ message }) => message), bob.stats.duplicates], [[1, 251], 0]);
  await wind(MINUTE);
  assert.deepEqual([questions().length, bob.heard("gap"), bob.heard("lost"), bob.heard("error")], [1, [], [], []]);
});

test("a position is JSON, from which another client continues", async (t) => {
  const { bob, say, connect, wind } = await withHistory(t);
  say(1);
  await wind(0);
  const stored = JSON.stringify({ bob: bob.position(), carol: undefined });
  bob.close();
  say(2);
  const positions = JSON.parse(stored);
  const next = await connect("bob", { positions });
  await wind(0);
  assert.deepEqual([next.got(), next.heard("message")[0].missed, next.position().offset], [[2], true, 2]);
  const newcomer = await connect("bob", { positions: { bob: null } });
  await wind(0);
  assert.deepEqual([newcomer.got(), newcomer.position().offset], [[], 2]);
});

test("any session has a position, whatever its name", async (t) => {
  const { hub, connect, settle } = await setUp(t, { history: true });
  for (const session of ["constructor", "__proto__", "toString"]) {
    const client = await connect(session);
    hub.deliver(null, { id: "1", sessions: [session], message: session });
    await settle();
    assert.deepEqual([client.got(), client.position().offset], [[session], 1]);
    const next = await connect(session, { positions: Object.fromEntries([[session, client.position()]]) });
    assert.deepEqual(next.position(), client.position());
  }
});

test("invalid positions are refused at once", async (t) => {
  const { start } = await setUp(t);
  for (const positions of [
    { bob: {} },
    { bob: 5 },
    { bob: { epoch: "e" } },
    { bob: { epoch: 1, offset: 1 } },
    { bob: { epoch: "e", offset: -1 } },
    { bob: { epoch: "e", offset: 1.5 } },
    { bob: { epoch: "e", offset: "1" } },
    { "a b": { epoch: "e", offset: 1 } },
  ]) {
    assert.throws(() => start("bob", { positions }), /^TypeError: positions must be/, JSON.stringify(positions));
  }
  for (const option of ["history", "ordered"]) {
    assert.throws(() => start("bob", { [option]: 1 }), RegExp(`^TypeError: ${option} must be true or false`));
  }
});

test("a message that a fan-out did not post to a new connection is found 5 s later", async (t) => {
  const { hub, bob, say, cut, wind } = await withHistory(t);
  await cut();
  await wind(SECOND);
  assert.equal(bob.state.name, "open");
  hub.drop();
  say(1);
  await wind(4 * SECOND);
  assert.deepEqual(bob.got(), []);
  await wind(SECOND);
  assert.deepEqual([bob.got(), bob.heard("gap")], [[1], []]);
});

test("messages that the hub no longer has are reported as lost, once, before those that it has", async (t) => {
  const { hub, bob, epoch, say, cut, wind } = await withHistory(t);
  say(1);
  await wind(0);
  await cut();
  for (const number of numbers(2, 10)) say(number);
  hub.forget();
  for (const number of numbers(11, 150)) say(number);
  await wind(MINUTE);
  assert.deepEqual(bob.got(), [1, ...numbers(11, 150)]);
  const to = { epoch, offset: 110 };
  assert.deepEqual(bob.heard("lost"), [{ session: "bob", from: { epoch, offset: 1 }, to }]);
  const order = bob.log.map(([type]) => type).filter((type) => type === "lost" || type === "message");
  assert.equal(order.indexOf("lost"), 1);
  assert.deepEqual([bob.position().offset, bob.heard("gap")], [150, []]);
});

test("when all missed messages are lost, the position is the session's newest", async (t) => {
  const { hub, bob, epoch, say, cut, wind } = await withHistory(t);
  await cut();
  for (const number of numbers(1, 3)) say(number);
  hub.forget();
  await wind(MINUTE);
  const end = { epoch, offset: 3 };
  assert.deepEqual(bob.heard("lost"), [{ session: "bob", from: { epoch, offset: 0 }, to: end }]);
  assert.deepEqual([bob.got(), bob.position()], [[], end]);
  say(4);
  await wind(0);
  assert.deepEqual([bob.got(), bob.position().offset], [[4], 4]);
});

test("a lost message that arrives after all is passed on; but never one before a message already passed on", async (t) => {
  const { hub, bob, epoch, say, post, cut, wind } = await withHistory(t);
  say(1);
  await wind(0);
  await cut();
  for (const number of numbers(2, 4)) say(number);
  hub.forget();
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.position().offset], [[1], 4]);
  for (const offset of [3, 2, 1, 3]) post(offset, { id: `late ${offset}`, message: `late ${offset}` });
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.position()], [[1, "late 3"], { epoch, offset: 4 }]);
  assert.equal(bob.stats.duplicates, 3);
});

for (const [where, begin] of [
  ["while the client is away", ({ cut, hub, say }) => cut().then(() => (hub.reset(), say("a"), say("b")))],
  ["while it is connected", async ({ hub, say }) => (hub.reset(), say("a"), say("b"))],
  [
    "while it is connected, and its messages come out of order",
    ({ hub, say }) => {
      hub.reset();
      hub.drop();
      say("a");
      say("b");
    },
  ],
]) {
  test(`a history that begins anew ${where} is reported as lost, and received from its beginning`, async (t) => {
    const set = await withHistory(t);
    const { bob, epoch, say, wind, settle } = set;
    for (const number of [1, 2, 3]) say(number);
    await settle();
    await begin(set);
    await wind(MINUTE);
    assert.deepEqual(bob.got(), [1, 2, 3, "a", "b"]);
    const [{ from, to }, ...more] = bob.heard("lost");
    assert.deepEqual([from, to.offset, more, bob.heard("gap")], [{ epoch, offset: 3 }, 2, [], []]);
    assert.deepEqual([bob.position(), to.epoch === epoch], [to, false]);
    say("c");
    await settle();
    assert.equal(bob.got().pop(), "c");
  });
}

test("a position ahead of the hub's, as after a restored backup, is lost, and all messages are received", async (t) => {
  const { epoch, say, connect, wind } = await withHistory(t);
  say(1);
  say(2);
  const from = { epoch, offset: 40 };
  const other = await connect("bob", { positions: { bob: from } });
  await wind(MINUTE);
  assert.deepEqual(other.heard("lost"), [{ session: "bob", from, to: { epoch, offset: 2 } }]);
  assert.deepEqual([other.got(), other.position().offset], [[1, 2], 2]);
});

test("a delivery of an old epoch is dropped, and the others stay in order", async (t) => {
  const { hub, bob, epoch, say, post, wind, settle } = await withHistory(t);
  hub.reset();
  say("a");
  await wind(MINUTE);
  post(1, { epoch });
  say("b");
  await settle();
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap"), bob.heard("lost").length], [["a", "b"], [], 1]);
});

test("an answer from before a new epoch does not drop messages of that epoch", async (t) => {
  const { hub, bob, epoch, say, cut, wind, settle } = await withHistory(t);
  const answers = [];
  instead(hub, (link, { id }) => {
    const answer = { session: "bob", epoch, offset: 0, more: false, complete: true, messages: [] };
    answers.push(() => link.say({ type: "history", id, ...answer }));
  });
  await cut();
  await wind(250);
  hub.reset();
  say("a");
  await settle();
  answers[0]();
  hub.intercept = () => false;
  await wind(2 * SECOND);
  assert.deepEqual([bob.got(), bob.heard("lost").length], [["a"], 1]);
});

test("messages that waited for one of an old epoch are dropped", async (t) => {
  const { hub, bob, epoch, post, wind } = await withHistory(t);
  post(3);
  await wind(100);
  hub.reset();
  await wind(MINUTE);
  assert.deepEqual([bob.got(), bob.heard("gap"), bob.heard("lost").length], [[], [], 1]);
  assert.deepEqual([bob.position().offset, bob.position().epoch === epoch], [0, false]);
});

test("messages that wait when a new epoch begins are not taken for messages of it", async (t) => {
  const { hub, bob, say, post, wind } = await withHistory(t);
  post(3);
  await wind(100);
  hub.reset();
  hub.drop();
  for (const message of ["a", "b", "c"]) say(message);
  await wind(MINUTE);
  assert.deepEqual(
    bob.heard("message").map(({ message, missed }) => [message, missed]),
    [
      ["a", true],
      ["b", false],
      ["c", false],
    ],
  );
  assert.deepEqual([bob.stats.duplicates, bob.heard("gap"), bob.heard("lost").length], [0, [], 1]);
});

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

test("a request for history before this is known is refused too, and other errors are reported", async (t) => {
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

test("with history: false no history is requested, and messages are passed on as they arrive", async (t) => {
  const { hub, connect, settle } = await setUp(t, { history: true });
  const bob = await connect("bob", { history: false });
  const [link] = hub.open;
  for (const offset of [3, 1, 2, 1]) link.say(delivery(offset, "e"));
  await settle();
  assert.deepEqual([bob.got(), bob.stats.duplicates, bob.position(), hub.frames], [[3, 1, 2], 1, undefined, []]);
  await assert.rejects(bob.history(), code("unknown_action"));
});

test("history() returns the newest messages or those after a position, in order, and moves nothing", async (t) => {
  const { bob, say, wind, settle, epoch, connect } = await withHistory(t);
  for (const number of numbers(1, 120)) say(number);
  await settle();
  const { length } = bob.log;
  const { messages, ...last } = await bob.history({ last: 3 });
  assert.deepEqual(
    [typeof last.id, { ...last, id: "" }],
    ["string", { id: "", session: "bob", epoch, offset: 120, more: false }],
  );
  assert.deepEqual(
    messages.map(({ message, position, missed }) => [message, position, missed]),
    [118, 119, 120].map((offset) => [offset, { epoch, offset }, false]),
  );
  assert.equal(Number(messages[0].sentAt), Number(bob.heard("message")[117].sentAt));
  const got = async (query) => {
    const { messages, more, complete } = await bob.history(query);
    return [messages.map(({ message }) => message), more, complete];
  };
  const after = (offset) => ({ epoch, offset });
  assert.deepEqual(await got(), [numbers(21, 120), false, undefined]);
  assert.deepEqual(await got({ session: "bob", after: after(10), limit: 5 }), [numbers(11, 15), true, true]);
  assert.deepEqual(await got({ after: bob.position() }), [[], false, true]);
  assert.deepEqual(await got({ after: after(0) }), [numbers(1, 100), true, true]);
  assert.deepEqual(await got({ after: after(500), limit: 1 }), [[1], true, false]);
  assert.deepEqual(await got({ after: { epoch: "other", offset: 5 }, limit: 1 }), [[1], true, false]);
  await wind(MINUTE);
  assert.deepEqual([bob.position().offset, bob.log.length], [120, length]);

  const alice = await connect("alice");
  await assert.rejects(alice.history({ session: "bob" }), code("forbidden"));
  assert.deepEqual((await alice.history()).messages, []);
});

test("history() rejects like a send, and waits for a connection", async (t) => {
  const { hub, bob, say, cut, wind } = await withHistory(t);
  for (const query of [{ last: 0 }, { last: 101 }, { last: "5" }, { limit: 0, after: bob.position() }, { since: 5 }]) {
    await assert.rejects(bob.history(query), code("bad_request"), JSON.stringify(query));
  }
  await assert.rejects(bob.history({ last: 1, ttl: 0 }), TypeError);
  await assert.rejects(bob.history({ last: 1, signal: AbortSignal.abort("enough") }), (reason) => reason === "enough");
  say("kept");
  await cut();
  const late = bob.history({ last: 1 });
  await wind(SECOND);
  assert.equal((await late).messages[0].message, "kept");

  const fail =
    (code) =>
    (link, { id }) =>
      link.say({ type: "error", code, message: "no", id });
  instead(hub, fail("internal"));
  await assert.rejects(bob.history(), code("internal"));
  instead(hub, fail("not_connected"));
  const lost = bob.history().catch((error) => error);
  await wind(MINUTE);
  assert.ok(code("not_connected")(await lost));
  instead(hub);
  const slow = bob.history({ ttl: 3 * SECOND }).catch((error) => error);
  const never = bob.history({ ttl: false }).catch((error) => error);
  await wind(3 * SECOND);
  assert.ok(code("timeout")(await slow));
  bob.close();
  assert.ok(code("closed")(await never));
  await assert.rejects(bob.history(), code("closed"));
});

test("a client that only its token names resumes from its positions, or learns its session from messages", async (t) => {
  const { bob, say, connect, wind, questions } = await withHistory(t);
  say(1);
  await wind(0);
  const token = jwt({ session_id: "bob" });
  const positions = { bob: bob.position(), carol: bob.position() };
  bob.close();
  say(2);
  const resumed = await connect(undefined, { token, positions });
  const fresh = await connect(undefined, { token });
  assert.equal(fresh.position(), undefined);
  say(3);
  await wind(0);
  assert.deepEqual([resumed.got(), fresh.got()], [[2, 3], [3]]);
  assert.deepEqual([resumed.position().offset, fresh.position().offset], [3, 3]);
  // The history of another session is refused.
  assert.deepEqual(
    resumed.heard("error").map(({ code }) => code),
    ["forbidden"],
  );
  questions();
  await wind(10 * MINUTE);
  assert.equal(questions().length, 2);
});

test("the fake hub answers and refuses as a hub does", async (t) => {
  const { hub, epoch, say, settle } = await withHistory(t);
  const [link] = hub.open;
  const answers = [];
  link.say = (frame) => answers.push(frame);
  const ask = (question) => {
    hub.answer(link, { action: "history", session: "bob", ...question });
    return answers.pop();
  };
  for (const wrong of [
    { session: undefined },
    { session: "a b" },
    { session: null },
    { epoch: null },
    { epoch: 5 },
    { after: 0 },
    { epoch, after: -1 },
    { epoch, after: 1.5 },
    { epoch, after: "1" },
    { epoch, after: null },
    { epoch, after: 2 ** 53 },
    { epoch, after: 0, last: 1 },
    { last: 0 },
    { last: 101 },
    { last: null },
    { limit: 0 },
    { limit: 101 },
    { limit: null },
    { id: "" },
    { id: 5 },
  ]) {
    const { type, code } = ask(wrong);
    assert.deepEqual([type, code], ["error", "bad_request"], JSON.stringify(wrong));
  }
  assert.equal(ask({ session: "carol", id: "1" }).code, "forbidden");
  assert.equal(ask({ session: "carol", id: "1" }).id, "1");
  const nothing = { type: "history", session: "bob", epoch, offset: 0, more: false, messages: [] };
  for (const fine of [{ epoch }, { limit: 5 }, { id: null }]) {
    const { id, ...answer } = ask(fine);
    assert.deepEqual([typeof id, answer], ["string", nothing]);
  }

  // At most 30 KiB, or one larger message.
  const large = "x".repeat(14_000);
  for (const number of numbers(1, 4)) say(number, { message: large });
  say(5, { message: large.repeat(3) });
  say(6);
  await settle();
  const got = ({ messages, more, complete }) => [messages.map(({ offset }) => offset), more, complete];
  assert.deepEqual(got(ask({ epoch, after: 0 })), [[1, 2], true, true]);
  assert.deepEqual(got(ask({ epoch, after: 3 })), [[4], true, true]);
  assert.deepEqual(got(ask({ epoch, after: 4 })), [[5], true, true]);
  assert.deepEqual(got(ask({ epoch, after: 5 })), [[6], false, true]);
  assert.deepEqual(got(ask({ last: 5 })), [[6], false, undefined]);
  hub.skip("bob");
  assert.deepEqual(got(ask({ epoch, after: 5 })), [[6], true, true]);
  assert.deepEqual(got(ask({ last: 2 })), [[6], true, undefined]);
  assert.deepEqual(got(ask({})), [[], false, undefined]);
  hub.forget();
  assert.deepEqual(got(ask({ epoch, after: 5 })), [[], false, false]);
});
