// How a client finds its hub, keeps the connection alive, and comes back after a loss.

import assert from "node:assert/strict";
import { connect as connectClient } from "../../../web/client/hub.js";
import { test } from "../suite.js";
import { code, fakePage, hold, MINUTE, SECOND, setUp } from "./setup.js";

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

test("options that can never work are refused at once", async (t) => {
  const { standard } = await setUp(t);
  const options = { url: "wss://hub.example/live", session: "a", ...standard };
  const refused = (changed, message) =>
    assert.throws(() => connectClient({ ...options, ...changed }), { name: "TypeError", message });
  for (const session of [undefined, "", "a b", "ä", "x".repeat(129), 7, null, "a*", 'a"', "a\\", "a\n", "\x7f"]) {
    refused({ session }, 'session must be 1 to 128 visible ASCII characters, without * " and \\');
  }
  for (const url of [undefined, "https://hub.example/live", "hub.example", "wss://", "wss://a b", 7]) {
    refused({ url }, /must look like wss/);
  }
  for (const token of [42, true, {}, Promise.resolve("t")]) refused({ token }, /token must be/);
  refused({ tokenIn: "header" }, /tokenIn must be/);
  refused({ WebSocket: 7 }, /no WebSocket/);
  refused({ sendTimeOut: 1 }, /unknown option sendTimeOut/);
  assert.throws(() => connectClient(), TypeError);
});

test("no number is accepted that would flood the hub", async (t) => {
  const { standard } = await setUp(t);
  const least = {
    ttl: 1,
    queueLimit: 1,
    bufferLimit: 1,
    maxFrameBytes: 128,
    pingInterval: 10_000,
    pongTimeout: 1_000,
    connectTimeout: 1_000,
    tokenTimeout: 1_000,
    backoffBase: 100,
    backoffMax: 1_000,
    refusedRetry: 1_000,
    handoverAfter: 60_000,
    handoverOverlap: 0,
    dedupeLimit: 1,
  };
  const canBeOff = ["ttl", "pingInterval", "handoverAfter"];
  const make = (name, value) =>
    connectClient({ url: "wss://hub.example", session: "a", autoConnect: false, ...standard, [name]: value }).close();
  for (const [name, bound] of Object.entries(least)) {
    for (const value of [bound, undefined]) make(name, value);
    for (const value of [bound - 1, -1, NaN, -Infinity, 2 ** 31, null, "5", {}]) {
      assert.throws(
        () => make(name, value),
        { name: "TypeError", message: RegExp(`${name} must be`) },
        `${name} ${value}`,
      );
    }
    for (const value of [false, Infinity]) {
      if (canBeOff.includes(name)) make(name, value);
      else assert.throws(() => make(name, value), RegExp(`${name} must be`));
    }
  }
});

test("an address that the runtime refuses is final", async (t) => {
  const { start, settle } = await setUp(t);
  // Browsers do this with ws:// on a page served by https.
  class Refusing {
    constructor() {
      throw new Error("not from here");
    }
  }
  const alice = start("alice", { WebSocket: Refusing });
  const waiting = assert.rejects(alice.send("bob", 1), code("cannot_connect"));
  await settle();
  await waiting;
  assert.deepEqual(alice.states(), ["failed"]);
  assert.ok(code("cannot_connect")(alice.state.error));
  assert.match(alice.state.error.message, /not from here/);
});

test("an idle connection is kept alive well within the gateway's 10 minutes", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice", { handoverAfter: 120 * MINUTE });
  for (let tens = 1; tens <= 10; tens++) {
    let minutes = 0;
    for (; minutes < 10 && hub.pings < tens; minutes++) await wind(MINUTE);
    assert.ok(minutes < 8, `${minutes} minutes passed without a ping`);
    assert.equal(alice.frames.filter(({ data }) => data === '{"type":"pong"}').length, 1 + tens);
  }
  assert.equal(hub.handshakes.length, 1);
});

test("pings go out while messages come in: receiving does not keep a connection alive", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const bob = await connect("bob");
  const [link] = hub.open;
  for (let minute = 1; minute <= 4; minute++) {
    link.say({ type: "message", id: `${minute}`, from: "a", message: minute });
    await settle();
    assert.equal(bob.got().length, minute);
    await wind(MINUTE);
  }
  assert.equal(hub.pings, 1);
});

test("pings can be switched off", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  await connect("alice", { pingInterval: false });
  await wind(100 * MINUTE);
  assert.equal(hub.pings, 0);
});

