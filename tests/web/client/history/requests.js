// history(), with which a program requests messages.

import assert from "node:assert/strict";
import { test } from "../../suite.js";
import { code, instead, MINUTE, numbers, SECOND, withHistory } from "../setup.js";

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

test("history() after an invalid position is refused before a frame is sent", async (t) => {
  const { bob, questions } = await withHistory(t);
  for (const after of [4, {}, { epoch: "another1" }, { offset: 4 }, { epoch: "another1", offset: -1 }]) {
    await assert.rejects(bob.history({ after }), code("bad_request"), JSON.stringify(after));
  }
  assert.deepEqual(questions(), []);
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
