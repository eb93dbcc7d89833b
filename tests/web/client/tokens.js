// How a client requests its token, where it sends it, and what it does without one.

import assert from "node:assert/strict";
import { SignedOut } from "../../../web/client/hub.js";
import { test } from "../suite.js";
import { code, fakePage, hold, HOUR, issue, MINUTE, SECOND, setUp, types, until } from "./setup.js";

test("each connection requests a fresh token", async (t) => {
  const { hub, connect, cut, wind } = await setUp(t);
  let calls = 0;
  const alice = await connect("alice", { token: async () => `token-${++calls}`, handoverAfter: MINUTE });
  await cut();
  await wind(250);
  assert.equal(alice.state.name, "open");
  await wind(MINUTE);
  assert.deepEqual(
    hub.attempts.map(({ token }) => token),
    ["token-1", "token-2", "token-3"],
  );
});

test("a token that fails or takes too long is an error, and another attempt follows", async (t) => {
  const { start, settle, wind } = await setUp(t);
  const answers = [() => Promise.reject(new Error("no network")), () => new Promise(() => {}), () => null];
  const alice = start("alice", { token: () => answers.shift()() });
  await settle();
  const [first] = alice.heard("error");
  assert.ok(code("token_failed")(first));
  assert.equal(first.cause.message, "no network");
  await wind(250);
  await wind(30 * SECOND - 1);
  assert.equal(alice.heard("error").length, 1);
  await wind(1);
  assert.ok(code("token_failed")(alice.heard("error")[1]));
  assert.match(alice.state.reason, /tokenTimeout/);
});

test("a token request that never ends is given up and repeated", async (t) => {
  const { start, wind } = await setUp(t);
  const answers = [new Promise(() => {})];
  const alice = start("alice", { token: () => answers.shift() ?? "t" });
  await wind(3 * MINUTE);
  assert.equal(alice.state.name, "open");
});

test("a token that comes too late opens no socket", async (t) => {
  const { hub, start, settle } = await setUp(t);
  let late;
  const alice = start("alice", { token: () => new Promise((resolve) => (late = resolve)) });
  await settle();
  alice.close();
  late("late");
  await settle();
  assert.equal(hub.attempts.length, 0);
});

test("a token that fails too late is ignored", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  const token = ({ signal }) => new Promise((_, reject) => (signal.onabort = () => reject(signal.reason)));
  const [alice, bob] = [start("alice", { token }), start("bob", { token })];
  await settle();
  bob.close();
  await wind(30 * SECOND);
  assert.deepEqual(types(bob), ["state"]);
  assert.deepEqual(bob.states(), ["closed"]);
  assert.deepEqual(
    alice.log.map(([type]) => type),
    ["error", "state"],
  );
  assert.equal(hub.attempts.length, 0);
});

for (const tokenIn of ["protocol", "query"]) {
  test(`no event holds the token, in the ${tokenIn}`, async (t) => {
    const { hub, start, settle, wind } = await setUp(t);
    hub.refuse = 403;
    const answers = ["s3cret", "s3cret+/=", { token: "s3cret", expiresAt: 5 }, "s3cret".repeat(2_000)];
    if (tokenIn === "query") answers.splice(1, 1); // Nothing is wrong with it there.
    const alice = start("alice", { tokenIn, token: () => answers[0] });
    await wind(4 * SECOND);
    assert.equal(alice.heard("refused").length, 1);
    while (alice.state.name !== "failed") {
      answers.shift();
      assert.ok(answers.length);
      await wind(alice.delay() + 1);
    }

    hub.refuse = false;
    const bob = start("bob", { tokenIn, token: "s3cret" });
    await bob.send("bob", 1);
    await settle();
    const failed = await alice.send("bob", 1).catch((error) => error);
    const seen = new Set();
    const told = [...alice.log, ...bob.log, ["error", failed]].map(([type, ...carried]) => {
      seen.add(type);
      return carried.map((value) => describe(value)).join();
    });
    const frames = bob.frames.map(({ data }) => data).join();
    assert.doesNotMatch(told.join() + frames + describe([alice.state, bob.state]), /s3cret/);
    assert.match(frames, /sendMessage/);
    assert.deepEqual([...seen].sort(), ["error", "message", "refused", "state"], "each kind of event was looked at");
  });
}

/** Every text in a value, at any depth. */
function describe(value, depth = 0) {
  if (typeof value !== "object" || value === null || depth > 9) return String(value);
  const names = [
    ...Object.getOwnPropertyNames(value),
    ...(value instanceof Error ? ["name", "message", "stack", "cause"] : []),
  ];
  return `${value} ${names.map((name) => `${name}: ${describe(value[name], depth + 1)}`).join("\n")}`;
}

