// Compiled, never run: the types of the client fit how it is used, and refuse how it is not.

import { HubClient, HubError, type Receipt } from "../../web/hub-client.js";

const hub = new HubClient("wss://hub.example/live", { session: "alice", token: async () => "t", sendTimeout: 1_000 });
new HubClient(new URL("wss://hub.example/live"), { session: "alice", token: () => null, WebSocket });

hub.addEventListener("message", ({ id, from, message, sentAt }) => {
  const sender: string | null = from;
  console.log(id.length, sender?.length, message.anything, sentAt.toISOString());
});
hub.addEventListener("reconnecting", ({ attempt, delay, reason }) => attempt + delay + reason.length);
hub.addEventListener("error", ({ error }) => error.code === "gateway");
hub.addEventListener("frame", ({ direction, connection, data }) => direction === "in" && connection + data.length);
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
// @ts-expect-error There is no such event.
hub.addEventListener("mesage", () => {});
// @ts-expect-error There is no such code.
new HubError("late", "text").code === "late";
// @ts-expect-error The state only reads.
hub.state = "open";
