// Messages missed while a client was away, and the positions from which it resumes.

import assert from "node:assert/strict";
import { jwt } from "../../../../web/client/testing.js";
import { test } from "../../suite.js";
import { MINUTE, numbers, SECOND, setUp, withHistory } from "../setup.js";

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

test("a message that the fan-out did not post to a new connection is found 5 s later", async (t) => {
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

test("a client without a session option resumes from its positions, or learns its session from messages", async (t) => {
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
