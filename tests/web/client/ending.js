// Pausing and closing: timers and sockets, unanswered sends, and events.

import assert from "node:assert/strict";
import { SignedOut } from "../../../web/client/hub.js";
import { test } from "../suite.js";
import { code, HOUR, hold, issue, MINUTE, SECOND, setUp } from "./setup.js";

test("closing is final, is reported once, and rejects unanswered sends", async (t) => {
  const { hub, connect, clock, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  hold(hub);
  const rejected = assert.rejects(alice.send("bob", 1), (error) => {
    assert.equal(error.mayHaveArrived, true);
    return code("closed")(error);
  });
  await settle();
  alice.close();
  await alice.close();
  await rejected;
  assert.equal(alice.state.name, "closed");
  await assert.rejects(alice.send("bob", 2), code("closed"));
  await assert.rejects(alice.ready(), code("closed"));
  alice.check();
  alice.resume();
  await settle();
  assert.deepEqual([hub.open.size, clock.running], [0, 0], "no socket and no timer is left");
  await wind(3 * HOUR);
  assert.equal(hub.handshakes.length, 1);
  assert.deepEqual(alice.states(), ["open", "closed"]);
  assert.deepEqual(alice.heard("error"), []);
});

const moments = {
  "while the token is asked for": async ({ start }) => start("alice", { token: () => new Promise(() => {}) }),
  "during the handshake": async ({ hub, start, settle }) => {
    hub.hang = true;
    const alice = start("alice");
    await settle();
    return alice;
  },
  "while waiting for the next attempt": async ({ hub, start, settle }) => {
    hub.refuse = true;
    const alice = start("alice");
    await settle();
    assert.equal(alice.state.name, "waiting");
    return alice;
  },
  "from a listener": async ({ hub, start, settle }) => {
    hub.refuse = true;
    const alice = start("alice");
    alice.on("error", () => alice.close());
    await settle();
    assert.equal(alice.state.name, "closed");
    return alice;
  },
  "from a listener, at the fifth refusal": async ({ hub, start, wind }) => {
    hub.refuse = 403;
    const alice = start("alice", { token: "t" });
    alice.on("error", () => alice.heard("error").length === 5 && alice.close());
    await wind(4 * SECOND);
    assert.equal(alice.state.name, "closed");
    return alice;
  },
  "from a listener, as it opens": async ({ start, settle }) => {
    const alice = start("alice");
    alice.on("state", ({ name }) => name === "open" && alice.close());
    await settle();
    assert.equal(alice.state.name, "closed");
    return alice;
  },
  "from token(), past the end of the one in use": async ({ clock, connect, wind }) => {
    let alice;
    alice = await connect("alice", { token: () => (alice?.close(), issue(clock, MINUTE)) });
    clock.sleep(HOUR);
    await wind(30 * SECOND);
    assert.equal(alice.state.name, "closed");
    return alice;
  },
  "while what was queued goes out": async ({ start, settle }) => {
    const alice = start("alice");
    alice.send("bob", 1).catch(() => {});
    alice.on("frame", () => alice.close());
    await settle();
    assert.equal(alice.state.name, "closed");
    return alice;
  },
  "during a handover": async ({ hub, connect, wind }) => {
    const alice = await connect("alice", { handoverAfter: MINUTE });
    await wind(MINUTE);
    assert.equal(hub.open.size, 2);
    return alice;
  },
  "while it is paused": async ({ connect }) => {
    const alice = await connect("alice");
    alice.pause();
    return alice;
  },
};

for (const [moment, prepare] of Object.entries(moments)) {
  test(`closing leaves nothing running at any moment: ${moment}`, async (t) => {
    const context = await setUp(t);
    const { clock, hub, wind } = context;
    const alice = await prepare(context);
    const queued = alice.send("bob", 1).catch(({ code }) => code);
    const before = alice.log.length;
    await alice.close();
    assert.equal(await queued, "closed");
    // Without an answer to its closing handshake, a socket is cut after a second.
    await wind(SECOND);
    assert.deepEqual([clock.running, hub.open.size], [0, 0], "timers and sockets");
    await wind(3 * HOUR);
    assert.equal(alice.state.name, "closed");
    assert.deepEqual(
      alice.log.slice(before).map(([type, { name }]) => [type, name]),
      before && alice.states().indexOf("closed") < alice.states().length - 1
        ? []
        : alice.log.slice(before).map(() => ["state", "closed"]),
    );
    assert.equal(alice.states().filter((name) => name === "closed").length, 1);
    assert.equal(alice.states().at(-1), "closed");
  });
}

test("if the closing handshake is not answered, the socket is cut where the runtime can", async (t) => {
  const { hub, clock, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  hub.silent = true;
  await settle();
  await alice.close();
  assert.equal(alice.state.name, "closed");
  await wind(SECOND);
  assert.equal(clock.running, 0);
});

test("close() with a drain waits for unanswered sends, and accepts no more", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", 1);
  await settle();
  let closed = false;
  const close = alice.close({ drain: 10 * SECOND }).then(() => (closed = true));
  await settle();
  assert.deepEqual([closed, alice.state.name], [false, "open"]);
  await assert.rejects(alice.send("bob", 2), code("closed"));
  held[0]();
  await send;
  await close;
  assert.equal(alice.state.name, "closed");
});

test("a drain ends in time, and close() ends it at once", async (t) => {
  for (const hurry of [false, true]) {
    const { hub, connect, settle, wind } = await setUp(t);
    const alice = await connect("alice");
    hold(hub);
    const rejected = assert.rejects(alice.send("bob", 1), code("closed"));
    await settle();
    const close = alice.close({ drain: 10 * SECOND });
    await wind(10 * SECOND - 1);
    assert.equal(alice.state.name, "open");
    if (hurry) await alice.close();
    else await wind(1);
    await close;
    await rejected;
    assert.equal(alice.state.name, "closed");
  }
});

test("a pause closes the connection, and keeps unanswered sends", async (t) => {
  const { hub, clock, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", 1, { id: "x", ttl: false });
  await settle();
  assert.equal(held.length, 1);
  alice.pause();
  alice.pause();
  await settle();
  assert.deepEqual([alice.state.name, hub.open.size, clock.running], ["paused", 0, 0]);
  const queued = alice.send("bob", 2, { ttl: false });
  assert.equal(alice.post("bob", 3), false);
  alice.check();
  await wind(HOUR);
  assert.equal(hub.handshakes.length, 1);
  hub.intercept = () => false;
  alice.resume();
  alice.resume();
  await Promise.all([send, queued]);
  assert.deepEqual([alice.state.name, hub.handshakes.length], ["open", 2]);
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    [1, 1, 2],
  );
});

test("without autoConnect it connects when resume() is called", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  const alice = start("alice", { autoConnect: false });
  const send = alice.send("bob", 1);
  await wind(SECOND);
  assert.deepEqual([alice.state.name, hub.attempts.length], ["paused", 0]);
  alice.resume();
  await send;
  await settle();
  assert.equal(alice.state.name, "open");
});

