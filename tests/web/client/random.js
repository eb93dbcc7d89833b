// Random faults, the same for the same seed: the client keeps its promises through all of them.

import assert from "node:assert/strict";
import { generator } from "../generator.js";
import { test } from "../suite.js";
import { fakePage, MINUTE, SECOND, setUp } from "./setup.js";

/** Random decisions. */
function chance(seed) {
  const random = (Math.random = generator(seed));
  const pick = (list) => list[Math.floor(random() * list.length)];
  return { random, pick, has: (probability) => random() < probability };
}

/**
 * Returns a function that makes deliveries over the links that are open come late, so many `times`, or not at all.
 * The hub itself keeps its frames in order.
 */
function unreliable({ hub, clock }, { random, pick, has }, trouble, times) {
  const late = new WeakSet();
  const make = (link) => {
    if (late.has(link)) return;
    late.add(link);
    const { say } = link;
    link.say = (frame) => {
      if (frame.type !== "message" || has(1 - trouble())) return say(frame);
      if (has(0.3)) return;
      for (let left = times(); left; left--) {
        clock.setTimeout(() => hub.open.has(link) && say(frame), random() * pick([50, 3_000]));
      }
    };
  };
  return () => hub.open.forEach(make);
}

for (let seed = 1; seed <= 8; seed++) {
  test(`each send ends within its ttl through a hundred faults at random, seed ${seed}`, async (t) => {
    const page = fakePage(t);
    const { hub, clock, connect, wind } = await setUp(t);
    const { random, pick, has: hasChance } = chance(seed);
    const alice = await connect("alice", { handoverAfter: 2 * MINUTE, queueLimit: 60 });

    const ends = new Map();
    let sent = 0;
    const send = () => {
      const id = `${++sent}`;
      const ttl = pick([5, 30, 60]) * SECOND;
      // While the machine sleeps, nothing can end.
      const since = clock.uptime();
      ends.set(id, null);
      const isInTime = () => assert.ok(clock.uptime() - since <= ttl, `${id} took ${clock.uptime() - since} ms`);
      alice.send("bob", "x", { id, ttl }).then(
        () => (isInTime(), ends.set(id, "receipt")),
        (error) => (isInTime(), ends.set(id, error.code)),
      );
      assert.ok(alice.stats.unanswered <= 60);
    };

    let faults = {};
    const has = (fault) => hasChance(faults[fault] ?? 0);
    hub.intercept = (link, frame) => {
      if (has("throttled")) return link.say({ message: "Too Many Requests", connectionId: "c" }) ?? true;
      if (has("deaf")) return true;
      if (frame.action !== "sendMessage") return false;
      if (has("poison")) return link.terminate() ?? true;
      if (has("forgotten")) {
        return link.say({ type: "error", code: "not_connected", message: "again", id: frame.id }) ?? true;
      }
      return false;
    };
    const happen = {
      send: () => [...Array(pick([1, 3, 80]))].forEach(send),
      deliver: () => hub.deliver("bob", { id: `d${random()}`, sessions: ["alice"], message: 1 }),
      cut: () => hub.cut(),
      close: () => [...hub.open].forEach((link) => link.close(pick([1000, 1001, 1008, 1009, 1011]))),
      faults: () => {
        faults = { [pick(["throttled", "deaf", "poison", "forgotten"])]: pick([0.1, 0.5, 1]) };
        [hub.refuse, hub.hang] = [pick([false, false, 403]), pick([false, false, false, true])];
      },
      heal: () => {
        faults = {};
        hub.refuse = hub.hang = false;
      },
      sleep: () => clock.sleep(pick([1, 10]) * MINUTE),
      offline: () => page.tell(pick(["offline", "online"])),
      hide: () => page.tell("pagehide", { persisted: true }),
      show: () => page.tell("pageshow", { persisted: true }),
      pause: () => alice.pause(),
      resume: () => alice.resume(),
      check: () => alice.check(),
    };
    for (let step = 0; step < 100; step++) {
      happen[pick(Object.keys(happen))]();
      await wind(pick([1, 100, 1_000, 5_000, 20_000]));
    }

    happen.heal();
    happen.show();
    alice.resume();
    await wind(2 * MINUTE);
    assert.equal(alice.state.name, "open");
    assert.deepEqual([alice.stats.unanswered, [...ends.values()].includes(null)], [0, false]);
    const codes = new Set(ends.values());
    for (const code of codes) {
      assert.ok(
        ["receipt", "timeout", "connection_lost", "not_connected", "queue_full", "message_too_large"].includes(code),
        code,
      );
    }
    const ids = alice.heard("message").map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, "no message is received twice");
    assert.equal((await alice.send("bob", "at last")).delivered, 0);
    assert.ok(hub.open.size <= 2, `${hub.open.size} connections`);
  });
}

