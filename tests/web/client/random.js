// Faults at random, the same for the same seed: whatever comes, the client keeps what it promises.

import assert from "node:assert/strict";
import { test } from "../suite.js";
import { fakePage, MINUTE, SECOND, setUp } from "./setup.js";

/** A generator of numbers from 0 to 1 (mulberry32). */
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

for (let seed = 1; seed <= 8; seed++) {
  test(`a hundred faults at random, seed ${seed}`, async (t) => {
    const page = fakePage(t);
    const { hub, clock, connect, wind } = await setUp(t);
    const random = (Math.random = generator(seed));
    const pick = (list) => list[Math.floor(random() * list.length)];
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
    const has = (fault) => random() < (faults[fault] ?? 0);
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
    assert.equal(new Set(ids).size, ids.length, "nothing is heard twice");
    assert.equal((await alice.send("bob", "at last")).delivered, 0);
    assert.ok(hub.open.size <= 2, `${hub.open.size} connections`);
  });
}
