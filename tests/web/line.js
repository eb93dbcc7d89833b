// A line between a client and the hub at $HUB_URL, which fails as networks do.

import { once } from "node:events";
import { createServer, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export class Line {
  isClosed = false;
  risk = 0; // The chance that an answer about the history ends in the middle, and that a delivery brings an old one with it.
  cuts = 0;
  #deliveries = [];
  #pairs = new Set();
  #hub = new URL(process.env.HUB_URL);
  #server = createServer((near) => this.#join(near));

  static async open(t) {
    const line = new Line();
    await once(line.#server.listen(0, "127.0.0.1"), "listening");
    line.url = Object.assign(new URL(line.#hub), { port: line.#server.address().port }).href;
    t.after(() => {
      line.#server.close();
      line.cut();
    });
    return line;
  }

  #join(near) {
    if (this.isClosed) return near.destroy();
    const far = connect(this.#hub.port, this.#hub.hostname);
    const pair = [near, far];
    this.#pairs.add(pair);
    const leave = () => {
      this.#pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on("error", () => {}).on("close", leave);
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => {
      if (data.includes('"type":"history"') && Math.random() < this.risk) {
        this.cuts++;
        far.pause();
        return near.write(data.subarray(0, data.length * Math.random()), leave);
      }
      near.write(data);
      if (!isDelivery(data)) return;
      // A fan-out posts again if it does not know that a message arrived, and to connections made meanwhile.
      if (Math.random() < this.risk) near.write(this.#deliveries[0] ?? data);
      this.#deliveries.push(data);
      if (this.#deliveries.length > 5) this.#deliveries.shift();
    });
  }

  cut() {
    this.cuts += this.#pairs.size;
    for (const [near] of this.#pairs) near.destroy();
  }

  /** Nothing passes for a while. */
  async block(ms) {
    this.isClosed = true;
    this.cut();
    await sleep(ms);
    this.isClosed = false;
  }

  /** Nothing passes from the hub for a while. */
  async stall(ms) {
    const stalled = [...this.#pairs].map(([, far]) => far.pause());
    await sleep(ms);
    for (const far of stalled) far.resume();
  }
}

/** Whether these are the bytes of exactly one frame, a delivery. */
function isDelivery(data) {
  if (data[0] !== 0x81 || !data.includes('"type":"message"')) return false;
  return data.length === (data[1] < 126 ? 2 + data[1] : 4 + data.readUInt16BE(2));
}
