// Clients of the hub at $HUB_URL receive each message once, all in the same order, however often their connections are cut.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../web/client/hub.js";
import { generator } from "./generator.js";
import { Line } from "./line.js";
import { clock, historyOf, Listener, problems, until, WebSocket } from "./listener.js";
import { die, publish } from "./stack.js";

const { HUB_URL, HUB_SEED } = process.env;
assert.ok(HUB_URL, 'start a hub (scripts/local.sh up) and run eval "$(scripts/local.sh env)"');

const SECOND = 1_000;
// What the local stack can do on two processors.
const [SESSIONS, SENDERS, BACKENDS, LOAD] = [50, 6, 2, 75 * SECOND];

const seed = Number(HUB_SEED ?? Date.now() % 1_000_000);
Math.random = generator(seed);
const between = (least, most) => least + Math.floor(Math.random() * (most - least + 1));
const has = (chance) => Math.random() < chance;
const times = (count, make) => Array.from({ length: count }, (_, number) => make(number));

/** Five at a time. */
async function each(list, run) {
  const left = [...list.entries()];
  const next = async () => {
    while (left.length) await run(...left.shift());
  };
  await Promise.all(times(5, next));
}

const unique = (name) => `${name}-${randomUUID().slice(0, 8)}`;

async function openSender(t, options) {
  const line = await Line.open(t);
  const name = unique("sender");
  const client = connect({ url: line.url, session: name, history: false, clock, WebSocket, ...options });
  t.after(() => client.close());
  return { client, line, name };
}

test(`while connections are cut at random, listeners of ${SESSIONS} sessions receive each message once and in order, seed ${seed}`, async (t) => {
  const sessions = times(SESSIONS, (number) => unique(`room-${number}`));
  const listeners = [];
  await each(sessions, async (number, session) => {
    // Some hand over about every 15 s because of their token, which this hub ignores.
    const token = () => ({ token: "none", expiresAt: clock.now() + between(6, 15) * SECOND });
    const handsOver = { token, tokenIn: "query", handoverOverlap: 1.5 * SECOND };
    for (const options of [number % 2 ? handsOver : {}, {}, ...(number % 10 ? [] : [{}])]) {
      const listener = await Listener.open(t, session, options);
      listener.start();
      await listener.ready();
      listeners.push(listener);
    }
    await publish({ sessions: [session], message: "the first, before which nothing is missing", id: "first" });
  });

  const end = Date.now() + LOAD;
  const isOn = () => Date.now() < end;
  // Some sessions get far more messages than others.
  const some = () => [...new Set(times(between(1, 6), () => sessions[Math.floor(SESSIONS * Math.random() ** 2)]))];
  const message = (number) => ({ number, text: "x".repeat(has(0.05) ? between(5_000, 25_000) : between(0, 500)) });
  const receipts = [];
  const refusals = [];
  const send = async () => {
    const { client, line, name } = await openSender(t, { ordered: true });
    for (let number = 0; isOn();) {
      const isKept = has(0.9);
      const burst = times(between(1, 5), () => client.send(some(), message(++number), isKept ? {} : { store: false }));
      if (has(0.15)) sleep(between(0, 300)).then(() => line.cut());
      for (const outcome of await Promise.allSettled(burst)) {
        if (outcome.reason) refusals.push(outcome.reason.code);
        else receipts.push({ ...outcome.value, from: name, isKept });
      }
    }
  };
  const backend = async () => {
    for (let number = 0; isOn();) {
      const request = { sessions: some(), message: message(++number), id: randomUUID() };
      if (has(0.05)) await die(request.sessions[0]);
      // Without a receipt, the sender sends again.
      for (let attempts = has(0.1) ? 2 : 1; attempts; attempts--) {
        const receipt = await publish(request).catch(() => publish(request));
        receipts.push({ ...receipt, from: null, isKept: true });
      }
    }
  };
  const away = new Set();
  let reloads = 0;
  const reload = async (listener) => {
    if (away.has(listener)) return;
    away.add(listener);
    reloads++;
    const position = listener.stop();
    await sleep(between(0, 3 * SECOND));
    listener.start(has(0.8) ? position : undefined);
    away.delete(listener);
  };
  const trouble = async () => {
    for (const { line } of listeners) line.risk = 0.2;
    const pending = [];
    for (; isOn(); await sleep(between(50, 500))) {
      const listener = listeners[between(0, listeners.length - 1)];
      const { line } = listener;
      const happen = [
        () => line.cut(),
        () => line.block(between(0, 5 * SECOND)),
        () => line.stall(between(50, 1_500)),
        () => reload(listener),
      ];
      pending.push(happen[between(0, 3)]());
    }
    await Promise.all(pending);
    for (const { line } of listeners) line.risk = 0;
  };
  await Promise.all([trouble(), ...times(SENDERS, send), ...times(BACKENDS, backend)]);
  // After an offset without a message, a client gets past it only by a request if no further message comes.
  const last = sessions.slice(-3);
  await Promise.all(last.map(die));
  await sleep(1_500);
  for (const { session, line } of listeners) if (last.includes(session)) line.cut();

  const histories = new Map();
  await each(sessions, async (_, session) => histories.set(session, await historyOf(session)));
  assert.deepEqual(await problems(listeners, histories), [], `seed ${seed}`);

  // The histories agree with the receipts.
  let kept = 0;
  let repeated = 0;
  for (const { id, from, isKept, sessions } of receipts) {
    for (const { session, epoch, offset } of sessions) {
      const history = histories.get(session);
      const found = history.kept.filter((frame) => frame.id === id && frame.from === from).map(({ offset }) => offset);
      assert.equal(epoch, isKept ? history.epoch : undefined);
      assert.ok(
        isKept ? found.includes(offset) : !found.length,
        `${id} is at ${found} of ${session}, not at ${offset}`,
      );
    }
  }
  for (const { kept: frames } of histories.values()) {
    const latest = new Map();
    const ids = new Set();
    for (const { from, id, message } of frames) {
      kept++;
      if (ids.has(id)) repeated++;
      else if (from) {
        assert.ok(message.number > (latest.get(from) ?? 0), "a sender's own messages keep their order");
        latest.set(from, message.number);
      }
      ids.add(id);
    }
  }
  const happened = { kept, repeated, reloads, cuts: 0, handovers: 0, missed: 0, answers: 0 };
  for (const { line, counts } of listeners) {
    for (const [what, count] of Object.entries({ cuts: line.cuts, ...counts })) happened[what] += count;
  }
  const summary = `${JSON.stringify(happened)}, refused: [${refusals}]`;
  t.diagnostic(summary);
  const isLost = (code) => code === "connection_lost";
  assert.ok(refusals.every(isLost), summary);
  assert.ok(kept >= 500 && Object.values(happened).every((count) => count >= 5), summary);
});

