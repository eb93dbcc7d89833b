// How a client finds its hub, and how it comes back after a loss.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, MINUTE, SECOND, setUp } from "./setup.js";

test("the handshake carries session and token, and keeps the address's own parameters", async (t) => {
  const { hub, connect } = await setUp(t);
  hub.url += "?stage=a%20b#top";
  await connect("A-Z.a_z~0:9@x", { token: "t+/=", tokenIn: "query" });
  const query = { stage: "a b", session_id: "A-Z.a_z~0:9@x" };
  assert.deepEqual(Object.fromEntries(hub.handshakes[0]), { ...query, token: "t+/=" });
  assert.deepEqual(hub.attempts[0].protocols, []);

  // With the token in a subprotocol, the address holds none, not even an older one.
  hub.url = hub.url.replace("#", "&token=old#");
  await connect("A-Z.a_z~0:9@x", { token: "a.b-c_D~+" });
  assert.deepEqual(Object.fromEntries(hub.handshakes[1]), query);
  assert.deepEqual(hub.attempts[1].protocols, ["hub.v1", "bearer.a.b-c_D~+"]);
});

test("without a token there is no subprotocol", async (t) => {
  const { hub, connect } = await setUp(t);
  const tokens = [undefined, null, "", () => null, async () => undefined, () => ({ token: null })];
  for (const token of tokens) await connect("alice", { token });
  assert.deepEqual(
    hub.attempts.map(({ url, protocols }) => [url, protocols]),
    tokens.map(() => ["/live?session_id=alice", []]),
  );
});

test("a session can be left to the token", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect(undefined, { token: "t" });
  assert.equal(alice.name, null);
  assert.equal(hub.attempts[0].url, "/live");
});

test("the address can be a function, which is called for each connection", async (t) => {
  const { hub, connect, cut, wind } = await setUp(t);
  const urls = [hub.url, Promise.resolve(new URL(`${hub.url}?n=2`))];
  const alice = await connect("alice", { url: () => urls.shift() });
  await cut();
  await wind(SECOND);
  assert.equal(alice.state.name, "open");
  assert.deepEqual(
    hub.attempts.map(({ query }) => query.get("n")),
    [null, "2"],
  );
});

test("any session id reaches the hub unchanged", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const names = {
    "auth0|64af": "auth0%7C64af",
    "ann+test@example.com": "ann%2Btest%40example.com",
    "a,b": "a%2Cb",
    "a&b=c": "a%26b%3Dc",
    "#x": "%23x",
    "<b>": "%3Cb%3E",
    "../x": "..%2Fx",
    "o'brien@x": "o%27brien%40x",
    "100%25": "100%2525",
    "[!$();:?^`{}~]": "%5B!%24()%3B%3A%3F%5E%60%7B%7D~%5D",
    ["x".repeat(128)]: "x".repeat(128),
  };
  for (const [name, encoded] of Object.entries(names)) {
    const client = await connect(name);
    assert.equal(client.name, name);
    const { url, query } = hub.attempts.at(-1);
    assert.deepEqual([url, query.get("session_id")], [`/live?session_id=${encoded}`, name]);
    await client.send(name, "to myself");
    await settle();
    const [{ from, session }] = client.heard("message");
    assert.deepEqual([from, session], [name, name]);
  }
});

test("an address that the runtime refuses is final", async (t) => {
  const { start, settle } = await setUp(t);
  // Browsers do this with ws:// on a page served by https.
  let attempts = 0;
  class Refusing {
    constructor() {
      attempts++;
      throw Object.assign(new Error("An insecure WebSocket may not be made"), { name: "SecurityError" });
    }
  }
  const alice = start("alice", { WebSocket: Refusing });
  const waiting = assert.rejects(alice.send("bob", 1), code("cannot_connect"));
  await settle();
  await waiting;
  assert.deepEqual([attempts, alice.states()], [1, ["failed"]]);
  assert.ok(code("cannot_connect")(alice.state.error));
  assert.match(alice.state.error.message, /insecure/);
  assert.match(alice.state.reason, /insecure/);
});

