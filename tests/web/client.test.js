// The client's own tests: against a small hub that misbehaves on demand, with a clock that the tests wind.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { getEventListeners } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect, promisify } from "node:util";
import WebSocket from "ws";
import { HubClient, HubError, SignedOut } from "../../web/hub-client.js";
import { Clock } from "./clock.js";
import { FakeHub, jwt } from "./fake-hub.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const realTimeout = setTimeout;
/** Long enough for anything on loopback that was going to happen. */
const aWhile = () => new Promise((resolve) => realTimeout(resolve, 60));

async function until(condition, what = String(condition)) {
  const end = process.hrtime.bigint() + 10_000_000_000n;
  while (!condition()) {
    assert.ok(process.hrtime.bigint() < end, `this never came true: ${what}`);
    await new Promise(setImmediate);
  }
}

/** Winds the clock to the client's next attempt. */
const again = (client, tick) => tick(client.heard("reconnecting").at(-1).delay);

/** A hub, a clock that only `tick` moves, and clients that are closed at the end. */
async function setUp(t, { random = 0.5 } = {}) {
  const clock = new Clock();
  t.mock.method(Math, "random", () => random);
  const hub = await FakeHub.start();
  hub.now = () => clock.time;
  const clients = [];
  const sockets = new Set();
  /** One that is known to be waiting: for its handshake, the answer to a ping, or its end. */
  class Socket extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.add(this);
      this.on("message", () => (this.pinged = false));
      this.on("close", () => sockets.delete(this));
    }
    send(data) {
      this.pinged ||= data === '{"action":"ping"}';
      super.send(data);
    }
    get busy() {
      return this.pinged || this.readyState !== WebSocket.OPEN;
    }
  }
  t.after(async () => {
    for (const client of clients) client.close();
    await hub.stop();
    await until(() => clock.running === 0, "no timer is left");
    clock.restore();
  });
  const start = (session, options = {}) => {
    const client = new HubClient(hub.url, { session, WebSocket: Socket, ...options });
    client.log = [];
    for (const type of ["message", "open", "reconnecting", "refused", "failed", "close", "error"]) {
      client.addEventListener(type, (event) => client.log.push(event));
    }
    client.heard = (type) => client.log.filter((event) => event.type === type);
    client.pongs = 0;
    client.addEventListener("frame", ({ data }) => (client.pongs += data === '{"type":"pong"}'));
    client.messages = () => client.heard("message").map(({ message }) => message);
    clients.push(client);
    return client;
  };
  const connect = async (...args) => {
    const client = start(...args);
    await until(() => client.state === "open");
    return client;
  };
  const busy = () => !hub.hang && [...sockets].some(({ busy }) => busy);
  /** Lets time pass from timer to timer, and what each one sets off come to its end. */
  const wind = async (ms) => {
    for (const end = clock.time + ms; ;) {
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      await until(() => !busy(), "the network is quiet");
      if (clock.time === end) return;
      clock.tick(Math.min(clock.next, end - clock.time));
    }
  };
  /** A token that is issued now, and ends after `life`. */
  const issue = (life, claims) => jwt({ iat: clock.time / 1_000, exp: (clock.time + life) / 1_000, ...claims });
  return { hub, start, connect, clock, wind, issue, tick: (ms) => clock.tick(ms) };
}

const code = (expected) => (error) => {
  assert.ok(error instanceof HubError, String(error));
  assert.equal(error.code, expected);
  return true;
};

test("a message arrives with its sender and time, and the sender gets the receipt", async (t) => {
  const { connect } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const receipt = await alice.send(["bob", "nobody"], { text: "hello" });
  assert.deepEqual(receipt, {
    id: receipt.id,
    delivered: 1,
    gone: 0,
    failed: 0,
    sessions: [
      { session: "bob", delivered: 1, gone: 0, failed: 0 },
      { session: "nobody", delivered: 0, gone: 0, failed: 0 },
    ],
  });
  await until(() => bob.messages().length);
  const [{ id, from, message, sentAt }] = bob.heard("message");
  assert.deepEqual({ id, from, message }, { id: receipt.id, from: "alice", message: { text: "hello" } });
  assert.ok(Math.abs(Date.now() - sentAt) < MINUTE);
  assert.deepEqual(alice.messages(), []);
});

test("one session can be named as a string, and an id of one's own is used", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  assert.equal((await alice.send("bob", null, { id: "mine" })).id, "mine");
  assert.deepEqual(hub.sent, [{ action: "sendMessage", sessions: ["bob"], message: null, id: "mine" }]);
});

test("the handshake carries session and token, beside what the address already has", async (t) => {
  const { hub, connect } = await setUp(t);
  hub.url += "?stage=a%20b#top";
  await connect("A-Z.a_z~0:9@x", { token: "t+/=", tokenIn: "query" });
  const query = { stage: "a b", session_id: "A-Z.a_z~0:9@x" };
  assert.deepEqual(Object.fromEntries(hub.handshakes[0]), { ...query, token: "t+/=" });
  assert.deepEqual(hub.attempts[0].protocols, []);

  // In a subprotocol nothing of it is in the address, not even an older one.
  hub.url = hub.url.replace("#", "&token=old#");
  await connect("A-Z.a_z~0:9@x", { token: "a.b-c_D~+" });
  assert.deepEqual(Object.fromEntries(hub.handshakes[1]), query);
  assert.deepEqual(hub.attempts[1].protocols, ["hub.v1", "bearer.a.b-c_D~+"]);
  assert.equal([...hub.open][1].socket.protocol, "hub.v1");
});

test("without a token there is no subprotocol", async (t) => {
  const { hub, start } = await setUp(t);
  const calls = [];
  class Socket extends WebSocket {
    constructor(...args) {
      super(...args);
      calls.push(args);
    }
  }
  const tokens = [undefined, null, "", () => null, async () => undefined, () => ({ token: null })];
  for (const token of tokens) start("alice", { token, WebSocket: Socket });
  await until(() => hub.handshakes.length === tokens.length);
  assert.deepEqual(calls, Array(tokens.length).fill([`${hub.url}?session_id=alice`]));
});

test("any session's name reaches the hub as it is", async (t) => {
  const { hub, connect } = await setUp(t);
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
    "[!$();:?^`{}~]": "%5B%21%24%28%29%3B%3A%3F%5E%60%7B%7D%7E%5D",
    ["x".repeat(128)]: "x".repeat(128),
  };
  for (const [name, encoded] of Object.entries(names)) {
    const client = await connect(name);
    assert.equal(client.session, name);
    const { url, query } = hub.attempts.at(-1);
    assert.deepEqual([url, query.get("session_id")], [`/live?session_id=${encoded}`, name]);
    await client.send(name, "to myself");
    await until(() => client.messages().length);
    assert.equal(client.heard("message")[0].from, name);
  }
});

test("what can never work is refused at once", () => {
  const options = { session: "a", WebSocket };
  for (const session of [undefined, "", "a b", "ä", "x".repeat(129), 7, "a*", 'a"', "a\\", "a\n", "\x7f"]) {
    assert.throws(() => new HubClient("wss://hub.example/live", { ...options, session }), {
      name: "TypeError",
      message: 'session must be 1 to 128 visible ASCII characters, without * " and \\',
    });
  }
  assert.throws(() => new HubClient("wss://hub.example", { ...options, tokenIn: "header" }), /tokenIn must be/);
  assert.throws(() => new HubClient("https://hub.example/live", options), /must look like wss/);
  assert.throws(() => new HubClient("hub.example", options), /must look like wss/);
  assert.throws(() => new HubClient("wss://hub.example", { ...options, WebSocket: null }), /no WebSocket/);
  assert.throws(() => new HubClient("wss://hub.example", { ...options, sendTimeOut: 1 }), /no option sendTimeOut/);
  for (const pingInterval of [-1, NaN, Infinity, 2 ** 31, "x"]) {
    assert.throws(() => new HubClient("wss://hub.example", { ...options, pingInterval }), /pingInterval must be/);
  }
});

test("answers find their sends in whatever order they come", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  const held = [];
  hub.intercept = (link, frame) => held.push(() => hub.answer(link, frame));
  const sends = ["1", "2", "3"].map((id) => alice.send("bob", id, { id }));
  await until(() => held.length === 3);
  for (const answer of held.reverse()) answer();
  assert.deepEqual(
    (await Promise.all(sends)).map(({ id }) => id),
    ["1", "2", "3"],
  );
});

test("the hub's errors reject the send that they are about, with their code and text", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  hub.intercept = (link, { id }) => {
    if (id !== "bad") return false;
    link.say({ type: "error", code: "too_many_sessions", message: "split it", id });
    return true;
  };
  const good = alice.send("bob", 1);
  await assert.rejects(alice.send("bob", 2, { id: "bad" }), (error) => {
    assert.equal(error.message, "split it");
    assert.equal(error.id, "bad");
    return code("too_many_sessions")(error);
  });
  await good;
  assert.deepEqual(alice.heard("error"), []);
});