test("a token that a subprotocol cannot carry is an error that names the alternative", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  const odd = ["a b", "a=", "a/b", "a,b", "ä", 'a"b', "a\nb"];
  const alice = start("alice", { token: () => odd[0] });
  await settle();
  while (odd.length) {
    const error = alice.heard("error").at(-1);
    assert.ok(code("token_failed")(error));
    assert.match(error.message, /tokenIn: "query"/);
    assert.ok(!error.message.includes(odd.shift()));
    if (odd.length) await wind(alice.delay() + 1);
  }
  assert.deepEqual([hub.attempts.length, alice.heard("error").length], [0, 7]);
});

test("a token that is too large for its place is final, and the error says what to do", async (t) => {
  const { hub, connect, start, settle } = await setUp(t);
  await connect("alice", { token: "x".repeat(8_000) });
  const room = 4_000 - `${hub.url}?session_id=alice&token=`.length;
  await connect("alice", { token: "x".repeat(room), tokenIn: "query" });
  assert.equal(hub.attempts.length, 2);

  for (const [options, text] of [
    [{ token: "x".repeat(8_001) }, /8001 .* 8000: .*fewer claims$/],
    [{ token: "x".repeat(room + 1), tokenIn: "query" }, /tokenIn: "query".* 4001 .* 4000: .*fewer claims$/],
    // The encoded length counts.
    [{ token: "x".repeat(room - 2) + "+", tokenIn: "query" }, /4001 .* 4000/],
  ]) {
    const alice = start("alice", options);
    const waiting = assert.rejects(alice.send("bob", 1), code("token_too_large"));
    await settle();
    await waiting;
    assert.deepEqual([alice.states(), types(alice)], [["failed"], ["state"]]);
    assert.ok(code("token_too_large")(alice.state.error));
    assert.match(alice.state.error.message, text);
  }
  assert.equal(hub.attempts.length, 2);
});

test("an invalid token or expiry is an error", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  const notStrings = [42, { token: 42 }];
  const noTokens = [{ access_token: "t" }, ["t"]];
  const noTimes = [Date.now() / 1_000, NaN, "soon", true].map((expiresAt) => ({ token: "t", expiresAt }));
  const wrong = [...notStrings, ...noTokens, ...noTimes];
  const texts = wrong.map((token) =>
    noTimes.includes(token) ? /milliseconds since 1970/ : /must be a string|object without a token/,
  );
  const alice = start("alice", { token: () => wrong.shift() });
  await settle();
  for (const [index, text] of texts.entries()) {
    const error = alice.heard("error")[index];
    assert.ok(code("token_failed")(error));
    assert.match(error.message, text);
    if (wrong.length) await wind(alice.delay() + 1);
  }
  assert.equal(hub.attempts.length, 0);
});

test("token() gets the attempt, the refusals, and a signal for when it is too late", async (t) => {
  const { hub, start, cut, settle, wind } = await setUp(t);
  const asked = [];
  let answer = "t";
  const alice = start("alice", { token: (request) => asked.push(request) && answer });
  const last = () => {
    const { signal, ...rest } = asked.at(-1);
    assert.ok(signal instanceof AbortSignal);
    return [asked.length, rest];
  };
  hub.refuse = 403;
  await settle();
  assert.deepEqual(last(), [1, { attempt: 0, refused: 0 }]);
  await wind(250);
  assert.deepEqual(last(), [2, { attempt: 1, refused: 1 }]);
  answer = new Promise(() => {});
  await wind(500);
  assert.deepEqual(last(), [3, { attempt: 2, refused: 2 }]);
  assert.equal(asked[2].signal.aborted, false);
  await wind(30 * SECOND);
  assert.equal(asked[2].signal.aborted, true, "the attempt has been given up");
  assert.deepEqual([alice.state.attempt, alice.state.refused], [3, 2]);
  answer = "t";
  hub.refuse = false;
  await wind(MINUTE);
  assert.equal(alice.state.name, "open");
  assert.equal(asked.at(-1).refused, 2, "a token that came too late was not refused");
  const before = asked.length;
  await wind(5 * SECOND);
  answer = new Promise(() => {});
  await cut();
  await wind(250);
  assert.deepEqual(last(), [before + 1, { attempt: 1, refused: 0 }]);
  alice.close();
  assert.equal(asked.at(-1).signal.aborted, true);
  assert.equal(asked.at(-2).signal.aborted, false, "the one that opened was not given up");
});

class Gone extends SignedOut {
  name = "Gone";
}