for (const [what, canLose] of [
  ["none is missing or repeated, and all are in order", false],
  ["each missing one was reported as lost or as a gap, and no other was", true],
]) {
  for (let seed = 1; seed <= 6; seed++) {
    test(`messages through faults at random, seed ${seed}: ${what}`, async (t) => {
      const { hub, clock, connect, wind, settle } = await setUp(t, { history: true });
      const chances = chance(seed);
      const { pick, has } = chances;
      const log = []; // Of what was kept, in its order.
      let count = 0;
      const say = ({ id = `${++count}`, ...rest } = {}) => {
        const frame = { id, sessions: ["room"], message: "x".repeat(pick([1, 10, 4_000])), ...rest };
        const [{ epoch, offset }] = hub.deliver(null, frame).sessions;
        if (offset) log.push({ id, epoch, offset });
      };
      // A session whose first offset has no message counts as one with a loss.
      say();
      const clients = [];
      for (let number = 0; number < 3; number++) clients.push(await connect("room", { handoverAfter: 2 * MINUTE }));
      await wind(10 * SECOND);
      log.length = 0;

      let trouble = 0;
      const times = () => pick([1, 1, 2]);
      const disturb = unreliable({ hub, clock }, chances, () => trouble, times);
      // Two answers in a row are never lost, so that each gap is closed in time; unless messages may be missing.
      const unanswered = new Map();
      hub.intercept = (link, { action, id }) => {
        if (action !== "history") return false;
        const lost = unanswered.get(link) ?? 0;
        unanswered.set(link, 0);
        if (!has(trouble) || (lost && !canLose)) return false;
        unanswered.set(link, lost + 1);
        pick([
          () => {},
          () => link.say({ type: "error", code: "internal", message: "no", id }),
          () => link.say({ message: "Too Many Requests", connectionId: "c" }),
        ])();
        return true;
      };
      const happen = {
        say: () => [...Array(pick([1, 3, 30]))].forEach(() => say()),
        twice: () => (say(), say({ id: `${count}` })),
        aside: () => say({ store: false }),
        skip: () => hub.skip("room", pick([1, 2])),
        cut: () => hub.cut(),
        close: () => hub.open.size && pick([...hub.open]).close(1001),
        refuse: () => (hub.refuse = pick([false, 503])),
        trouble: () => (trouble = pick([0, 0.2, 0.7])),
        pause: () => pick(clients).pause(),
        resume: () => clients.forEach((client) => client.resume()),
        ...(canLose && { forget: () => hub.forget(), reset: () => has(0.3) && (hub.cut(), hub.reset()) }),
      };
      for (let step = 0; step < 80; step++) {
        disturb();
        happen[pick(Object.keys(happen))]();
        await wind(pick([1, 100, 1_000, 5_000, 20_000]));
      }
      trouble = 0;
      hub.refuse = false;
      happen.resume();
      await wind(3 * MINUTE);
      say();
      await settle();

      const { epoch, offset } = log[log.length - 1];
      for (const client of clients) {
        assert.deepEqual(client.position(), { epoch, offset });
        const missing = [...client.heard("gap"), ...client.heard("lost")];
        if (!canLose) assert.deepEqual(missing, []);
        const kept = client.heard("message").filter(({ position }) => position);
        const told = new Set(kept.map(({ id }) => id));
        assert.equal(told.size, kept.length, "no message is passed on twice");
        // In the order of the log, each message arrived that was not reported missing.
        const place = ({ epoch, offset }) => log.findIndex((entry) => entry.epoch === epoch && entry.offset === offset);
        const places = kept.map(({ position }) => place(position));
        assert.deepEqual(
          places,
          [...places].sort((a, b) => a - b),
        );
        const epochs = [...new Set(log.map(({ epoch }) => epoch))];
        const isBefore = (a, b) => epochs.indexOf(a.epoch) - epochs.indexOf(b.epoch) || a.offset - b.offset;
        const isIn =
          (entry) =>
          ({ from, to }) =>
            isBefore(from, entry) < 0 && isBefore(entry, to) <= 0;
        for (const entry of log) assert.ok(told.has(entry.id) || missing.some(isIn(entry)), JSON.stringify(entry));
        for (const one of missing.filter(({ from, to }) => from.epoch === to.epoch)) {
          const had = kept.filter(({ position }) => isIn(position)(one)).length;
          assert.ok(had < one.to.offset - one.from.offset, `${JSON.stringify(one)} is all there`);
        }
      }
    });
  }
}