/** Makes the hub keep its answers to messages; returns them as functions. */
function hold(hub) {
  const held = [];
  hub.intercept = (link, frame) => frame.action === "sendMessage" && held.push(() => hub.answer(link, frame));
  return held;
}

test("a slow receipt is waited for, and the connection only asked whether it lives", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", "slow");
  await until(() => held.length);
  tick(10_000);
  await until(() => hub.pings === 1);
  await aWhile();
  tick(24_999);
  held[0]();
  assert.equal((await send).delivered, 0);
  assert.equal(hub.handshakes.length, 1);
});

test("a send without an answer is rejected after sendTimeout, and a late receipt is no harm", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice", { sendTimeout: 5_000 });
  const held = hold(hub);
  const rejected = assert.rejects(alice.send("bob", "slow", { id: "x" }), (error) => {
    assert.equal(error.id, "x");
    return code("timeout")(error);
  });
  await until(() => held.length);
  tick(5_000);
  await rejected;
  held[0]();
  await aWhile();
  assert.deepEqual([alice.state, alice.heard("error")], ["open", []]);
});

test("what the hub or the socket could not take is refused without being sent", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  const loop = {};
  loop.loop = loop;
  for (const message of [undefined, () => {}, loop, 1n])
    await assert.rejects(alice.send("bob", message), code("bad_request"));
  for (const id of ["", "x".repeat(129), 5, null])
    await assert.rejects(alice.send("bob", 1, { id }), code("bad_request"));
  await assert.rejects(alice.send(undefined, 1), code("bad_request"));

  const frame = (message) => JSON.stringify({ action: "sendMessage", sessions: ["bob"], message, id: "x" });
  const room = 32 * 1024 - Buffer.byteLength(frame(""));
  // A character of two bytes tells bytes from characters.
  const largest = "é" + "x".repeat(room - 2);
  await assert.rejects(alice.send("bob", largest + "x", { id: "x" }), code("message_too_large"));
  await alice.send("bob", largest, { id: "x" });
  assert.deepEqual(
    hub.sent.map(({ message }) => message.length),
    [room - 1],
  );

  const held = hold(hub);
  const first = alice.send("bob", 1, { id: "twice" });
  await assert.rejects(alice.send("bob", 2, { id: "twice" }), code("bad_request"));
  await until(() => held.length);
  held[0]();
  await first;
});

test("a repeated message is dropped, one with the same id from somebody else is not", async (t) => {
  const { hub, connect } = await setUp(t);
  const bob = await connect("bob");
  const frame = (id, from, message) => ({ type: "message", id, from, message, sent_at: "2030-01-01T00:00:00.000Z" });
  const [link] = hub.open;
  for (const [id, from] of [
    ["1", "a"],
    ["2", "a"],
    ["1", "a"],
    ["1", "b"],
    ["1", null],
    ["2", "a"],
    ["1", null],
    ["3", "a"],
  ]) {
    link.say(frame(id, from, `${id}${from}`));
  }
  await until(() => bob.messages().includes("3a"));
  assert.deepEqual(bob.messages(), ["1a", "2a", "1b", "1null", "3a"]);
});

test("as many ids are remembered as dedupeLimit says, the oldest go first", async (t) => {
  const { hub, connect } = await setUp(t);
  const bob = await connect("bob", { dedupeLimit: 3 });
  const [link] = hub.open;
  for (const id of ["1", "2", "3", "1", "4", "2", "1", "end"])
    link.say({ type: "message", id, from: "a", message: id });
  await until(() => bob.messages().includes("end"));
  // 4 pushes 1 out, so that 2 is still known, and 1 is taken for new.
  assert.deepEqual(bob.messages(), ["1", "2", "3", "4", "1", "end"]);
});

test("an idle connection is kept alive well within the gateway's 10 minutes", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice", { handoverAfter: 120 * MINUTE });
  for (let tens = 1; tens <= 10; tens++) {
    let minutes = 0;
    for (; minutes < 10 && hub.pings < tens; minutes++) {
      tick(MINUTE);
      await aWhile();
    }
    assert.ok(minutes < 8, `${minutes} minutes passed without a ping`);
    await until(() => alice.pongs === 1 + tens);
  }
  assert.equal(hub.handshakes.length, 1);
});

test("hearing is not enough for the keepalive: pings go out while messages come in", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const bob = await connect("bob");
  const [link] = hub.open;
  for (let minute = 1; minute <= 4; minute++) {
    link.say({ type: "message", id: `${minute}`, from: "a", message: minute });
    await until(() => bob.messages().length === minute);
    tick(MINUTE);
  }
  await until(() => hub.pings === 1);
});

test("a peer that does not answer a ping is given up, and what was sent to it is sent again", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  const [dead] = hub.open;
  hub.intercept = (link) => link === dead;
  const send = alice.send("bob", "hello", { id: "x" });
  await until(() => hub.sent.length === 1);
  tick(10_000);
  await until(() => hub.pings === 1);
  tick(9_999);
  await aWhile();
  assert.equal(alice.state, "open");
  tick(1);
  assert.equal(alice.state, "reconnecting");
  assert.match(alice.heard("reconnecting")[0].reason, /silent/);
  tick(500);
  assert.equal((await send).delivered, 1);
  await until(() => bob.messages().length);
  assert.deepEqual(
    hub.sent.map(({ id }) => id),
    ["x", "x"],
  );
  assert.ok(!hub.open.has(dead), "the dead socket was cut, not left to linger");
});

test("a dead peer is not waited for, however often it is asked", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  let cuts = 0;
  class Socket extends WebSocket {
    terminate() {
      cuts++;
      super.terminate();
    }
  }
  const alice = await connect("alice", { WebSocket: Socket });
  hub.mute = true;
  for (let seconds = 0; seconds < 10; seconds++) {
    assert.equal(alice.state, "open");
    alice.check();
    tick(1_000);
  }
  assert.equal(alice.state, "reconnecting");
  assert.equal(cuts, 1, "a closing handshake would have hung");
});

test("reconnecting backs off exponentially up to a bound, with full jitter", async (t) => {
  for (const random of [0.25, 0.999]) {
    await t.test(`at ${random}`, async (t) => {
      const { hub, connect, start, tick } = await setUp(t, { random });
      const alice = await connect("alice");
      hub.refuse = true;
      hub.cut();
      const delays = () => alice.heard("reconnecting").map(({ delay }) => delay);
      for (let tries = 1; tries <= 9; tries++) {
        await until(() => delays().length === tries);
        tick(Math.floor(delays().at(-1)) - 1);
        await aWhile();
        assert.equal(alice.heard("error").length, tries - 1, "not before its time");
        tick(2);
      }
      await until(() => delays().length === 10);
      const bounds = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000];
      assert.deepEqual(
        delays(),
        bounds.map((bound) => bound * random),
      );
      assert.deepEqual(
        alice.heard("reconnecting").map(({ attempt }) => attempt),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      );
      for (const { error } of alice.heard("error"))
        assert.ok(code("connect_failed")(error) && /400/.test(error.message));

      // The one that never had a connection does the same.
      const bob = start("bob");
      await until(() => bob.heard("reconnecting").length === 1);
      assert.equal(bob.heard("reconnecting")[0].delay, 500 * random);

      hub.refuse = false;
      tick(30_000);
      await until(() => alice.state === "open" && bob.state === "open");
    });
  }
});

test("a connection that does not last leaves the backoff where it was; one that lasts resets it", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice");
  const cut = async () => {
    hub.cut();
    await until(() => alice.state === "reconnecting");
    const { delay } = alice.heard("reconnecting").at(-1);
    tick(delay);
    await until(() => alice.state === "open");
    return delay;
  };
  assert.deepEqual([await cut(), await cut(), await cut()], [250, 500, 1000]);
  tick(5_000);
  assert.equal(await cut(), 250);
});

test("check() starts the backoff anew", async (t) => {
  const { hub, start, tick } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  for (let tries = 1; tries <= 4; tries++) {
    await until(() => alice.heard("reconnecting").length === tries);
    if (tries < 4) tick(alice.heard("reconnecting").at(-1).delay);
  }
  assert.equal(alice.heard("reconnecting").at(-1).delay, 2_000);
  alice.check();
  await until(() => alice.heard("reconnecting").length === 5);
  assert.equal(alice.heard("reconnecting").at(-1).delay, 250);
});