const byName = Object.assign(new Error("bye"), { name: "SignedOut" });

const signedOut = {
  "at first": {
    error: new SignedOut(),
    prepare: async ({ start }, token) => start("alice", { token }),
    signOut: () => {},
  },
  "after a loss": {
    error: byName,
    prepare: async ({ connect }, token) => connect("alice", { token }),
    signOut: async ({ cut, wind }) => {
      await cut();
      await wind(250);
    },
  },
  "during a hand-over, with an answer owed": {
    error: new Gone("see you"),
    prepare: async ({ hub, connect, settle, wind }, token) => {
      const alice = await connect("alice", { token, pingInterval: 20 * MINUTE });
      await wind(8 * MINUTE);
      hold(hub);
      alice.owed = assert.rejects(alice.send("bob", 1, { ttl: false }), code("signed_out"));
      await settle();
      return alice;
    },
    signOut: ({ wind }) => wind(MINUTE),
  },
};

for (const [moment, { error: thrown, prepare, signOut }] of Object.entries(signedOut)) {
  test(`SignedOut ends the client, ${moment}`, async (t) => {
    const page = fakePage(t);
    const context = await setUp(t);
    const { hub, clock, settle, wind } = context;
    let isSignedOut = moment === "at first";
    const token = async () => {
      if (isSignedOut) throw thrown;
      return issue(clock, 10 * MINUTE);
    };
    const alice = await prepare(context, token);
    isSignedOut = true;
    await signOut(context);
    await settle();
    assert.equal(alice.state.name, "failed");
    await alice.owed;
    const { error } = alice.state;
    assert.ok(code("signed_out")(error));
    assert.deepEqual([error.cause, error.retryable], [thrown, false]);
    assert.equal(error.message, thrown.message || "signed out");
    assert.deepEqual([...page.listeners], []);

    const before = [hub.attempts.length, alice.log.length];
    await assert.rejects(alice.send("bob", 2), (error) => {
      assert.equal(error.cause, thrown);
      return code("signed_out")(error);
    });
    await assert.rejects(alice.ready(), code("signed_out"));
    alice.check();
    alice.pause();
    alice.resume();
    await alice.close();
    await wind(3 * HOUR);
    assert.deepEqual([hub.attempts.length, alice.log.length], before);
    assert.equal(alice.state.name, "failed");
    assert.deepEqual([clock.running, hub.open.size], [0, 0]);
  });
}

test("SignedOut from token() is final before any handshake", async (t) => {
  const { hub, start, wind } = await setUp(t);
  const refuse = () => {
    throw new SignedOut("the session is over");
  };
  const bob = start("bob", { token: refuse });
  const send = bob.send("alice", 1);
  await assert.rejects(send, code("signed_out"));
  await wind(10 * MINUTE);
  assert.equal(hub.attempts.length, 0);
  const { name, reason, error } = bob.state;
  assert.deepEqual([name, reason, error.code, error.retryable], ["failed", "the session is over", "signed_out", false]);
  await assert.rejects(bob.ready(), code("signed_out"));
});

test("a token that takes 20 s is awaited, and requested once", async (t) => {
  const { hub, clock, start, wind } = await setUp(t);
  let calls = 0;
  const token = () => (calls++, new Promise((resolve) => clock.setTimeout(() => resolve("t"), 20 * SECOND)));
  const bob = start("bob", { token });
  await wind(21 * SECOND);
  assert.deepEqual([calls, hub.attempts.length, bob.state.name], [1, 1, "open"]);
});

test("a token that takes longer than tokenTimeout is not requested twice at a time, and is used when it comes", async (t) => {
  const { clock, start, wind } = await setUp(t);
  let calls = 0;
  const token = () => (calls++, new Promise((resolve) => clock.setTimeout(() => resolve("t"), 45 * SECOND)));
  const bob = start("bob", { token });
  await wind(50 * SECOND);
  assert.deepEqual([calls, bob.state.name], [1, "open"]);
  assert.deepEqual(
    bob.heard("error").map(({ code }) => code),
    ["token_failed"],
  );
});

test("a client that is closed or paused at once requests no token and opens nothing", async (t) => {
  const { hub, start, wind } = await setUp(t);
  let calls = 0;
  const options = { token: () => (calls++, "t") };
  start("bob", options).close();
  const paused = start("bob", options);
  paused.pause();
  await wind(MINUTE);
  assert.deepEqual([calls, hub.attempts.length], [0, 0]);
  paused.resume();
  await until(() => paused.state.name === "open");
  assert.deepEqual([calls, hub.attempts.length], [1, 1]);
});
