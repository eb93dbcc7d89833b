// Helpers of the client's tests: a hub, a clock that only a test moves, and clients that record their events.

import assert from "node:assert/strict";
import { connect as connectClient, HubError } from "../../../web/client/hub.js";
import { jwt } from "../../../web/client/testing.js";
import { forgetSockets, newClock, startHub } from "../environment.js";
import { turn } from "../sockets.js";

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

const EVENTS = ["message", "state", "duplicate", "gap", "lost", "refused", "error", "frame"];

const { performance } = globalThis;

export async function until(condition, what = String(condition)) {
  const end = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < end, `this never came true: ${what}`);
    await turn();
  }
}

/**
 * A hub, a clock that only the test moves, and clients that are closed at the end. `random` is what chance comes to, and
 * `history` says whether the hub keeps messages.
 */
export async function setUp(t, { random = 0.5, history = false } = {}) {
  const clock = newClock();
  const { random: chance } = Math;
  Math.random = () => random;
  const { hub, options: standard } = await startHub({ clock, history });
  const clients = [];
  const wind = (ms) => clock.advance(ms);
  const settle = () => clock.settle();

  t.after(async () => {
    Math.random = chance;
    for (const client of clients) client.close();
    hub.silent = false;
    await hub.stop();
    // A socket whose closing handshake is not answered is cut after a second.
    await wind(SECOND);
    assert.deepEqual([clock.running, hub.open.size], [0, 0], "timers and connections that are left");
    forgetSockets();
  });

  /** A client that records its events: `log` holds each as [type, ...arguments], except frames. */
  const start = (session, options = {}) => {
    const client = connectClient({ url: hub.url, session, clock, ...standard, ...options });
    client.log = [];
    client.frames = [];
    for (const type of EVENTS) {
      client.on(type, (...carried) =>
        type === "frame" ? client.frames.push(...carried) : client.log.push([type, ...carried]),
      );
    }
    client.heard = (type) => client.log.filter((event) => event[0] === type).map((event) => event[1]);
    /** The messages received. */
    client.got = () => client.heard("message").map(({ message }) => message);
    /** The names of its states since it was made. */
    client.states = () => client.heard("state").map(({ name }) => name);
    /** How long it waits before its next attempt. */
    client.delay = () => client.state.retryAt - clock.now();
    clients.push(client);
    return client;
  };
  /** The same, when it is open. */
  const connect = async (...args) => {
    const client = start(...args);
    await settle();
    assert.equal(client.state.name, "open");
    return client;
  };
  /** Cuts every connection. */
  const cut = async () => {
    hub.cut();
    await settle();
  };
  const tick = (ms) => clock.tick(ms);
  return { hub, clock, start, connect, wind, settle, tick, cut, standard };
}

/** For `assert.rejects` and `assert.throws`. */
export const code = (expected) => (error) => {
  assert.ok(error instanceof HubError, String(error));
  assert.equal(error.code, expected);
  return true;
};

/** Makes the hub hold its receipts; returns them as functions. */
export function hold(hub) {
  const held = [];
  hub.intercept = (link, frame) => frame.action === "sendMessage" && held.push(() => hub.answer(link, frame));
  return held;
}

/** The types of a client's events. */
export const types = (client) => [...new Set(client.log.map(([type]) => type))];

/** The events of a page: a stand-in for `globalThis` and `document`, which counts its listeners. */
export function fakePage(t) {
  const listeners = new Set();
  const stand = () => {
    const target = new EventTarget();
    const count = (method, change) => (type, listener) => {
      listeners[change](`${target === page ? "page" : "document"} ${type}`);
      target[method](type, listener);
    };
    return [
      target,
      {
        addEventListener: count("addEventListener", "add"),
        removeEventListener: count("removeEventListener", "delete"),
      },
    ];
  };
  const [page, ofPage] = stand();
  const [other, ofDocument] = stand();
  const real = globalThis.document;
  const document = real ?? {};
  let visibility = "visible";
  const changes = [
    ...Object.entries(ofPage).map(([name, value]) => [globalThis, name, { value }]),
    ...Object.entries(ofDocument).map(([name, value]) => [document, name, { value }]),
    [document, "visibilityState", { get: () => visibility }],
    ...(real ? [] : [[globalThis, "document", { value: document }]]),
  ];
  for (const [target, name, change] of changes) {
    const before = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { ...change, configurable: true });
    t.after(() => (before ? Object.defineProperty(target, name, before) : delete target[name]));
  }
  const tell = (target, type, fields) => target.dispatchEvent(Object.assign(new Event(type), fields));
  return {
    tell: (type, fields) => tell(page, type, fields),
    tellDocument: (type) => tell(other, type),
    show: (state) => (visibility = state),
    listeners,
  };
}

/** Replaces a value of the runtime until the test is over. */
export function replace(t, target, name, value) {
  const before = Object.getOwnPropertyDescriptor(target, name);
  Object.defineProperty(target, name, { value, configurable: true });
  t.after(() => (before ? Object.defineProperty(target, name, before) : delete target[name]));
}

/** A token that is issued now and expires after `life`. */
export function issue(clock, life, claims) {
  return jwt({ iat: clock.time / 1_000, exp: (clock.time + life) / 1_000, ...claims });
}

/** A delivery as the hub posts it, from a backend. */
export const delivery = (offset, epoch, rest) => ({
  ...{ type: "message", id: `${offset}`, from: null, message: offset, sent_at: "2030-01-01T00:00:00.000Z" },
  ...{ session: "bob", epoch, offset, ...rest },
});

/** A hub with history, and a client that has a position. */
export async function withHistory(t, { random, ...options } = {}) {
  const set = await setUp(t, { random, history: true });
  const { hub, connect, wind } = set;
  const bob = await connect("bob", options);
  const { epoch } = bob.position();
  let asked = 0;
  /** The requests for history since the last call. */
  const questions = () => {
    const all = hub.frames.map(({ frame }) => frame).filter(({ action }) => action === "history");
    return all.slice(asked, (asked = all.length));
  };
  // Each connection sends two.
  await wind(5 * SECOND);
  assert.equal(questions().length, 2);
  return {
    ...set,
    bob,
    epoch,
    questions,
    /** A message to its session. */
    say: (message, rest) => hub.deliver(null, { id: `${message}`, sessions: ["bob"], message, ...rest }),
    /** A message that the hub does not know, on the newest connection. */
    post: (offset, rest) => [...hub.open].pop().say(delivery(offset, epoch, rest)),
  };
}

/** Lets `answer` reply to requests for history instead of the hub. */
export function instead(hub, answer = () => {}) {
  hub.intercept = (link, frame) => frame.action === "history" && (answer(link, frame), true);
}

/** Answers that the hub has failed. */
export const internal = (link, { id }) => link.say({ type: "error", code: "internal", message: "try again", id });

/** An answer of the gateway itself, in place of the hub's. */
export const gateway = (message) => ({ message, connectionId: "c=", requestId: "r=" });

/** How each send ends: with the count of its receipt, or the code of its error. */
export const outcomes = (sends) =>
  Promise.all(
    sends.map((send) =>
      send.then(
        ({ delivered }) => delivered,
        ({ code }) => code,
      ),
    ),
  );

export const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

export const offsets = (messages) => messages.map(({ position }) => position.offset);

/** The offsets around a loss or a gap. */
export const ends = ({ from, to }) => [from.offset, to.offset];
