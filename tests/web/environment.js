// Where the tests run, and over which sockets: real ones, or those of a FakeHub in memory.

import { Clock, FakeHub } from "../../web/client/testing.js";
import { Sockets } from "./sockets.js";

/** What the suite was started with: { relay, memory, ws, filter }. */
export let configuration;

let sockets;

export async function enter(configured) {
  configuration = configured;
  if (configuration.memory) return;
  // Node 20 has no WebSocket of its own.
  const WebSocket = configuration.ws ? (await import("ws")).WebSocket : globalThis.WebSocket;
  sockets = await Sockets.connect(configuration.relay, WebSocket);
  // Clients without the option WebSocket take it for the runtime's own.
  if (!configuration.ws) globalThis.WebSocket = sockets.WebSocket;
}

export function leave() {
  sockets?.close();
}

/** A hub, and the options with which a client connects to it. */
export async function startHub(options) {
  const transport = await sockets?.listen();
  const hub = new FakeHub({ ...options, ...(transport && { transport }) });
  const native = transport && !configuration.ws;
  return { hub, options: native ? {} : { WebSocket: hub.WebSocket } };
}

/** A clock that knows when the network is quiet. */
export function newClock() {
  const clock = new Clock();
  if (!sockets) return clock;
  clock.settle = async () => {
    do {
      clock.tick(0);
      await sockets.quiet();
    } while (clock.next <= 0);
  };
  return clock;
}

export function forgetSockets() {
  sockets?.forget();
}
