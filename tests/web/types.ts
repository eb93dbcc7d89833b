// Compiled, never run: the types of /testing fit how it is used with the client, and refuse how it is not.
// Those of the client itself are compiled as its users do it, in package.test.js.

import { connect, type HubClient, type HubClock } from "../../web/client/hub.js";
import { Clock, FakeHub, jwt, type FakeHubLink, type FakeHubTransport } from "../../web/client/testing.js";

const clock = new Clock();
new Clock({ time: new Date() });
const hub = new FakeHub({ clock, terminate: true, history: true });
new FakeHub({ subscriptions: false });
const client: HubClient = connect({ url: hub.url, session: "alice", WebSocket: hub.WebSocket, clock });

hub.auth = true;
hub.refuse = 403;
hub.intercept = (link: FakeHubLink, { action, sessions }) => action === "sendMessage" && sessions.length > link.number;
const token: string = jwt({ sub: "alice", exp: clock.time / 1_000 + 60 });
await clock.advance(1_000);
clock.tick(clock.next + hub.pings + hub.attempts.filter((attempt) => attempt.token === token).length);
for (const { session, number } of hub.open) console.log(session?.length, number);
for (const { link, frame } of hub.frames) hub.answer(link, frame);
const { delivered } = hub.deliver(null, { id: "1", sessions: ["alice"], message: { text: "hello" }, store: false });
hub.drop();
hub.drop(2);
hub.loseAnswers();
hub.maySubscribe = ({ subscriptions }: FakeHubLink, session) => subscriptions.size < session.length;
hub.subscriptions = false;
for (const link of hub.open) link.forget();
hub.skip("alice");
hub.forget();
hub.reset();
hub.history = false;
console.log(delivered, hub.sent[0].message);
await hub.stop();
await client.close();

const system: HubClock = clock;
const transport: FakeHubTransport = {
  url: "ws://127.0.0.1:1/",
  WebSocket,
  silent: false,
  serve: (answer) =>
    answer({ url: "/", protocols: [] })
      ?.connect?.({} as never)
      .closed(),
  stop: async () => {},
  start: async () => {},
};
new FakeHub({ clock: system, transport });

// @ts-expect-error There is no such knob.
new FakeHub({ port: 0 });
// @ts-expect-error The time only passes by the clock's methods.
clock.time = 0;