test("the browser's online, a woken tab and check() each try at once", async (t) => {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const listeners = {
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
    document,
  };
  Object.assign(globalThis, listeners);
  t.after(() => Object.keys(listeners).forEach((name) => delete globalThis[name]));
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice");
  const lose = async () => {
    hub.cut();
    await until(() => alice.state === "reconnecting");
  };
  const wakes = {
    online: () => page.dispatchEvent(new Event("online")),
    pageshow: () => page.dispatchEvent(new Event("pageshow")),
    visibilitychange: () => document.dispatchEvent(new Event("visibilitychange")),
    resume: () => document.dispatchEvent(new Event("resume")),
    check: () => alice.check(),
  };
  for (const [name, wake] of Object.entries(wakes)) {
    await lose();
    wake(); // The clock stands still.
    wake(); // A second call finds the attempt under way.
    await until(() => alice.state === "open", `${name} reconnects`);
  }
  tick(1_000); // The retries that were due are due no more.
  await aWhile();
  assert.equal(hub.handshakes.length, 6);

  // A tab that goes to the background is no reason.
  await lose();
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  await aWhile();
  assert.equal(alice.state, "reconnecting");
  wakes.online();
  await until(() => alice.state === "open");

  // With a connection, they ask whether it still lives.
  const before = hub.pings;
  wakes.online();
  await until(() => hub.pings === before + 1);

  alice.close();
  for (const [target, type] of [
    [page, "online"],
    [page, "pageshow"],
    [document, "visibilitychange"],
    [document, "resume"],
  ]) {
    assert.deepEqual(getEventListeners(target, type), []);
  }
  wakes.online();
  await aWhile();
  assert.equal(hub.handshakes.length, 7);
});

test("each connection asks for a fresh token", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  let calls = 0;
  const alice = await connect("alice", { token: async () => `token-${++calls}`, handoverAfter: MINUTE });
  hub.cut();
  await until(() => alice.state === "reconnecting");
  tick(250);
  await until(() => alice.state === "open");
  tick(MINUTE);
  await until(() => hub.handshakes.length === 3);
  assert.deepEqual(
    hub.attempts.map(({ token }) => token),
    ["token-1", "token-2", "token-3"],
  );
});

test("a token that cannot be had, or takes too long, is an error and tried again", async (t) => {
  const { hub, start, tick } = await setUp(t);
  const answers = [() => Promise.reject(new Error("signed out")), () => new Promise(() => {}), () => null];
  const alice = start("alice", { token: () => answers.shift()() });
  const errors = () => alice.heard("error").map(({ error }) => error);
  await until(() => errors().length === 1);
  assert.ok(code("token_failed")(errors()[0]));
  assert.equal(errors()[0].cause.message, "signed out");
  tick(250);
  await aWhile();
  tick(15_000);
  assert.ok(code("connect_failed")(errors()[1]));
  tick(500);
  await until(() => alice.state === "open");
  assert.equal(hub.attempts[0].token, undefined);
});

test("a token that comes too late opens no socket", async (t) => {
  const { hub, start, tick } = await setUp(t);
  const late = [];
  const token = () => new Promise((resolve) => late.push(resolve));
  const [alice, bob] = [start("alice", { token }), start("bob", { token })];
  await until(() => late.length === 2);
  bob.close();
  tick(15_000);
  assert.equal(alice.state, "reconnecting");
  for (const resolve of late) resolve("late");
  await aWhile();
  assert.equal(hub.handshakes.length, 0);
});

test("a token that fails too late is no news", async (t) => {
  const { hub, start, tick } = await setUp(t);
  const token = ({ signal }) => new Promise((_, reject) => (signal.onabort = () => reject(signal.reason)));
  const late = [];
  const signedOut = () => new Promise((_, reject) => late.push(() => reject(new SignedOut())));
  const [alice, bob, carol] = [
    start("alice", { token }),
    start("bob", { token }),
    start("carol", { token: signedOut }),
  ];
  await aWhile();
  bob.close();
  tick(15_000);
  for (const reject of late) reject();
  await aWhile();
  for (const client of [alice, carol]) {
    assert.deepEqual(
      client.log.map(({ type }) => type),
      ["error", "reconnecting"],
    );
  }
  assert.deepEqual(types(bob), ["close"]);
  assert.equal(hub.attempts.length, 0);
});

test("no event tells the token", async (t) => {
  for (const tokenIn of ["protocol", "query"]) {
    await t.test(`in the ${tokenIn}`, async (t) => {
      const { hub, start, tick } = await setUp(t);
      hub.refuse = 403;
      const answers = ["s3cret", "s3cret+/=", { token: "s3cret", expiresAt: 5 }, "s3cret".repeat(2_000)];
      if (tokenIn === "query") answers.splice(1, 1); // Nothing is wrong with it there.
      const alice = start("alice", { tokenIn, token: () => answers[0] });
      let frames = "";
      alice.addEventListener("frame", ({ data }) => (frames += data));
      for (let tries = 1; tries <= 5; tries++) {
        await until(() => alice.heard("error").length === tries);
        if (tries < 5) again(alice, tick);
      }
      await until(() => alice.heard("refused").length);
      while (alice.state !== "failed") {
        const before = alice.heard("error").length;
        answers.shift();
        again(alice, tick);
        await until(() => alice.heard("error").length > before || alice.state === "failed");
      }

      hub.refuse = false;
      const bob = start("bob", { tokenIn, token: "s3cret" });
      bob.addEventListener("frame", ({ data }) => (frames += data));
      await bob.send("bob", 1);
      const failed = await alice.send("bob", 1).catch((error) => error);
      const seen = new Set(["message", "open", "reconnecting", "error", "refused", "failed"]);
      const told = [...alice.log, ...bob.log, { error: failed }].map(({ type, ...fields }) => {
        seen.delete(type);
        return inspect([JSON.stringify(fields), fields.error, fields.error?.cause], { depth: 9, showHidden: true });
      });
      assert.doesNotMatch(told.join() + frames, /s3cret/);
      assert.match(frames, /sendMessage/);
      assert.deepEqual([...seen], [], "each kind of event was looked at");
    });
  }
});

test("a token that a subprotocol cannot carry is an error that names the other way", async (t) => {
  const { hub, start, tick } = await setUp(t);
  const odd = ["a b", "a=", "a/b", "a,b", "ä", 'a"b', "a\nb"];
  const alice = start("alice", { token: () => odd[0] });
  for (let tries = 1; odd.length; tries++) {
    await until(() => alice.heard("error").length === tries);
    const { error } = alice.heard("error").at(-1);
    assert.ok(code("token_failed")(error));
    assert.match(error.message, /tokenIn: "query"/);
    assert.ok(!error.message.includes(odd.shift()));
    if (odd.length) again(alice, tick);
  }
  assert.equal(hub.attempts.length, 0);
});

test("a token that is too large for its place is final, and says what to do", async (t) => {
  const { hub, connect, start } = await setUp(t);
  await connect("alice", { token: "x".repeat(8_000) });
  const room = 4_000 - `${hub.url}?session_id=alice&token=`.length;
  await connect("alice", { token: "x".repeat(room), tokenIn: "query" });
  assert.equal(hub.attempts.length, 2);

  for (const [options, text] of [
    [{ token: "x".repeat(8_001) }, /8001 .* 8000: .*fewer claims$/],
    [{ token: "x".repeat(room + 1), tokenIn: "query" }, /4001 .* 4000: .*fewer claims, or use tokenIn: "protocol"$/],
    // Encoding counts.
    [{ token: "x".repeat(room - 2) + "+", tokenIn: "query" }, /4000|4001/],
  ].slice(0, 2)) {
    const alice = start("alice", options);
    const waiting = assert.rejects(alice.send("bob", 1), code("token_too_large"));
    await until(() => alice.state === "failed");
    await waiting;
    const [{ error }] = alice.heard("failed");
    assert.ok(code("token_too_large")(error));
    assert.match(error.message, text);
    assert.deepEqual(
      alice.log.map(({ type }) => type),
      ["failed"],
    );
  }
  assert.equal(hub.attempts.length, 2);
});

test("what is no token, or has an end that cannot be meant, is an error", async (t) => {
  const { hub, start, tick } = await setUp(t);
  const seconds = Date.now() / 1_000;
  const wrong = [42, { token: 42 }, ...[seconds, NaN, "soon", true].map((expiresAt) => ({ token: "t", expiresAt }))];
  const count = wrong.length;
  const alice = start("alice", { token: () => wrong.shift() });
  const errors = () => alice.heard("error").map(({ error }) => error);
  for (let tries = 1; tries <= count; tries++) {
    await until(() => errors().length === tries);
    assert.ok(code("token_failed")(errors().at(-1)));
    assert.match(errors().at(-1).message, tries > 2 ? /milliseconds since 1970/ : /must be a string/);
    if (tries < count) again(alice, tick);
  }
  assert.equal(hub.attempts.length, 0);
});

