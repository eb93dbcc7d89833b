// Pausing and closing: timers and sockets, unanswered sends, and events.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { code, fakePage, hold, HOUR, issue, MINUTE, SECOND, setUp } from "./setup.js";

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

for (const [moment, set] of [
  ["as the network goes", ({ page }) => page.tell("offline")],
  [
    "on waking past a hand-over",
    async ({ clock, alice, wind }) => {
      clock.sleep(3 * HOUR);
      alice.check();
      await wind(MINUTE);
    },
  ],
  ["as it is checked", async ({ alice, wind }) => (await wind(MINUTE), alice.check())],
]) {
  test(`close() from a listener of the ping ${moment} is the end`, async (t) => {
    const page = fakePage(t);
    const { hub, clock, connect, wind } = await setUp(t);
    let calls = 0;
    const alice = await connect("alice", { token: () => (calls++, "t") });
    alice.on("frame", ({ data }) => data.includes("ping") && alice.close());
    await set({ page, clock, alice, wind });
    await wind(SECOND);
    assert.deepEqual([alice.state.name, hub.open.size, calls], ["closed", 0, 1]);
    assert.deepEqual(alice.states().slice(-1), ["closed"]);
  });
}

test("close({ drain }) waits for unanswered sends, accepts no more, and then closes", async (t) => {
  const { hub, connect, settle } = await setUp(t);
  const alice = await connect("alice");
  const held = hold(hub);
  const send = alice.send("bob", 1);
  await settle();
  let isClosed = false;
  const closing = alice.close({ drain: 5 * SECOND }).then(() => (isClosed = true));
  await assert.rejects(alice.send("bob", 2), code("closed"));
  await settle();
  assert.deepEqual([isClosed, alice.state.name], [false, "open"]);
  held[0]();
  assert.equal((await send).delivered, 0);
  await closing;
  assert.equal(alice.state.name, "closed");
});

test("a drain ends in time, and close() ends it at once", async (t) => {
  for (const hurry of [false, true]) {
    const { hub, connect, settle, wind } = await setUp(t);
    const alice = await connect("alice");
    hold(hub);
    const lost = alice.send("bob", 1).catch((error) => error);
    await settle();
    const close = alice.close({ drain: 10 * SECOND });
    await wind(10 * SECOND - 1);
    assert.equal(alice.state.name, "open");
    if (hurry) await alice.close();
    else await wind(1);
    await close;
    const { code: found, mayHaveArrived, retryable } = await lost;
    assert.deepEqual([found, mayHaveArrived, retryable], ["closed", true, false]);
    assert.equal(alice.state.name, "closed");
  }
});

test("a drain continues after a loss", async (t) => {
  const { hub, connect, cut, wind } = await setUp(t);
  const alice = await connect("alice");
  hold(hub);
  const send = alice.send("bob", 1);
  const closing = alice.close({ drain: 10 * SECOND });
  await cut();
  hub.intercept = () => false;
  await wind(SECOND);
  assert.equal((await send).delivered, 0);
  await closing;
  assert.equal(alice.state.name, "closed");
});

test("a second drain joins the first, and send() rejects invalid options", async (t) => {
  const { hub, connect, settle, wind } = await setUp(t);
  const alice = await connect("alice");
  for (const options of [null, 5, { ttl: 0 }, { id: "" }]) {
    const send = alice.send("bob", 1, options);
    if (options !== 5) await assert.rejects(send);
  }
  await settle();
  const held = hold(hub);
  const send = alice.send("bob", 2);
  const closing = [alice.close({ drain: 5 * SECOND }), alice.close({ drain: 5 * SECOND })];
  await wind(SECOND);
  held[0]();
  assert.equal((await send).delivered, 0);
  await Promise.all(closing);
  assert.equal(alice.state.name, "closed");
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
