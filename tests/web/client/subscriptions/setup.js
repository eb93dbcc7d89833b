// A client with listeners of several sessions, and the frames that it sends about them.

import { setUp } from "../setup.js";

export const rooms = (count) => Array.from({ length: count }, (_, index) => `room-${index + 1}`);

/** A hub, and alice's frames about subscriptions: `asked()` returns those since the last call, as `[action, ...names]`. */
export async function start(t, { options, connected = true, ...set } = {}) {
  const world = await setUp(t, set);
  const { hub, connect, start } = world;
  const alice = connected ? await connect("alice", options) : start("alice", options);
  let seen = 0;
  const asked = () => {
    const all = hub.frames.map(({ frame }) => frame).filter(({ action }) => /subscribe|hello/.test(action));
    return all.slice(seen, (seen = all.length)).map(({ action, sessions = [] }) => [action, ...sessions]);
  };
  const say = (message, session = "room-1") => hub.deliver(null, { id: `${message}`, sessions: [session], message });
  /** Listens, and returns the messages received, with a function that stops it. */
  const listen = (name = "room-1", client = alice) => {
    const got = [];
    const off = client.session(name).on("message", ({ message }) => got.push(message));
    return Object.assign(got, { off });
  };
  return { ...world, alice, asked, say, listen };
}

/** Makes the hub hold its answers about subscriptions; returns them as functions. */
export function holdAnswers(hub, actions = /subscribe/) {
  const held = [];
  hub.intercept = (link, frame) => actions.test(frame.action) && held.push(() => hub.answer(link, frame));
  return held;
}