test("token() learns how often it was asked, what became of it, and when it is too late", async (t) => {
  const { hub, start, tick } = await setUp(t);
  const asked = [];
  const answer = { token: "t" };
  const alice = start("alice", { token: (request) => asked.push(request) && answer.token });
  const times = async (count) => {
    await until(() => asked.length === count);
    const { signal, ...rest } = asked.at(-1);
    assert.ok(signal instanceof AbortSignal);
    return rest;
  };
  hub.refuse = 403;
  assert.deepEqual(await times(1), { attempt: 0, refused: 0 });
  await until(() => alice.heard("error").length === 1);
  tick(250);
  assert.deepEqual(await times(2), { attempt: 1, refused: 1 });
  await until(() => alice.heard("error").length === 2);
  answer.token = new Promise(() => {});
  tick(500);
  assert.deepEqual(await times(3), { attempt: 2, refused: 2 });
  assert.equal(asked[2].signal.aborted, false);
  tick(15_000);
  assert.equal(asked[2].signal.aborted, true, "the dial has been given up");
  answer.token = "t";
  hub.refuse = false;
  tick(1_000);
  // A token that came too late was not refused.
  assert.deepEqual(await times(4), { attempt: 3, refused: 2 });
  await until(() => alice.state === "open");
  tick(5_000);
  hub.cut();
  await until(() => alice.state === "reconnecting");
  answer.token = new Promise(() => {});
  tick(250);
  assert.deepEqual(await times(5), { attempt: 1, refused: 0 });
  alice.close();
  assert.deepEqual(
    asked.map(({ signal }) => signal.aborted),
    [true, true, true, false, true],
    "only the one that opened was not given up",
  );
});

/** Lets a backend write to alice every `period`, `count` times; resolves once each message has been heard. */
async function alerts({ hub, wind }, alice, period, count) {
  for (let n = 1; n <= count; n++) {
    await wind(period);
    assert.equal(hub.deliver(null, { id: `${n}`, sessions: ["alice"], message: n }).delivered > 0, true, `of ${n}`);
    await until(() => alice.messages().length >= n);
  }
  assert.deepEqual(
    alice.messages(),
    Array.from({ length: count }, (_, index) => index + 1),
  );
}

const types = (client) => [...new Set(client.log.map(({ type }) => type))];

test("tokens of 10 minutes, an alert each half hour: every one is heard", async (t) => {
  const context = await setUp(t);
  context.hub.auth = true;
  const alice = await context.connect("alice", { token: async () => context.issue(10 * MINUTE) });
  await alerts(context, alice, 30 * MINUTE, 20);
  assert.deepEqual(types(alice), ["open", "message"]);
  // One each 8.5 minutes: 9, less half of the minute that is left to chance.
  assert.equal(context.hub.handshakes.length, 1 + Math.floor(600 / 8.5));
});

test("a connection is held by tokens of 20 seconds, and each message heard once", async (t) => {
  for (const random of [0, 0.999]) {
    await t.test(`at ${random}`, async (t) => {
      const context = await setUp(t, { random });
      context.hub.auth = true;
      const alice = await context.connect("alice", { token: async () => context.issue(20_000) });
      await alerts(context, alice, 1_000, 180);
      assert.deepEqual(types(alice), ["open", "message"]);
    });
  }
});

test("the time of a hand-over follows the token's end, and never comes later than handoverAfter", async (t) => {
  const wanted = [
    [10 * MINUTE, 0, 9 * MINUTE],
    [10 * MINUTE, 0.99999, 8 * MINUTE],
    [20_000, 0, 15_000],
    [20_000, 0.99999, 13_000],
    [100 * MINUTE, 0, 99 * MINUTE],
    [100 * MINUTE, 0.99999, 98 * MINUTE],
    [8 * HOUR, 0, 115 * MINUTE],
    [8 * HOUR, 0.99999, 103.5 * MINUTE],
  ];
  for (const [life, random, after] of wanted) {
    await t.test(`${life / MINUTE} minutes, random ${random}`, async (t) => {
      const { hub, connect, wind, issue } = await setUp(t, { random });
      await connect("alice", { token: () => issue(life) });
      await wind(after - 1_000);
      assert.equal(hub.attempts.length, 1);
      await wind(2_000);
      assert.equal(hub.attempts.length, 2);
    });
  }
});

test("the end can be told beside the token, which then is not looked into", async (t) => {
  const { hub, connect, clock, wind, issue } = await setUp(t, { random: 0 });
  for (const kind of [Number, (ms) => new Date(ms)]) {
    await connect("alice", { token: () => ({ token: issue(8 * HOUR), expiresAt: kind(clock.time + 10 * MINUTE) }) });
  }
  await wind(9 * MINUTE - 1_000);
  assert.equal(hub.attempts.length, 2);
  await wind(2_000);
  assert.equal(hub.attempts.length, 4);
});

test("a token whose end cannot be read is handed over by age alone", async (t) => {
  const { hub, connect, wind } = await setUp(t, { random: 0 });
  const part = (text) => Buffer.from(text).toString("base64url");
  const tokens = [
    "opaque",
    "a.b.c",
    "..",
    `a.${part("no JSON")}.c`,
    ...['{"exp":"9"}', '{"exp":null}', "{}", "null", "7"].map((claims) => `a.${part(claims)}.c`),
  ];
  for (const token of tokens) await connect("alice", { token });
  await wind(115 * MINUTE - 1_000);
  assert.equal(hub.attempts.length, tokens.length);
  await wind(2_000);
  assert.equal(hub.attempts.length, 2 * tokens.length);
});

test("the claims are read whatever else is in them, and whatever their length", async (t) => {
  const { hub, connect, wind, issue } = await setUp(t, { random: 0 });
  const names = ["", "a", "ab", "abc", "ÿ¿þ>>>???", "日本語", "\u{1f600}"];
  for (const name of names) await connect("alice", { token: issue(10 * MINUTE, { name }) });
  await wind(9 * MINUTE + 1_000);
  assert.equal(hub.attempts.length, names.length, "a string has no successor");
  await wind(MINUTE);
  assert.equal(hub.attempts.length, 2 * names.length);
});

test("a wrong clock leaves no connection deaf", async (t) => {
  for (const [what, skew, claims, life] of [
    ["an hour behind", -HOUR, {}, 10 * MINUTE],
    ["an hour ahead", HOUR, {}, 10 * MINUTE],
    ["an hour ahead, the token not saying since when", HOUR, { iat: undefined }, 10 * MINUTE],
    ["an hour ahead, for tokens of 20 s", HOUR, {}, 20_000],
    ["an hour behind, for tokens of 20 s", -HOUR, {}, 20_000],
    ["ahead by less than the token lives", 9 * MINUTE, {}, 10 * MINUTE],
  ]) {
    await t.test(what, async (t) => {
      const context = await setUp(t);
      context.hub.auth = true;
      context.clock.skew = skew;
      const alice = await context.connect("alice", { token: () => context.issue(life, claims) });
      await alerts(context, alice, life / 4, 24);
      assert.deepEqual(types(alice), ["open", "message"]);
      const lives = claims.iat === undefined && "iat" in claims ? MINUTE : skew === 9 * MINUTE ? MINUTE : life;
      assert.ok(context.hub.attempts.length <= (6 * life) / (lives * 0.6), `${context.hub.attempts.length} handshakes`);
    });
  }
});

test("a clock that is ahead by nearly as much as a token lives makes no storm of handshakes", async (t) => {
  const context = await setUp(t);
  context.hub.auth = true;
  context.clock.skew = 10 * MINUTE - 100;
  const alice = await context.connect("alice", { token: () => context.issue(10 * MINUTE) });
  await context.wind(MINUTE);
  assert.ok(context.hub.attempts.length < 20, `${context.hub.attempts.length} handshakes`);
  assert.deepEqual(types(alice), ["open"], "and it stays connected");
});

test("a clock that is set back takes no hand-over with it", async (t) => {
  for (const [ahead, back] of [
    [HOUR, HOUR],
    [0, 10 * MINUTE],
  ]) {
    await t.test(`by ${back / MINUTE} minutes`, async (t) => {
      const context = await setUp(t);
      const { hub, clock, connect, wind, issue } = context;
      hub.auth = true;
      clock.skew = ahead;
      const alice = await connect("alice", { token: () => issue(10 * MINUTE) });
      await wind(MINUTE);
      clock.skew -= back;
      for (let n = 0; n < 60; n++) {
        await wind(MINUTE);
        const { delivered } = hub.deliver(null, { id: String(n), sessions: ["alice"], message: n });
        assert.ok(delivered >= 1, `deaf after ${n} minutes`);
      }
      assert.deepEqual(
        types(alice).filter((type) => type !== "message"),
        ["open"],
      );
    });
  }
});

test("with a clock that is ahead, and a token used until its end, no connection stays deaf for long", async (t) => {
  const context = await setUp(t);
  const { hub, clock, connect, wind, issue } = context;
  hub.auth = true;
  clock.skew = 2_000;
  const tokens = [issue(10 * MINUTE)];
  const alice = await connect("alice", { token: () => tokens[0] });
  // By this clock the token has ended, and the hub takes it once more.
  await wind(10 * MINUTE - 1_000);
  assert.deepEqual(
    alice.heard("reconnecting").map(({ reason }) => reason),
    ["the token has ended"],
  );
  assert.deepEqual([alice.state, hub.handshakes.length], ["open", 2]);
  tokens[0] = issue(HOUR);
  await wind(MINUTE);
  assert.equal(hub.handshakes.length, 3);
  assert.equal(hub.deliver(null, { id: "1", sessions: ["alice"], message: 1 }).delivered, 1);
});

