// Compiled, never run: the types of the client fit how it is used, and refuse how it is not.

import { HubClient, HubError, SignedOut, type Receipt } from "../../web/hub-client.js";

const hub = new HubClient("wss://hub.example/live", { session: "alice", token: async () => "t", sendTimeout: 1_000 });
new HubClient(new URL("wss://hub.example/live"), { session: "alice", token: () => null, WebSocket });
new HubClient("wss://hub.example/live", {
  session: "alice",
  tokenIn: "query",
  refusedRetry: 60_000,
  token: async ({ attempt, refused, signal }) => {
    if (attempt + refused > 9 || signal.aborted) throw new SignedOut("gone", { cause: attempt });
    return refused ? { token: "t", expiresAt: new Date() } : { token: "t", expiresAt: Date.now() };
  },
});
new HubClient("wss://hub.example/live", { session: "alice", token: () => ({ token: "t" }) });

hub.addEventListener("message", ({ id, from, message, sentAt }) => {
  const sender: string | null = from;
  console.log(id.length, sender?.length, message.anything, sentAt.toISOString());
});
hub.addEventListener("reconnecting", ({ attempt, delay, reason }) => attempt + delay + reason.length);
hub.addEventListener("error", ({ error }) => error.code === "gateway");
hub.addEventListener("frame", ({ direction, connection, data }) => direction === "in" && connection + data.length);
hub.addEventListener("refused", ({ refused, delay, reason }) => refused + delay + reason.length);
hub.addEventListener("failed", ({ error }) => error.code === "signed_out" && hub.state === "failed");
hub.addEventListener("close", () => hub.state === "closed", { once: true });

const receipt: Receipt = await hub.send(["bob"], { text: "hello" }, { id: "1", signal: AbortSignal.timeout(1_000) });
const names: string[] = receipt.sessions.map(
  ({ session, delivered, gone, failed }) => session + delivered + gone + failed,
);
await hub.send("bob", names).catch((error) => error instanceof HubError && error.code === "timeout");
hub.check();
hub.close();

// @ts-expect-error A session is required.
new HubClient("wss://hub.example/live", {});
// @ts-expect-error There is no such option.
new HubClient("wss://hub.example/live", { session: "alice", sendTimeOut: 1 });
// @ts-expect-error There is no such place.
new HubClient("wss://hub.example/live", { session: "alice", tokenIn: "header" });
// @ts-expect-error A string is no time.
new HubClient("wss://hub.example/live", { session: "alice", token: () => ({ token: "t", expiresAt: "soon" }) });
// @ts-expect-error There is no such event.
hub.addEventListener("mesage", () => {});
// @ts-expect-error There is no such code.
new HubError("late", "text").code === "late";
// @ts-expect-error The state only reads.
hub.state = "open";