test("a hub that does not answer a ping is given up, and its sends are sent again", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const [dead] = hub.open;
  hub.intercept = (link) => link === dead;
  const send = alice.send("bob", "hello", { id: "x" });
  await settle();
  assert.equal(hub.sent.length, 1);
  await wind(10 * SECOND);
  assert.equal(hub.pings, 1);
  await wind(10 * SECOND - 1);
  assert.equal(alice.state.name, "open");
  await wind(1);
  assert.equal(alice.state.name, "waiting");
  assert.match(alice.state.reason, /does not answer/);
  await wind(500);
  assert.equal((await send).delivered, 1);
  await settle();
  assert.deepEqual(bob.got(), ["hello"]);
  assert.deepEqual(
    hub.sent.map(({ id }) => id),
    ["x", "x"],
  );
  assert.equal(alice.stats.resent, 1);
  await wind(SECOND);
  assert.ok(!hub.open.has(dead), "the dead socket was cut, not left to linger");
});

test("a dead connection is given up in time, however often check() is called", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.mute = true;
  hub.silent = true;
  await wind(5 * SECOND);
  for (let seconds = 0; seconds < 10; seconds++) {
    assert.equal(alice.state.name, "open");
    alice.check();
    await wind(SECOND);
  }
  assert.equal(alice.state.name, "waiting");
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

test("check() resets the backoff", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  await settle();
  for (let tries = 1; tries <= 3; tries++) await wind(alice.delay());
  assert.equal(alice.delay(), 2_000);
  alice.check();
  await settle();
  assert.equal(alice.delay(), 250);
});

test("with a connection, check() and events of the machine ping, unless a frame came recently", async (t) => {
  const page = fakePage(t);
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const front = () => page.tellDocument("visibilitychange");
  for (const [name, wake, quiet] of [
    ["a tab that comes to the front", front, 30 * SECOND],
    ["check()", () => alice.check(), 2 * SECOND],
    ["a change of the network", () => page.tell("online"), 0],
  ]) {
    const before = hub.pings;
    await wind(quiet && quiet - SECOND);
    wake();
    await settle();
    assert.equal(hub.pings, before + (quiet ? 0 : 1), `${name}, at once`);
    await wind(quiet && SECOND);
    if (quiet) wake();
    await settle();
    assert.equal(hub.pings, before + 1, `${name}, later`);
  }
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

test("a first ping that is throttled is repeated on the same connection", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.greeting = { message: "Too Many Requests", connectionId: "c", requestId: "r" };
  const alice = start("alice");
  await settle();
  assert.deepEqual([alice.state.name, alice.heard("error").map(({ code }) => code)], ["connecting", ["gateway"]]);
  await wind(SECOND);
  assert.deepEqual([alice.state.name, hub.handshakes.length, hub.pings], ["open", 1, 1]);
});

test("not_connected makes a new connection, whichever request it answers", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  for (let times = 1; times <= 3; times++) {
    [...hub.open][0].say({ type: "error", code: "not_connected", message: "who is that?", id: `${times}` });
    await settle();
    assert.equal(alice.state.name, "waiting");
    await wind(10 * SECOND);
    assert.deepEqual([alice.state.name, hub.handshakes.length], ["open", times + 1]);
  }
});

test("frames that answer no send are reported as errors, and end nothing", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", "hello");
  await settle();
  const [link] = hub.open;
  link.say({ message: "Internal server error", connectionId: "c", requestId: "r" });
  link.say({ type: "error", code: "unknown_action", message: "no such action" });
  link.say({ type: "error", code: "internal", message: "ours", id: "long gone" });
  link.say("no JSON");
  for (const odd of ["null", "7", "[]", '"text"', "{}", '{"type":"news"}']) link.say(odd);
  link.say({ type: "receipt", id: "long gone", delivered: 1, gone: 0, failed: 0, sessions: [] });
  await settle();
  held[0]();
  await send;
  assert.deepEqual(
    alice.heard("error").map(({ code, id }) => [code, id]),
    [
      ["gateway", undefined],
      ["unknown_action", undefined],
      ["internal", "long gone"],
      ["bad_frame", undefined],
    ],
  );
  assert.match(alice.heard("error")[0].message, /Internal server error/);
  assert.equal(alice.state.name, "open");
});

test("an address that the runtime never connects to is final", async (t) => {
  const { start, settle } = await setUp(t);
  let attempts = 0;
  class Insecure {
    constructor() {
      attempts++;
      throw Object.assign(new Error("An insecure WebSocket may not be made"), { name: "SecurityError" });
    }
  }
  const bob = start("bob", { WebSocket: Insecure });
  await settle();
  assert.deepEqual([attempts, bob.state.name, bob.state.error.code], [1, "failed", "cannot_connect"]);
  assert.match(bob.state.reason, /insecure/);
});