test("a machine that sleeps past the token's end dials as soon as it wakes", async (t) => {
  const wakes = {
    "by a timer": ({ tick }) => tick(30_000),
    "by check()": ({ alice }) => alice.check(),
  };
  for (const [name, wake] of Object.entries(wakes)) {
    await t.test(name, async (t) => {
      const context = await setUp(t);
      const { hub, clock, connect, issue, tick, wind } = context;
      hub.auth = true;
      let asked = 0;
      const alice = await connect("alice", { token: () => ++asked && issue(10 * MINUTE) });
      await wind(MINUTE);
      clock.sleep(HOUR);
      wake({ alice, tick });
      assert.equal(asked, 2);
      const [{ reason, delay, attempt }] = alice.heard("reconnecting");
      assert.deepEqual({ reason, delay, attempt }, { reason: "the token has ended", delay: 0, attempt: 0 });
      await until(() => alice.state === "open");
      await until(() => hub.open.size === 1, "the deaf one is gone");
      assert.equal(hub.deliver(null, { id: "1", sessions: ["alice"], message: 1 }).delivered, 1);
      assert.deepEqual(types(alice).includes("error"), false);
    });
  }
});

test("a machine that wakes past the token's end does not wait for an attempt that was due later", async (t) => {
  const { clock, connect, issue, wind } = await setUp(t);
  let fails = false;
  let asked = 0;
  const token = async () => {
    asked++;
    if (fails) throw new Error("no network");
    return issue(10 * MINUTE);
  };
  const alice = await connect("alice", { token });
  fails = true;
  await wind(9 * MINUTE);
  assert.ok(alice.heard("error").length > 3);
  fails = false;
  clock.sleep(HOUR);
  const before = asked;
  alice.check();
  assert.equal(asked, before + 1);
  await until(() => alice.state === "open");
});

test("an overlap that outlives the old token asks for no further connection", async (t) => {
  const { hub, connect, issue, wind } = await setUp(t);
  hub.auth = true;
  const alice = await connect("alice", { token: () => issue(10 * MINUTE), handoverOverlap: 5 * MINUTE });
  await wind(12 * MINUTE);
  assert.equal(hub.attempts.length, 2);
  assert.deepEqual(types(alice), ["open"]);
});

test("a machine that sleeps past the time of a hand-over makes it on waking", async (t) => {
  const { hub, clock, connect, issue, wind, tick } = await setUp(t);
  const byToken = await connect("alice", { token: () => issue(10 * MINUTE) });
  const byAge = await connect("alice", { handoverAfter: 9 * MINUTE });
  clock.sleep(9 * MINUTE);
  tick(29_999);
  await aWhile();
  assert.equal(hub.attempts.length, 2);
  await wind(1);
  assert.equal(hub.attempts.length, 4);
  for (const client of [byToken, byAge]) assert.deepEqual(types(client), ["open"]);
});

test("a token that is cached until its end is asked for again and again, and opens nothing", async (t) => {
  const { hub, clock, connect, issue, wind } = await setUp(t, { random: 0 });
  hub.auth = true;
  let asked = [];
  let cached;
  const begin = clock.time;
  const token = () => {
    asked.push(clock.time - begin);
    if (!cached || cached.ends <= clock.time) cached = { token: issue(10 * MINUTE), ends: clock.time + 10 * MINUTE };
    return cached.token;
  };
  const alice = await connect("alice", { token });
  await wind(10 * MINUTE - 1);
  assert.deepEqual(asked.slice(0, 7), [0, 540_000, 570_000, 585_000, 592_500, 596_250, 598_125]);
  assert.ok(asked.length <= 8);
  assert.deepEqual([alice.state, hub.attempts.length], ["open", 1]);
  await wind(1_000);
  assert.deepEqual(
    alice.heard("reconnecting").map(({ reason }) => reason),
    ["the token has ended"],
  );
  assert.deepEqual([alice.state, hub.attempts.length], ["open", 2]);
  assert.deepEqual(alice.heard("error"), []);

  // One that is renewed a while before its end is handed over to without a gap.
  asked = [];
  await wind(9.5 * MINUTE);
  cached = null;
  await wind(MINUTE);
  assert.equal(hub.attempts.length, 3);
  assert.equal(alice.heard("reconnecting").length, 1);
});

test("a token that is a string serves until its end, and is refused after it", async (t) => {
  const { hub, connect, issue, wind } = await setUp(t);
  hub.auth = true;
  const alice = await connect("alice", { token: issue(10 * MINUTE) });
  await wind(10 * MINUTE - 1);
  assert.deepEqual([types(alice), hub.attempts.length], [["open"], 1]);
  await wind(1);
  assert.equal(alice.heard("reconnecting")[0].reason, "the token has ended");
  assert.ok(alice.heard("reconnecting")[0].delay > 0);
  await wind(10_000);
  assert.deepEqual([hub.attempts.length, alice.heard("refused").length], [6, 1]);
});

test("a hand-over by age takes the same token again", async (t) => {
  const { hub, connect, issue, wind } = await setUp(t, { random: 0 });
  const alice = await connect("alice", { token: issue(8 * HOUR) });
  await wind(7 * HOUR);
  assert.equal(hub.attempts.length, 1 + Math.floor((7 * 60) / 115));
  assert.deepEqual(types(alice), ["open"]);
});

test("a token that cannot be had leaves the connection open until the end of the one in use", async (t) => {
  const { hub, connect, issue, wind } = await setUp(t, { random: 0.5 });
  hub.auth = true;
  let fails = false;
  const token = async () => {
    if (fails) throw new Error("no network");
    return issue(10 * MINUTE);
  };
  const alice = await connect("alice", { token });
  fails = true;
  await wind(9 * MINUTE);
  for (const { error } of alice.heard("error")) assert.ok(code("token_failed")(error));
  assert.ok(alice.heard("error").length > 3);
  assert.equal(alice.state, "open");
  fails = false;
  await wind(30_000);
  assert.deepEqual([hub.handshakes.length, alice.heard("reconnecting")], [2, []]);
  fails = true;
  await wind(10 * MINUTE);
  assert.equal(alice.state, "reconnecting");
  assert.equal(alice.heard("reconnecting")[0].reason, "the token has ended");
  fails = false;
  await wind(30_000);
  assert.equal(alice.state, "open");
});

test("SignedOut ends the client, at whatever moment", async (t) => {
  const page = new EventTarget();
  const listeners = ["addEventListener", "removeEventListener"];
  for (const name of listeners) globalThis[name] = page[name].bind(page);
  t.after(() => listeners.forEach((name) => delete globalThis[name]));

  let signedOut;
  class Gone extends SignedOut {
    name = "Gone";
  }
  const byName = Object.assign(new Error("bye"), { name: "SignedOut" });
  const answer = (issue) => async () => {
    if (signedOut) throw signedOut;
    return issue(10 * MINUTE);
  };
  const moments = {
    "at first": async ({ start, issue }) => {
      signedOut = new SignedOut();
      return start("alice", { token: answer(issue) });
    },
    "after a loss": async ({ hub, connect, issue, wind }) => {
      const alice = await connect("alice", { token: answer(issue) });
      signedOut = byName;
      hub.cut();
      await until(() => alice.state === "reconnecting");
      await wind(250);
      return alice;
    },
    "during a hand-over, with an answer owed": async ({ hub, connect, issue, wind }) => {
      const alice = await connect("alice", { token: answer(issue), pingInterval: 20 * MINUTE });
      await wind(8 * MINUTE);
      hold(hub);
      alice.owed = assert.rejects(alice.send("bob", 1), code("signed_out"));
      await until(() => hub.sent.length);
      signedOut = new Gone("see you");
      await wind(MINUTE);
      return alice;
    },
  };
  for (const [moment, prepare] of Object.entries(moments)) {
    await t.test(moment, async (t) => {
      signedOut = null;
      const context = await setUp(t);
      const { hub, clock, tick } = context;
      const alice = await prepare(context);
      await until(() => alice.state === "failed");
      await alice.owed;
      const [{ error }, ...more] = alice.heard("failed");
      assert.ok(code("signed_out")(error));
      assert.equal(error.cause, signedOut);
      assert.equal(error.message, signedOut.message || "the user has signed out");
      assert.deepEqual(more, []);
      await until(() => hub.open.size === 0 && clock.running === 0, "no socket and no timer is left");
      assert.deepEqual(getEventListeners(page, "online"), []);

      const before = [hub.attempts.length, alice.log.length];
      await assert.rejects(alice.send("bob", 2), (error) => {
        assert.equal(error.cause, signedOut);
        return code("signed_out")(error);
      });
      alice.check();
      alice.close();
      tick(3 * HOUR);
      await aWhile();
      assert.deepEqual([hub.attempts.length, alice.log.length], before);
      assert.equal(alice.state, "failed");
    });
  }
});

