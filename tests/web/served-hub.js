// A FakeHub at a real address, for clients in other programs.

import { WebSocket } from "ws";
import { FakeHub } from "../../web/client/testing.js";
import { startRelay } from "./relay.js";
import { Sockets } from "./sockets.js";

export async function serveHub() {
  const relay = await startRelay();
  const sockets = await Sockets.connect(relay.url, WebSocket);
  const hub = new FakeHub({ transport: await sockets.listen() });
  const stop = hub.stop.bind(hub);
  hub.stop = async () => {
    await stop();
    sockets.close();
    await relay.stop();
  };
  return hub;
}
