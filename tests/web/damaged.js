// Sends a hub, real or fake, the document's examples and damaged frames.

import assert from "node:assert/strict";
import { test } from "node:test";
import { damaged, document, kindsOf, messages } from "./protocol.js";

/** How a hub says that a frame is not in the document. The last is also said of one too many that is. */
export const MALFORMED = ["bad_request", "too_many_sessions", "unknown_action", "too_many_subscriptions"];

/** `open` makes a socket of the session bob. `except`: the kind of damage that this hub does not detect. */
export function testHub(name, open, { except } = {}) {
  test(`${name} takes each example of a client's frames, and answers as documented`, async (t) => {
    const ask = await connect(t, await open());
    const examples = messages.filter(({ channel, by }) => channel === "socket" && by === "client");
    for (const { name, examples: given } of examples) {
      const { reply } = Object.values(document.operations).find(({ messages: [{ $ref }] }) =>
        $ref.endsWith(`socket/messages/${name}`),
      );
      for (const { payload } of given) {
        const [kind, frame] = await ask(JSON.stringify(payload), payload.receipt !== false);
        if (payload.receipt === false) assert.equal(kind, "message");
        else assert.ok(kind !== "error" && reply.messages.some(({ $ref }) => $ref.endsWith(`/${kind}`)), frame);
      }
    }
  });

  test(`${name} refuses each damaged frame of a client`, async (t) => {
    const ask = await connect(t, await open());
    const sent = damaged.filter(({ channel, by, what }) => channel === "socket" && by === "client" && what !== except);
    for (const text of new Set(sent.map(({ text }) => text))) {
      const [, frame] = await ask(text);
      assert.ok(MALFORMED.includes(JSON.parse(frame).code), `${text} was answered with ${frame}`);
    }
  });
}

/** A function that sends a frame and returns the kind of answer, and its text. Deliveries are no answers. */
async function connect(t, socket) {
  t.after(() => socket.close());
  const frames = [];
  let arrived = () => {};
  socket.addEventListener("message", ({ data }) => {
    frames.push(data);
    arrived();
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("the hub refuses the handshake")));
  });
  return async (sent, hasAnswer = true) => {
    socket.send(sent);
    for (;;) {
      while (!frames.length) {
        await new Promise((resolve, reject) => {
          arrived = resolve;
          setTimeout(() => reject(new Error(`no answer to ${sent.slice(0, 200)}`)), 10_000).unref();
        });
      }
      const text = frames.shift();
      const kinds = kindsOf({ channel: "socket", by: "hub", text });
      assert.equal(kinds.length, 1, `not documented: ${text}`);
      if (!hasAnswer || kinds[0].name !== "message") return [kinds[0].name, text];
    }
  };
}
