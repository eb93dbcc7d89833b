// Which options a client accepts, and what its options at their extremes come to.

import assert from "node:assert/strict";
import { connect as connectClient } from "../../../web/client/hub.js";
import { test } from "../suite.js";
import { MINUTE, setUp } from "./setup.js";

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
  for (const name of ["sendTimeOut", "toString", "__proto__", "constructor"]) {
    const unknown = Object.defineProperty({ ...options }, name, { value: 5, enumerable: true });
    assert.throws(() => connectClient(unknown), { name: "TypeError", message: `unknown option ${name}` });
  }
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
    for (const value of [...(bound ? [0] : []), bound - 1, -1, NaN, -Infinity, 2 ** 31, null, true, "5", "off", {}]) {
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

for (const name of ["ttl", "pingInterval", "handoverAfter"]) {
  test(`${name} can be switched off, and the client stays connected`, async (t) => {
    for (const off of [Infinity, false]) {
      const { hub, start, wind } = await setUp(t, { random: 0 });
      const bob = start("bob", { [name]: off });
      await wind(100 * MINUTE);
      assert.deepEqual([bob.state.name, hub.handshakes.length], ["open", 1]);
      assert.equal(hub.pings > 0, name !== "pingInterval");
      bob.close();
    }
  });
}

test("with every option at its least value, there is at most a frame and a handshake per second", async (t) => {
  const { hub, connect, wind } = await setUp(t);
  const least = {
    pingInterval: 10_000,
    pongTimeout: 1_000,
    handoverAfter: 60_000,
    handoverOverlap: 0,
    backoffBase: 100,
  };
  await connect("bob", { ...least, backoffMax: 1_000, connectTimeout: 1_000 });
  await wind(10 * MINUTE);
  assert.ok(hub.frames.length <= 600, `${hub.frames.length} frames in ten minutes`);
  assert.ok(hub.attempts.length <= 12, `${hub.attempts.length} handshakes in ten minutes`);
});