test("ready() waits until the client is open, or has ended", async (t) => {
  const { hub, start, settle, wind } = await setUp(t);
  hub.refuse = true;
  const alice = start("alice");
  let isReady = false;
  const ready = alice.ready().then(() => (isReady = true));
  const abort = new AbortController();
  const aborted = assert.rejects(alice.ready({ signal: abort.signal }), (reason) => reason === "enough");
  await settle();
  abort.abort("enough");
  await aborted;
  assert.equal(isReady, false);
  hub.refuse = false;
  await wind(SECOND);
  await ready;
  await alice.ready();

  const bob = start("bob", { token: () => Promise.reject(new SignedOut()) });
  await assert.rejects(bob.ready(), code("signed_out"));
});

test("each change of state makes a new snapshot, and listeners also get the previous one", async (t) => {
  const { clock, connect, cut, wind } = await setUp(t);
  const alice = await connect("alice");
  const open = alice.state;
  assert.throws(() => {
    alice.state.name = "closed";
  }, TypeError);
  const changes = [];
  alice.on("state", (now, before) => changes.push([before.name, now.name, now === alice.state]));
  await cut();
  assert.deepEqual([open.name, alice.state.name], ["open", "waiting"]);
  assert.equal(Number(alice.state.since), clock.now());
  assert.equal(Number(alice.state.retryAt), clock.now() + 250);
  await wind(SECOND);
  await alice[Symbol.asyncDispose ?? "asyncDispose"]();
  assert.deepEqual(changes, [
    ["open", "waiting", true],
    ["waiting", "connecting", true],
    ["connecting", "open", true],
    ["open", "closed", true],
  ]);
});
