// Compiled in a folder that has the package installed, never run: its types fit how it is used, and refuse how it is not.

import {
  connect,
  HubClient,
  HubError,
  SignedOut,
  type Count,
  type History,
  type HistoryQuery,
  type HubClock,
  type HubErrorCode,
  type HubEvents,
  type HubOptions,
  type HubState,
  type HubStateName,
  type HubStats,
  type Message,
  type Missing,
  type Position,
  type Receipt,
  type SendOptions,
  type Session,
  type SessionEvents,
  type Token,
  type TokenRequest,
} from "@websocket-hub/client";

interface Chat {
  text: string;
}

// Options

const url = "wss://hub.example/live";
class Socket {
  constructor(
    readonly url: string,
    readonly protocols?: string[],
  ) {}
}
const clock: HubClock = { now: () => 0, uptime: () => 0, setTimeout: () => 1, clearTimeout: () => {} };
const all: Required<HubOptions> = {
  url: new URL(url),
  session: "alice",
  token: async ({ attempt, refused, signal }: TokenRequest): Promise<Token> => {
    if (attempt + refused > 9 || signal.aborted) throw new SignedOut("gone", { cause: attempt });
    return refused ? { token: "t", expiresAt: new Date() } : { token: "t", expiresAt: Date.now() };
  },
  tokenIn: "query",
  autoConnect: false,
  history: false,
  positions: { alice: { epoch: "e", offset: 1 }, bob: null, carol: undefined },
  ordered: true,
  WebSocket: Socket,
  clock,
  ttl: false,
  queueLimit: 1,
  bufferLimit: 1,
  maxFrameBytes: 1_024,
  pingInterval: false,
  pongTimeout: 1_000,
  connectTimeout: 1_000,
  tokenTimeout: 1_000,
  backoffBase: 100,
  backoffMax: 1_000,
  refusedRetry: 1_000,
  handoverAfter: false,
  handoverOverlap: 1_000,
  dedupeLimit: 1,
};
connect(all);
connect({ url: async () => url, token: () => null, pingInterval: 10_000, handoverAfter: 60_000 });
connect({ url: () => new URL(url), token: "t", tokenIn: "protocol", ttl: 1_000 });
connect({ url, session: "alice", token: null });
connect({ url, token: () => "t" });
connect({ url, token: () => ({ token: null, expiresAt: null }) });
new HubClient<Chat>({ url, session: "alice" });

// A client that knows what its messages are

const hub = connect<Chat>({ url, session: "alice" });
const same: HubClient<Chat> = hub;
const name: string | null = same.name;

const off: () => void = hub.on("message", ({ id, from, session, message, sentAt, receivedAt }) => {
  const sender: string | null = from;
  const text: string = message.text;
  console.log(id.length, sender?.length, session?.length, text, sentAt.getTime() - receivedAt.getTime());
  // @ts-expect-error A message is what its type says.
  message.txt;
});
off();
hub.on("state", (now: HubState, before: HubState) => {
  const names: HubStateName[] = [now.name, before.name];
  const numbers: number[] = [now.attempt, now.refused, now.since.getTime(), now.retryAt?.getTime() ?? 0];
  const [reason, error, ends]: [string | null, HubError | null, Date | null] = [now.reason, now.error, now.expiresAt];
  return [names, numbers, reason, error, ends];
});
hub.on("duplicate", ({ message }) => message.text);
hub.on("refused", ({ refused, retryAt, reason }) => refused + reason.length + (retryAt?.getTime() ?? 0));
hub.on("error", (error) => error.code === "gateway" && error.retryable);
hub.on("frame", ({ direction, connection, data }) => direction === "in" && connection + data.length);
const listener = (...[message]: HubEvents<Chat>["message"]): string => message.message.text;
hub.on("message", listener);
hub.on("state", ({ name, error }) => name === "failed" && error.code === "signed_out");
// @ts-expect-error Only what has ended has an error for sure.
hub.on("state", ({ name, error }) => name === "waiting" && error.code === "connect_failed");

// Without a type a message is anything.
connect({ url, session: "alice" }).on("message", ({ message }) => message.what.ever);

// Sends