test("a handshake that hangs is given up and attempted again", async (t) => {
  const { hub, start, wind } = await setUp(t);
  hub.hang = true;
  const alice = start("alice");
  await wind(15 * SECOND - 1);
  assert.equal(alice.state.name, "connecting");
  await wind(1);
  assert.equal(alice.state.name, "waiting");
  hub.hang = false;
  await wind(250);
  assert.equal(alice.state.name, "open");
});

test("a gateway that accepts connections without a hub behind it is no connection", async (t) => {
  const { hub, start, connect, wind } = await setUp(t);
  hub.mute = true;
  const alice = start("alice");
  const send = alice.send("alice", "hello", { ttl: false });
  await wind(10 * SECOND - 1);
  assert.deepEqual([alice.states(), hub.sent.length], [[], 0]);
  assert.ok([...hub.open][0].greeted);
  await wind(1);
  assert.equal(alice.state.name, "waiting");

  hub.mute = false;
  hub.greeting = { message: "Forbidden", connectionId: "c", requestId: "r" };
  await wind(250);
  assert.deepEqual(
    alice.heard("error").map(({ code, message }) => [code, message]),
    [
      ["connect_failed", "the hub does not answer"],
      ["connect_failed", "Forbidden"],
    ],
  );

  hub.greeting = { type: "pong" };
  await wind(500);
  assert.equal((await send).delivered, 1);
  assert.equal(hub.sent.length, 1);

  // It does not replace a connection that works.
  const bob = await connect("bob", { handoverAfter: MINUTE });
  hub.mute = true;
  const before = hub.handshakes.length;
  await wind(MINUTE);
  assert.ok(hub.handshakes.length > before);
  hub.mute = false;
  await bob.send("bob", "still here");
  await wind(0);
  assert.deepEqual([bob.state.name, bob.got()], ["open", ["still here"]]);
});

for (const random of [0.25, 0.999]) {
  test(`reconnecting backs off exponentially up to a bound, with full jitter, at ${random}`, async (t) => {
    const { hub, connect, start, wind, cut, settle } = await setUp(t, { random });
    const alice = await connect("alice");
    hub.refuse = true;
    await cut();
    const bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000];
    for (const [index, bound] of bounds.entries()) {
      assert.deepEqual([alice.state.name, alice.state.attempt], ["waiting", index + 1]);
      const delay = alice.delay();
      assert.ok(Math.abs(delay - bound * random) <= 3, `${delay} of ${bound}`);
      if (index === bounds.length - 1) break;
      await wind(delay - 1);
      assert.equal(alice.heard("error").length, index, "not before its time");
      await wind(3);
    }
    for (const error of alice.heard("error")) {
      assert.ok(code("connect_failed")(error));
      assert.ok(error.retryable);
    }
    assert.equal(alice.state.error, alice.heard("error").at(-1));

    // A client that never had a connection does the same.
    const bob = start("bob");
    await settle();
    assert.ok(Math.abs(bob.delay() - 500 * random) <= 1);

    hub.refuse = false;
    await wind(30 * SECOND);
    assert.deepEqual([alice.state.name, bob.state.name], ["open", "open"]);
    assert.deepEqual([alice.state.error, alice.state.retryAt], [null, null]);
  });
}

test("a connection that does not last keeps the backoff; one that lasts resets it", async (t) => {
  const { connect, cut, wind } = await setUp(t);
  const alice = await connect("alice");
  const lose = async () => {
    await cut();
    assert.equal(alice.state.name, "waiting");
    const delay = alice.delay();
    await wind(delay);
    assert.equal(alice.state.name, "open");
    return delay;
  };
  assert.deepEqual([await lose(), await lose(), await lose()], [250, 500, 1_000]);
  await wind(5 * SECOND);
  assert.equal(await lose(), 250);
});