/** A WebSocket as a browser has it, to which a handshake fails without a reason. */
class Reticent extends EventTarget {
  static made = 0;
  constructor() {
    super();
    Reticent.made++;
    setImmediate(() => {
      if (this.opens) this.dispatchEvent(new Event("open"));
      this.dispatchEvent(new Event("error"));
      this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "" }));
    });
  }
  send() {}
  close() {}
}

test("handshakes that are refused with a token become rare, and say so", async (t) => {
  for (const [runtime, options] of Object.entries({ ws: {}, "a browser": { WebSocket: Reticent } })) {
    await t.test(runtime, async (t) => {
      const { hub, start, wind } = await setUp(t);
      hub.refuse = 403;
      Reticent.made = 0;
      const alice = start("alice", { token: "t", ...options });
      const made = () => hub.attempts.length + Reticent.made;
      await wind(4_000);
      assert.equal(made(), 5);
      const [first, ...more] = alice.heard("refused");
      assert.deepEqual([first.refused, first.delay, more.length], [5, 0.75 * MINUTE, 0]);
      assert.match(first.reason, runtime === "ws" ? /403/ : /1006/);
      await wind(10 * MINUTE - 4_000);
      assert.equal(made(), 9);
      await wind(50 * MINUTE);
      assert.equal(made(), 22);
      assert.deepEqual(
        alice.heard("refused").map(({ refused }) => refused),
        Array.from({ length: 18 }, (_, index) => index + 5),
      );
      assert.deepEqual([alice.heard("error").length, alice.heard("reconnecting").length], [22, 22]);
      assert.equal(alice.heard("reconnecting").at(-1).delay, 3.75 * MINUTE);

      // check() makes one at once, and leaves the count as it is.
      alice.check();
      await until(() => made() === 23);
      await until(() => alice.heard("refused").at(-1).refused === 23);
      assert.equal(alice.heard("reconnecting").at(-1).delay, 3.75 * MINUTE);
    });
  }
});

test("the rare attempts keep to refusedRetry, and are spread", async (t) => {
  for (const [random, delay] of [
    [0, 15_000],
    [0.999, 29_985],
  ]) {
    await t.test(`at ${random}`, async (t) => {
      const { hub, start, wind } = await setUp(t, { random });
      hub.refuse = 401;
      const alice = start("alice", { token: "t", refusedRetry: 30_000 });
      await wind(10_000);
      assert.equal(alice.heard("refused")[0].delay, delay);
    });
  }
});

test("a handshake that opens ends the count of refusals", async (t) => {
  const { hub, start, tick, wind } = await setUp(t);
  hub.refuse = 403;
  let refused;
  const alice = start("alice", { token: (request) => ({ refused } = request) && "t" });
  await wind(MINUTE / 2);
  assert.equal(alice.heard("refused").length, 1);
  hub.refuse = false;
  await wind(5 * MINUTE);
  assert.equal(alice.state, "open");
  hub.refuse = 403;
  hub.cut();
  await until(() => alice.state === "reconnecting");
  assert.equal(alice.heard("reconnecting").at(-1).delay, 250);
  tick(250);
  await until(() => alice.heard("error").length === 6);
  assert.equal(refused, 0);
  await wind(1_800);
  assert.deepEqual([refused, alice.heard("refused").length], [2, 1]);
});

test("a hub that is out of reach for a moment is soon found again, also by a browser with a token", async (t) => {
  const { start, wind } = await setUp(t);
  let gone = true;
  function Socket(...args) {
    return gone ? new Reticent() : new WebSocket(...args);
  }
  const alice = start("alice", { token: "t", WebSocket: Socket });
  await wind(20_000);
  assert.equal(alice.heard("refused").length, 1, "it cannot tell");
  gone = false;
  for (let second = 0; second < 60 && alice.state !== "open"; second++) {
    await wind(1_000);
    await aWhile();
  }
  assert.equal(alice.state, "open");
});

test("another failure ends the row of refusals", async (t) => {
  const { hub, start, wind } = await setUp(t);
  const statuses = [403, 403, 403, 403, 503, 403, 403, false];
  const seen = [];
  const token = ({ refused }) => {
    seen.push(refused);
    hub.refuse = statuses.shift();
    return "t";
  };
  const alice = start("alice", { token });
  await wind(2 * MINUTE);
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 0, 1, 2]);
  assert.deepEqual([alice.state, alice.heard("refused")], ["open", []]);
});

test("a client that is closed while its attempt is given up stays closed", async (t) => {
  const { hub, start, tick } = await setUp(t);
  hub.hang = true;
  let calls = 0;
  const alice = start("alice", {
    token: ({ signal }) => {
      signal.addEventListener("abort", () => alice.close());
      return `t${++calls}`;
    },
  });
  await aWhile();
  tick(15_000);
  hub.hang = false;
  tick(MINUTE);
  await aWhile();
  assert.deepEqual([alice.state, calls, hub.handshakes.length], ["closed", 1, 0]);
  assert.deepEqual(types(alice), ["close"]);
});

test("a token of the wrong shape is no lack of one", async (t) => {
  for (const token of [42, true, {}, Promise.resolve("t")]) {
    assert.throws(() => new HubClient("wss://hub.example", { session: "a", WebSocket, token }), /token must be/);
  }
  for (const shape of [{ access_token: "t" }, ["t"], 42]) {
    const { hub, start } = await setUp(t);
    const alice = start("alice", { token: () => shape });
    await until(() => alice.heard("error").length);
    assert.ok(code("token_failed")(alice.heard("error")[0].error));
    assert.equal(hub.handshakes.length, 0);
    alice.close();
  }
});

test("a hub that no longer knows the connection is told a new one, whoever asked", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.open.values().next().value.say({ type: "error", code: "not_connected", message: "who is that?", id: "1" });
  await until(() => alice.heard("reconnecting").length === 1);
  await wind(1_000);
  assert.deepEqual([alice.state, hub.handshakes.length], ["open", 2]);
});

test("what is known to be no refusal is not counted", async (t) => {
  const reasons = {
    "another status": ({ hub, start }) => {
      hub.refuse = 429;
      return start("alice", { token: "t" });
    },
    "no token": ({ hub, start }) => {
      hub.refuse = 403;
      return start("alice");
    },
    "no hub at that address": ({ hub, start }) => {
      hub.url = "ws://127.0.0.1:9/live";
      return start("alice", { token: "t" });
    },
    "no answer": ({ hub, start }) => {
      hub.hang = true;
      return start("alice", { token: "t" });
    },
    "no network": ({ t, start }) => {
      const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
      Object.defineProperty(globalThis, "navigator", { value: { onLine: false }, configurable: true });
      t.after(() => (before ? Object.defineProperty(globalThis, "navigator", before) : delete globalThis.navigator));
      return start("alice", { token: "t", WebSocket: Reticent });
    },
    "a connection that is cut at once": ({ start }) => {
      class Cut extends Reticent {
        opens = true;
      }
      const token = ({ refused }) => assert.equal(refused, 0) ?? "t";
      return start("alice", { token, WebSocket: Cut });
    },
    "no socket": ({ start }) =>
      start("alice", {
        token: "t",
        WebSocket: class {
          constructor() {
            throw new Error("not here");
          }
        },
      }),
  };
  for (const [name, prepare] of Object.entries(reasons)) {
    await t.test(name, async (t) => {
      const context = await setUp(t);
      const alice = prepare({ t, ...context });
      await context.wind(5 * MINUTE);
      assert.ok(alice.heard("error").length >= 8);
      assert.deepEqual(types(alice).sort(), ["error", "reconnecting"]);
      for (const { error } of alice.heard("error")) assert.equal(error.code, "connect_failed");
      assert.ok(alice.heard("reconnecting").at(-1).delay <= 15_000);
    });
  }
});

test("a hand-over that is refused is told, and ends nothing", async (t) => {
  const { hub, connect, wind } = await setUp(t, { random: 0 });
  const alice = await connect("alice", { token: "t", handoverAfter: 30 * MINUTE, backoffBase: 1_000 });
  hub.refuse = 403;
  await wind(40 * MINUTE);
  assert.deepEqual([alice.state, alice.heard("reconnecting")], ["open", []]);
  // At random 0 the backoff takes no time, and the rare attempts come after 0.5, 1, 2 and then each 2.5 minutes.
  assert.deepEqual(
    alice.heard("refused").map(({ refused }) => refused),
    [5, 6, 7, 8, 9, 10],
  );
});

test("a handshake that hangs is given up and tried again", async (t) => {
  const { hub, start, tick } = await setUp(t);
  hub.hang = true;
  const alice = start("alice");
  await aWhile();
  tick(14_999);
  assert.equal(alice.state, "connecting");
  tick(1);
  assert.equal(alice.state, "reconnecting");
  hub.hang = false;
  tick(250);
  await until(() => alice.state === "open");
});