test(`a client that was away receives what it missed, page by page and in order, and so does a device that continues from its position, seed ${seed}`, async (t) => {
  const session = unique("bob");
  const [phone, laptop] = [await Listener.open(t, session), await Listener.open(t, session)];
  const { client: alice } = await openSender(t);
  phone.start();
  await phone.ready();
  await Promise.all(times(10, (number) => alice.send(session, number)));
  await until(() => phone.runs[0].told.length === 10, "what came live");
  assert.equal(phone.counts.missed, 0);
  const saved = JSON.parse(JSON.stringify(phone.client.position()));

  phone.line.isClosed = true;
  phone.line.cut();
  const sizes = times(130, () => (has(0.3) ? between(20_000, 32_000) : between(0, 2_000)));
  await Promise.all(sizes.map((size) => alice.send(session, "x".repeat(size))));
  phone.line.isClosed = false;
  laptop.line.risk = 0.1;
  laptop.start(saved);
  const history = await historyOf(session);
  assert.equal(history.kept.length, 140);
  assert.deepEqual(await problems([phone, laptop], new Map([[session, history]])), []);
  for (const { counts } of [phone, laptop]) {
    assert.equal(counts.missed, 130);
    assert.ok(counts.answers > 10, `${counts.answers} pages`);
  }
});

test("a message that is not stored is delivered live, outside the order, and is not in the history", async (t) => {
  const session = unique("bob");
  const bob = await Listener.open(t, session);
  const { client: alice } = await openSender(t);
  bob.start();
  await bob.ready();
  const send = (number) => alice.send(session, number, number % 2 ? { store: false } : {});
  await Promise.all(times(40, send));
  await until(() => bob.aside.length === 20 && bob.runs[0].told.length === 20, "what came live");
  bob.line.cut();
  await Promise.all(times(10, (number) => send(40 + 2 * number)));
  const history = await historyOf(session);
  assert.deepEqual([history.offset, history.kept.length], [30, 30]);
  assert.deepEqual(await problems([bob], new Map([[session, history]])), []);
  assert.deepEqual(
    bob.aside.sort((a, b) => a - b),
    times(20, (number) => 2 * number + 1),
  );
});