const { signal } = new AbortController();
const options: SendOptions = { id: "1", ttl: false, signal, store: false };
const receipt: Receipt = await hub.send(["bob", "carol"], { text: "hello" }, options);
const counts: Count[] = [receipt, ...receipt.sessions];
const sum: number = counts.reduce((total, { delivered, gone, failed }) => total + delivered + gone + failed, 0);
const reached: string[] = receipt.sessions.filter(({ complete }) => complete !== false).map(({ session }) => session);
const whole: boolean = receipt.reachedAll;
const offset: number | undefined = receipt.sessions[0]?.offset;
await connect({ url, session: "x" }).send(new Set(["bob"]), [receipt.id, sum, reached, whole], { ttl: 1_000 });
// @ts-expect-error A message is what its type says.
await hub.send("bob", { txt: "hello" });
// @ts-expect-error A message is what its type says.
hub.post("bob", null);
const sent: boolean = hub.post("bob", { text: "hello" });
await hub.send("bob", { text: String(sent) }).catch((error: unknown) => {
  if (!(error instanceof HubError)) throw error;
  const code: HubErrorCode = error.code;
  return [code, error.id?.length, error.retryable, error.mayHaveArrived, error.cause, error.message];
});
new HubError("timeout", "late", { id: "1", cause: 1, retryable: true, mayHaveArrived: true });

// What was missed

const position: Position | undefined = hub.position();
connect({ url, session: "alice", positions: { alice: position, bob: hub.position("bob") } });
connect({ url, session: "alice", positions: null });
const explain = ({ session, from, to }: Missing) => `${session}: ${from?.offset ?? "?"} to ${to.offset} of ${to.epoch}`;
hub.on("lost", explain)();
hub.on("gap", (missing) => explain(missing).length)();
const query: HistoryQuery = { session: "alice", last: 20, ttl: 1_000, signal };
const newest: History<Chat> = await hub.history(query);
const next = await hub.history({ after: newest, limit: 1 });
const flags: (boolean | undefined)[] = [next.more, next.complete, next.messages[0]?.missed];
const at: Position | null | undefined = newest.messages[0]?.position;
export const missed = [position, offset, flags, at, newest.messages[0]?.message.text];
// @ts-expect-error A position has an epoch.
connect({ url, session: "alice", positions: { alice: { offset: 1 } } });
// @ts-expect-error There is no such question.
hub.history({ before: position });
// @ts-expect-error A position is a value.
hub.position().offset = 1;

// Messages as a loop, and one session's

for await (const { message } of hub.messages({ signal })) message.text;
const room: Session<Chat> = hub.session("room");
for await (const { message } of room.messages()) message.text;
room.on("message", ({ message }: Message<Chat>) => message.text)();
const roomReceipt: Receipt = await room.send({ text: room.name }, { id: "2" });
const posted: boolean = room.post({ text: String(roomReceipt.delivered) });
await room.ready({ signal });
await room.ready().catch(({ code, session }: HubError) => code === "too_many_subscriptions" && session?.length);
const refusal: [boolean, HubError | null] = [room.isReady, room.error];
const changed = (...[]: SessionEvents["change"]) => room.isReady;
for (const off of [room.on("change", changed), room.on("gap", explain), room.on("lost", explain)]) off();
room.on("error", ({ session }) => session?.length)();
const kept: Message<Chat>[] = (await room.history({ last: 20, signal })).messages;
connect({ url, session: "alice", positions: { room: room.position() } });
// @ts-expect-error It is this session's.
room.history({ session: "other" });

// The life of a client

await hub.ready({ signal });
hub.check();
hub.pause();
hub.resume();
const stats: HubStats = hub.stats;
const figures: (number | null)[] = [
  stats.rtt,
  stats.unanswered,
  stats.connections,
  stats.handovers,
  stats.resent,
  stats.duplicates,
  stats.dropped,
];
await hub.close({ drain: 1_000 });
await hub.close();
export { name, posted, figures, refusal, kept };

// What is refused

// @ts-expect-error An address is required.
connect({ session: "alice" });
// @ts-expect-error The address is an option.
connect(url, { session: "alice" });
// @ts-expect-error There is no such option.
connect({ url, session: "alice", sendTimeout: 1 });
// @ts-expect-error There is no such place.
connect({ url, session: "alice", tokenIn: "header" });
// @ts-expect-error A string is no time.
connect({ url, token: () => ({ token: "t", expiresAt: "soon" }) });
// @ts-expect-error A number is no token.
connect({ url, token: 42 });
// @ts-expect-error `true` is no time.
connect({ url, session: "alice", ttl: true });
// @ts-expect-error There is no such event.
hub.on("mesage", () => {});
// @ts-expect-error A listener has no such argument.
hub.on("state", (now: string) => now);
// @ts-expect-error There is no such code.
new HubError("late", "text");
// @ts-expect-error The state only reads.
hub.state = { name: "open" };
// @ts-expect-error There is no such state.
hub.state.name === "reconnecting";
// @ts-expect-error A session has no such event.
room.on("state", () => {});
// @ts-expect-error A send needs a message.
hub.send("bob");
// @ts-expect-error A session is a string.
hub.send([1], null);
// @ts-expect-error A message has another type.
connect<{ other: number }>({ url }).on("message", ({ message }: Message<Chat>) => message.text);