for (let seed = 1; seed <= 8; seed++) {
  test(`listeners of many sessions through faults at random, seed ${seed}: each receives the messages of its time, once and in order`, async (t) => {
    const { hub, clock, connect, wind } = await setUp(t, { history: true });
    const chances = chance(seed);
    const { pick, has } = chances;
    const names = ["room-1", "room-2", "room-3", "room-4"];
    const clients = [];
    for (const name of ["alice", "bob"]) {
      clients.push(await connect(name, { handoverAfter: 2 * MINUTE, handoverOverlap: pick([0, 35]) * SECOND }));
    }
    await wind(10 * SECOND);

    const logs = new Map(names.map((name) => [name, []]));
    let count = 0;
    const say = (name) => {
      const [{ offset }] = hub.deliver(null, { id: `${++count}`, sessions: [name], message: null }).sessions;
      logs.get(name).push(offset);
    };
    // A session whose first offset has no message would count as one with a loss.
    names.forEach(say);

    const listeners = [];
    const listen = () => {
      const name = pick(names);
      const session = pick(clients).session(name);
      // Messages after those that the client has passed on before are also for this listener.
      const listener = { name, session, heard: [], from: session.position()?.offset };
      listener.off = session.on("message", ({ position }) => listener.heard.push(position.offset));
      const set = () => listener.off && (listener.from ??= session.position()?.offset);
      listener.ready = session.ready().then(set);
      listeners.push(listener);
    };
    const leave = () => {
      const listener = pick(listeners.filter(({ off }) => off));
      listener?.off();
      if (listener) listener.off = null;
    };

    let trouble = 0;
    const once = () => 1;
    const disturb = unreliable({ hub, clock }, chances, () => trouble, once);
    // Of the answers to requests for history, only so many are lost that the next one comes in time. All others may be late or lost.
    const unanswered = new Map();
    hub.intercept = (link, frame) => {
      const { action, id, session } = frame;
      if (action === "ping" || !has(trouble)) return false;
      if (action === "history") {
        const key = `${link.number} ${session}`;
        const lost = unanswered.get(key);
        unanswered.set(key, !lost);
        if (lost) return false;
      }
      pick([
        () => {},
        () => link.say({ type: "error", code: "internal", message: "no", id }),
        () => link.say({ message: "Too Many Requests", connectionId: "c" }),
        () => action !== "history" && clock.setTimeout(() => hub.open.has(link) && hub.answer(link, frame), 3_000),
        () => action !== "history" && (hub.loseAnswers(), hub.answer(link, frame)),
      ])();
      return true;
    };
    const happen = {
      say: () => [...Array(pick([1, 3, 20]))].forEach(() => say(pick(names))),
      // Only an offset after a known one can be proven to have no message.
      skip: (name = pick(names)) => (hub.skip(name), say(name)),
      listen,
      more: () => [...Array(pick([1, 3]))].forEach(listen),
      leave,
      less: () => [...Array(pick([1, 3]))].forEach(leave),
      remount: () => (leave(), listen()),
      cut: () => hub.cut(),
      close: () => hub.open.size && pick([...hub.open]).close(1001),
      forget: () => hub.open.size && pick([...hub.open]).forget(),
      unsubscribe: () => hub.open.size && pick([...hub.open]).subscriptions.delete(pick(names)),
      leftOver: () => hub.open.size && pick([...hub.open]).subscriptions.add(pick(names)),
      refuse: () => (hub.refuse = pick([false, 503])),
      trouble: () => (trouble = pick([0, 0.2, 0.7])),
      pause: () => pick(clients).pause(),
      resume: () => clients.forEach((client) => client.resume()),
    };
    for (let step = 0; step < 150; step++) {
      disturb();
      happen[pick(Object.keys(happen))]();
      await wind(pick([1, 100, 1_000, 5_000, 20_000]));
    }
    trouble = 0;
    hub.refuse = false;
    happen.resume();
    await wind(20 * MINUTE);
    names.forEach(say);
    await wind(SECOND);

    assert.ok(listeners.length > 10);
    for (const client of clients) assert.deepEqual([...client.heard("gap"), ...client.heard("lost")], []);
    for (const { name, session, heard, from, off } of listeners) {
      const log = logs.get(name);
      // A listener that has ended receives nothing more.
      const end = off ? log[log.length - 1] : Math.max(...heard, from ?? 0);
      const begin = Math.min(from ?? end, heard[0] - 1 || Infinity);
      const due = log.filter((offset) => offset > begin && offset <= end);
      assert.deepEqual(heard, due, `${name} of ${session.name}`);
      if (off) assert.equal(session.isReady, true);
    }
    for (const { off } of listeners) off?.();
    await wind(MINUTE);
    for (const { subscriptions } of hub.open) assert.deepEqual([...subscriptions], []);
    await Promise.all(listeners.map(({ ready }) => ready));
  });
}
