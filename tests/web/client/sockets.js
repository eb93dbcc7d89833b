// The sockets of /testing behave like real ones: the same tests run over both.

import assert from "node:assert/strict";
import { jwt } from "../../../web/client/testing.js";
import { forgetSockets, newClock, startHub } from "../environment.js";
import { test } from "../suite.js";

async function setUp(t) {
  const clock = newClock();
  const { hub } = await startHub({ clock });
  t.after(async () => {
    hub.silent = false;
    await hub.stop();
    forgetSockets();
  });
  /** A socket, and a record of its events. */
  const dial = (query = "?session_id=alice", protocols = []) => {
    const socket = new hub.WebSocket(hub.url + query, protocols);
    socket.binaryType = "arraybuffer";
    const events = [];
    socket.addEventListener("open", () => events.push("open"));
    socket.addEventListener("error", () => events.push("error"));
    socket.addEventListener("message", ({ data }) => events.push(data));
    socket.addEventListener("close", ({ code, reason }) => events.push(`close ${code}${reason && ` ${reason}`}`));
    return { socket, events };
  };
  const open = async (...args) => {
    const dialed = dial(...args);
    await clock.settle();
    assert.deepEqual(dialed.events.splice(0), ["open"]);
    return { ...dialed, link: [...hub.open].at(-1) };
  };
  return { hub, clock, dial, open, settle: () => clock.settle() };
}

const PONG = '{"type":"pong"}';

test("a socket opens, carries frames both ways in their order, and closes", async (t) => {
  const { hub, open, settle } = await setUp(t);
  const { socket, events, link } = await open("?session_id=alice&a=%20b", ["hub.v1", `bearer.${jwt({ name: "é" })}`]);
  assert.deepEqual([socket.readyState, socket.protocol, link.protocols.length], [1, "hub.v1", 2]);
  assert.deepEqual([link.session, link.query, link.number], ["alice", { session_id: "alice", a: " b" }, 1]);
  socket.send('{"action":"ping"}');
  for (const n of [1, 2, 3]) socket.send(JSON.stringify({ action: "sendMessage", sessions: ["nobody"], id: `${n}` }));
  await settle();
  assert.equal(events[0], PONG);
  assert.deepEqual(
    events.slice(1).map((frame) => JSON.parse(frame).id),
    ["1", "2", "3"],
  );
  assert.equal(hub.sent.length, 3);
  socket.close();
  assert.equal(socket.readyState, 2);
  await settle();
  assert.deepEqual([socket.readyState, hub.open.size, events.slice(4)], [3, 0, ["close 1005"]]);
});

test("frames sent before a socket closes still arrive", async (t) => {
  const { hub, open, settle } = await setUp(t);
  const { socket } = await open();
  socket.send('{"action":"sendMessage","sessions":["bob"],"message":1,"id":"1"}');
  socket.close(1000, "done");
  await settle();
  assert.deepEqual([hub.sent.length, hub.open.size], [1, 0]);
});

test("code and reason come from the end that closes", async (t) => {
  const { open, settle } = await setUp(t);
  const alice = await open();
  alice.link.say({ n: 1 });
  alice.link.close(1011, "over");
  await settle();
  assert.deepEqual(alice.events, ['{"n":1}', "close 1011 over"]);
  const bob = await open();
  bob.socket.close(4000, "enough");
  await settle();
  assert.deepEqual(bob.events, ["close 4000 enough"]);
});

test("a socket that is cut reports 1006, after the frames that arrived before", async (t) => {
  const { hub, open, settle } = await setUp(t);
  const [alice, bob] = [await open(), await open()];
  hub.cut();
  await settle();
  for (const { events, socket } of [alice, bob]) {
    // Deno reports code 0.
    assert.match(events.filter((event) => event !== "error").join(), /^close (1006|0)$/);
    assert.equal(socket.readyState, 3);
  }
  assert.equal(hub.open.size, 0);
});

test("a handshake that is refused, or reaches no server, is an error and then the end", async (t) => {
  const { hub, dial, settle } = await setUp(t);
  hub.refuse = 403;
  const refused = dial("?token=a");
  await settle();
  await hub.stop();
  const alone = dial();
  await settle();
  await hub.start();
  hub.refuse = false;
  const admitted = dial();
  await settle();
  for (const { events, socket } of [refused, alone]) {
    assert.equal(events[0], "error");
    // Node 22 emits no event, and Deno reports code 0.
    assert.match(events[1] ?? "close 1006", /^close (1006|0)/);
    assert.notEqual(socket.readyState, 1);
  }
  assert.deepEqual(admitted.events, ["open"]);
  assert.deepEqual(
    hub.attempts.map(({ token }) => token),
    ["a", undefined],
  );
});

test("a handshake that hangs can be given up", async (t) => {
  const { hub, dial, settle } = await setUp(t);
  hub.hang = true;
  const { socket, events } = dial();
  await settle();
  assert.deepEqual([socket.readyState, events, hub.attempts.length], [0, [], 1]);
  assert.throws(() => socket.send("too early"), { name: /InvalidStateError|Error/ });
  socket.close();
  await settle();
  assert.equal(events[0], "error");
  assert.deepEqual([hub.open.size, hub.handshakes.length], [0, 0]);
});

test("binary frames arrive unchanged", async (t) => {
  const { hub, open, settle } = await setUp(t);
  const { socket, events, link } = await open();
  socket.send(new TextEncoder().encode('{"action":"é"}'));
  link.say(new Uint8Array([0, 127, 255]));
  await settle();
  assert.deepEqual(hub.frames[0].frame, { action: "é" });
  const [frame] = events.filter((event) => typeof event !== "string");
  assert.ok(frame instanceof ArrayBuffer);
  assert.deepEqual([...new Uint8Array(frame)], [0, 127, 255]);
});

test("a hub that stops reading gets every frame later", async (t) => {
  const { hub, open, settle } = await setUp(t);
  const { socket, link } = await open();
  link.pause();
  await settle();
  for (const n of [1, 2]) socket.send(JSON.stringify({ action: "sendMessage", sessions: ["bob"], message: n }));
  await settle();
  assert.equal(hub.sent.length, 0);
  link.resume();
  await settle();
  assert.deepEqual(
    hub.sent.map(({ message }) => message),
    [1, 2],
  );
});

test("a silent hub leaves the closing handshake without an answer", async (t) => {
  const { hub, open, settle } = await setUp(t);
  const { socket, events } = await open();
  hub.silent = true;
  await settle();
  socket.close();
  await settle();
  assert.deepEqual([socket.readyState, events], [2, []]);
});