test("a gateway that lets in, and has no hub behind it yet, is no connection", async (t) => {
  const { hub, start, connect, tick } = await setUp(t);
  hub.mute = true;
  const alice = start("alice");
  const send = alice.send("alice", "hello");
  await until(() => [...hub.open].some(({ greeted }) => greeted));
  await aWhile();
  tick(9_999);
  assert.deepEqual([alice.state, alice.log.length, hub.sent.length], ["connecting", 0, 0]);
  tick(1);
  assert.equal(alice.state, "reconnecting");

  hub.mute = false;
  hub.greeting = { message: "Forbidden", connectionId: "c", requestId: "r" };
  tick(250);
  await until(() => alice.heard("error").length === 2);
  const told = alice.heard("error").map(({ error }) => [error.code, error.message]);
  assert.deepEqual(told, [
    ["connect_failed", "no connection to the hub: the other end is silent"],
    ["connect_failed", "no connection to the hub: Forbidden"],
  ]);

  hub.greeting = { type: "pong" };
  tick(500);
  assert.equal((await send).delivered, 1);
  assert.equal(hub.sent.length, 1);

  // Nor does it take over from one that works.
  const bob = await connect("bob", { handoverAfter: MINUTE });
  hub.mute = true;
  const before = hub.handshakes.length;
  tick(MINUTE);
  await until(() => hub.handshakes.length > before);
  await aWhile();
  hub.mute = false;
  await bob.send("bob", "still here");
  assert.deepEqual([bob.state, bob.messages()], ["open", ["still here"]]);
});

test("sends wait for a connection in their order; beyond the bound they are refused, not dropped", async (t) => {
  const { hub, start, connect, tick } = await setUp(t);
  const bob = await connect("bob");
  hub.refuse = true;
  const alice = start("alice", { queueLimit: 3 });
  const sends = [1, 2, 3].map((n) => alice.send("bob", n));
  await assert.rejects(alice.send("bob", 4), code("queue_full"));
  await until(() => alice.state === "reconnecting");
  await assert.rejects(alice.send("bob", 5), code("queue_full"));
  tick(200);
  hub.refuse = false;
  // However long it takes: the time-out is for the hub's answer.
  tick(50);
  await until(() => alice.state === "open");
  const receipts = await Promise.all(sends);
  assert.deepEqual(
    receipts.map(({ delivered }) => delivered),
    [1, 1, 1],
  );
  await until(() => bob.messages().length === 3);
  assert.deepEqual(bob.messages(), [1, 2, 3]);
  await Promise.all([6, 7, 8, 9].map((n) => alice.send("bob", n)));
});

test("waiting for a connection is not limited by sendTimeout", async (t) => {
  const { hub, start, tick } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  const send = alice.send("bob", "patient");
  let waited = 0;
  for (let tries = 1; waited < 5 * MINUTE; tries++) {
    await until(() => alice.heard("reconnecting").length === tries);
    const { delay } = alice.heard("reconnecting").at(-1);
    waited += delay;
    hub.refuse = waited < 5 * MINUTE;
    tick(delay);
  }
  assert.equal((await send).delivered, 0);
});

test("a send that was under way when the connection died is sent again, and heard once", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const [alice, bob] = [await connect("alice"), await connect("bob")];
  // The worst moment: delivered, and the receipt lost.
  hub.intercept = (link, frame) => {
    hub.intercept = () => false;
    hub.deliver(link.session, frame);
    link.socket.terminate();
    return true;
  };
  const sends = [alice.send("bob", "first"), alice.send("bob", "second")];
  await until(() => alice.state === "reconnecting");
  sends.push(alice.send("bob", "third"));
  tick(250);
  const receipts = await Promise.all(sends);
  assert.deepEqual(
    receipts.map(({ delivered }) => delivered),
    [1, 1, 1],
  );
  await until(() => bob.messages().length === 3);
  await aWhile();
  assert.deepEqual(bob.messages(), ["first", "second", "third"]);
  assert.equal(hub.sent.filter(({ message }) => message === "first").length, 2);
});

test("before the gateway's cut the next connection is opened first, and the old one closed after", async (t) => {
  // Pings are another test's matter.
  const options = { pingInterval: 180 * MINUTE };
  const { hub, connect, tick } = await setUp(t, { random: 0 });
  const [alice, bob] = [
    await connect("alice", options),
    await connect("bob", { ...options, handoverAfter: 180 * MINUTE }),
  ];
  const links = () => [...hub.open].filter(({ session }) => session === "alice");
  const [old] = links();
  tick(115 * MINUTE - 1);
  // What is under way on the old connection gets its answer there.
  const held = hold(hub);
  const underWay = alice.send("bob", "under way");
  await until(() => held.length);
  hub.intercept = () => false;
  assert.equal(links().length, 1);
  tick(1);
  await until(() => links().length === 2);
  const [, next] = links();
  await aWhile();

  // A message to both is heard once, whichever comes first.
  assert.equal((await bob.send("alice", "to both")).delivered, 2);
  for (const [link, id] of [
    [next, "1"],
    [old, "1"],
    [old, "2"],
    [next, "2"],
    [next, "end"],
  ])
    link.say({ type: "message", id, from: "x", message: id });
  await until(() => alice.messages().includes("end") && alice.messages().includes("2"));
  assert.deepEqual(alice.messages().sort(), ["1", "2", "end", "to both"]);
  // New sends take the new way.
  await alice.send("bob", "new way");
  assert.equal(hub.frames.at(-1).link, next);

  tick(5_000);
  await aWhile();
  assert.equal(links().length, 2, "the old connection still owes an answer");
  held[0]();
  assert.equal((await underWay).delivered, 1);
  await until(() => links().length === 1);
  assert.deepEqual(links(), [next]);
  assert.deepEqual(
    alice.log.map(({ type }) => type).filter((type) => type !== "message"),
    ["open"],
    "nobody noticed",
  );

  // With nothing under way, the old one goes after the overlap, and not sooner.
  tick(115 * MINUTE - 5_000);
  await until(() => links().length === 2);
  await aWhile();
  tick(4_999);
  await aWhile();
  assert.equal(links().length, 2);
  tick(1);
  await until(() => links().length === 1);
  assert.equal(hub.sent.length, 3, "nothing was sent twice");
});

test("clients that came together hand over apart, and never late", async (t) => {
  for (const [random, minutes] of [
    [0, 115],
    [0.5, 109.25],
    [0.999999, 103.5],
  ]) {
    await t.test(`after ${minutes} minutes`, async (t) => {
      const { hub, connect, tick } = await setUp(t, { random });
      await connect("alice", { pingInterval: 180 * MINUTE });
      tick(minutes * MINUTE - 1_000);
      await aWhile();
      assert.equal(hub.handshakes.length, 1);
      tick(2_000);
      await until(() => hub.handshakes.length === 2);
    });
  }
});

test("handing over is repeated with backoff while the old connection still serves", async (t) => {
  const { hub, connect, tick } = await setUp(t, { random: 0.5 });
  const alice = await connect("alice", { handoverAfter: MINUTE, handoverOverlap: 0 });
  hub.refuse = true;
  tick(MINUTE);
  await until(() => alice.heard("error").length === 1);
  tick(250);
  await until(() => alice.heard("error").length === 2);
  assert.equal(alice.state, "open");
  await alice.send("bob", "as ever");
  hub.refuse = false;
  tick(500);
  await until(() => hub.handshakes.length === 2);
  await aWhile();
  tick(1);
  await until(() => hub.open.size === 1);
  // And the new one is replaced in its turn.
  tick(MINUTE);
  await until(() => hub.handshakes.length === 3);
  assert.deepEqual(alice.heard("reconnecting"), []);
});

test("a connection that dies while the next is being opened leaves its sends to that one", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const tokens = ["first", new Promise((resolve) => (hub.proceed = resolve))];
  const alice = await connect("alice", { handoverAfter: MINUTE, token: () => tokens.shift() });
  const held = hold(hub);
  tick(MINUTE);
  const send = alice.send("bob", "hello");
  await until(() => held.length);
  hub.cut();
  await until(() => alice.state === "reconnecting");
  assert.deepEqual(tokens, [], "the next was already under way");
  assert.equal(alice.heard("reconnecting")[0].delay, 0);
  tick(1_000);
  hub.intercept = () => false;
  hub.proceed("second");
  assert.equal((await send).delivered, 0);
  assert.deepEqual([hub.handshakes.length, hub.sent.length], [2, 2]);
});

test("an old connection that dies owing an answer leaves the send to the new one", async (t) => {
  const { hub, connect, tick } = await setUp(t, { random: 0 });
  const alice = await connect("alice", { handoverAfter: MINUTE });
  const held = hold(hub);
  tick(MINUTE - 1);
  const send = alice.send("bob", "hello");
  await until(() => held.length);
  hub.intercept = () => false;
  tick(1);
  await until(() => hub.open.size === 2);
  await aWhile();
  [...hub.open][0].socket.terminate();
  assert.equal((await send).delivered, 0);
  assert.deepEqual(alice.heard("reconnecting"), []);
});

test("when the gateway refuses a frame's size, the largest is given up and the rest sent again", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice", { maxFrameBytes: 200_000 });
  hub.intercept = (link, { message }) => {
    if (message?.length > 1_000) link.socket.close(1009);
    return true; // The others are still under way.
  };
  const [small, middling] = [alice.send("bob", "small"), alice.send("bob", "x".repeat(500))];
  await assert.rejects(alice.send("bob", "x".repeat(2_000)), code("message_too_large"));
  hub.intercept = () => false;
  tick(250);
  await Promise.all([small, middling]);
  assert.deepEqual(
    hub.sent.slice(3).map(({ message }) => message.length),
    [5, 500],
  );
});

test("a connection that the hub has lost sight of is replaced, and the send repeated once", async (t) => {
  const { hub, connect, tick } = await setUp(t);
  const alice = await connect("alice");
  const [lost] = hub.open;
  const notConnected = (link, { id }) =>
    link.say({ type: "error", code: "not_connected", message: "connect again", id }) ?? true;
  hub.intercept = (link, frame) => link === lost && notConnected(link, frame);
  const send = alice.send("bob", "hello");
  await until(() => alice.state === "reconnecting");
  tick(250);
  await send;
  assert.equal(hub.handshakes.length, 2);

  hub.intercept = notConnected;
  const hopeless = assert.rejects(alice.send("bob", "again"), code("not_connected"));
  await until(() => alice.state === "reconnecting");
  tick(500);
  await hopeless;
  assert.equal(hub.handshakes.length, 3);
});

test("frames that answer nobody are errors to hear of, and end nothing", async (t) => {
  const { hub, connect } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", "hello");
  await until(() => held.length);
  const [link] = hub.open;
  link.say({ message: "Internal server error", connectionId: "c", requestId: "r" });
  link.say({ type: "error", code: "unknown_action", message: "no such action" });
  link.say({ type: "error", code: "internal", message: "ours", id: "long gone" });
  link.say("no JSON");
  for (const odd of ["null", "7", "[]", '"text"', "{}", '{"type":"news"}']) link.say(odd);
  link.say({ type: "receipt", id: "long gone", delivered: 1, gone: 0, failed: 0, sessions: [] });
  held[0]();
  await send;
  const told = alice.heard("error").map(({ error }) => [error.code, error.id]);
  assert.deepEqual(told, [
    ["gateway", undefined],
    ["unknown_action", undefined],
    ["internal", "long gone"],
    ["bad_frame", undefined],
  ]);
  assert.match(alice.heard("error")[0].error.message, /Internal server error/);
  assert.equal(alice.state, "open");
});

test("an aborted send stops waiting, and leaves the queue", async (t) => {
  const { hub, start, tick } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice", { queueLimit: 1 });
  await until(() => alice.state === "reconnecting");
  await assert.rejects(alice.send("bob", 0, { signal: AbortSignal.abort("early") }), (reason) => reason === "early");
  const abort = new AbortController();
  const send = alice.send("bob", 1, { signal: abort.signal });
  abort.abort();
  await assert.rejects(send, { name: "AbortError" });
  const next = alice.send("bob", 2);
  hub.refuse = false;
  tick(250);
  await next;
  const { signal } = new AbortController();
  await alice.send("bob", 3, { signal });
  assert.deepEqual(getEventListeners(signal, "abort"), [], "a signal that outlives the send holds nothing of it");
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    [2, 3],
  );
});

test("closing is final, says so once, and rejects what has no answer", async (t) => {
  const { hub, connect, clock, tick } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const rejected = assert.rejects(alice.send("bob", 1), code("closed"));
  await until(() => held.length);
  alice.close();
  alice.close();
  await rejected;
  assert.equal(alice.state, "closed");
  await assert.rejects(alice.send("bob", 2), code("closed"));
  alice.check();
  await until(() => hub.open.size === 0 && clock.running === 0, "no socket and no timer is left");
  tick(180 * MINUTE);
  await aWhile();
  assert.equal(hub.handshakes.length, 1);
  assert.deepEqual(
    alice.log.map(({ type }) => type),
    ["open", "close"],
  );
});

test("closing leaves nothing running, at whatever moment", async (t) => {
  const moments = {
    "while the token is asked for": async ({ start }) => start("alice", { token: () => new Promise(() => {}) }),
    "during the handshake": async ({ hub, start }) => {
      hub.hang = true;
      const alice = start("alice");
      await aWhile();
      return alice;
    },
    "while waiting to try again": async ({ hub, start }) => {
      hub.refuse = true;
      const alice = start("alice");
      await until(() => alice.state === "reconnecting");
      return alice;
    },
    "from a listener": async ({ hub, start }) => {
      hub.refuse = true;
      const alice = start("alice");
      alice.addEventListener("error", () => alice.close());
      await until(() => alice.state === "closed");
      return alice;
    },
    "from a listener, at the fifth refusal": async ({ hub, start, wind }) => {
      hub.refuse = 403;
      const alice = start("alice", { token: "t" });
      alice.addEventListener("error", () => alice.heard("error").length === 5 && alice.close());
      await wind(4_000);
      assert.equal(alice.state, "closed");
      return alice;
    },
    "from token(), past the end of the one in use": async ({ clock, connect, issue, tick }) => {
      let alice;
      alice = await connect("alice", { token: () => alice?.close() ?? issue(MINUTE) });
      clock.sleep(HOUR);
      tick(30_000);
      return alice;
    },
    "while what was queued goes out": async ({ start }) => {
      const alice = start("alice");
      alice.send("bob", 1).catch(() => {});
      alice.addEventListener("frame", () => alice.close());
      await until(() => alice.state === "closed");
      return alice;
    },
    "during a handover": async ({ hub, connect, tick }) => {
      const alice = await connect("alice", { handoverAfter: MINUTE });
      tick(MINUTE);
      await until(() => hub.open.size === 2);
      await aWhile();
      return alice;
    },
  };
  for (const [moment, prepare] of Object.entries(moments)) {
    await t.test(moment, async (t) => {
      const context = await setUp(t);
      const alice = await prepare(context);
      const queued = alice.send("bob", 1).catch((error) => error.code);
      const before = alice.log.length;
      alice.close();
      assert.equal(await queued, "closed");
      await until(() => context.clock.running === 0 && context.hub.open.size === 0, "no timer and no socket is left");
      context.tick(180 * MINUTE);
      await aWhile();
      assert.equal(alice.state, "closed");
      assert.deepEqual(
        alice.log
          .slice(before)
          .map(({ type }) => type)
          .filter((type) => type !== "close"),
        [],
      );
      assert.equal(alice.heard("close").length, 1);
      assert.equal(alice.log.at(-1).type, "close");
    });
  }
});

test("a program whose clients are closed ends by itself", async () => {
  const hub = await FakeHub.start();
  const program = `
    import WebSocket from "ws";
    import { HubClient } from "../../web/hub-client.js";
    const alice = new HubClient(${JSON.stringify(hub.url)}, { session: "alice", WebSocket });
    const lost = new HubClient("ws://127.0.0.1:9/", { session: "lost", WebSocket });
    await alice.send("alice", "hello");
    alice.close();
    lost.close();
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    cwd: import.meta.dirname,
    stdio: "inherit",
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const late = new Promise((resolve) => realTimeout(resolve, 20_000, "still running").unref());
  const outcome = await Promise.race([ended, late]);
  child.kill();
  await hub.stop();
  assert.equal(outcome, 0);
});

test("the first example of the documentation works as it stands", async (t) => {
  const hub = await FakeHub.start();
  t.after(() => hub.stop());
  const [, example] = readFileSync(new URL("../../docs/client.md", import.meta.url), "utf8").match(/```js\n([^]*?)```/);
  const client = new URL("../../web/hub-client.js", import.meta.url).href;
  const program = example.replace("./hub-client.js", client).replace(/wss:[^"]*/, hub.url);
  const prelude = 'globalThis.WebSocket = (await import("ws")).default;';
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", prelude + program], {
    cwd: import.meta.dirname,
    timeout: 20_000,
  });
  assert.equal(stdout, "reached 0 connections\n");
  assert.deepEqual(hub.sent[0].sessions, ["bob", "carol"]);
});

test("types, documentation and code name the same options", () => {
  const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
  const types = read("web/hub-client.d.ts").match(/interface HubClientOptions \{([^]*?)\n\}/)[1];
  const table = read("docs/client.md").match(/## Options([^]*?)\n\nTimes/)[1];
  const typed = [...types.matchAll(/^  (\w+)\??:/gm)].map(([, name]) => name).sort();
  const documented = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name).sort();
  assert.deepEqual(documented, typed);
  for (const name of documented.filter((name) => !["session", "token", "WebSocket"].includes(name))) {
    // It knows the option, and finds fault with the value.
    assert.throws(
      () => new HubClient("wss://hub.example", { session: "a", WebSocket, [name]: -1 }),
      RegExp(`${name} must`),
    );
  }
});
