// One socket: what is written and heard on it, whether the other end still answers, and how it ends.

import { openSocket } from "./runtimes.js";
import { Timers } from "./timers.js";

// How long the other end may take to answer a closing handshake.
const CLOSE_TIMEOUT = 1_000;

/** Once it has ended, whatever its socket still says is ignored. */
export class Link {
  ended = false;
  timers;
  dial = new AbortController(); // Aborted if the link is given up before it has opened.
  presented = false; // A token is presented, and neither accepted nor refused yet.
  // When its token ends: as it says itself, and by this machine's clock.
  expires = Infinity;
  endsAt = Infinity;
  // When it is to be replaced, for its age and for its token.
  replaceAt = Infinity;
  renewAt = Infinity;
  overlapped = false;
  heardAt = -Infinity; // By the wall clock.
  throttled = 0; // Pings in a row that the gateway refused.
  #socket = null;
  #cut;
  #options;
  #clock;
  #on;
  #pingedAt = null;
  #pongDue;

  /** `on` has the functions `admitted()`, `heard(data, rtt)`, `wrote(data)` and `lost({ code, reason, cause })`. */
  constructor(number, options, on) {
    this.number = number;
    this.#options = options;
    this.#clock = options.clock;
    this.#on = on;
    this.timers = new Timers(options.clock);
    this.dialedAt = this.#clock.uptime();
  }

  open(url, protocols) {
    this.dialedAt = this.#clock.uptime();
    this.#expectAnswer();
    const { socket, cut } = openSocket(this.#options.WebSocket, url, protocols);
    this.#socket = socket;
    this.#cut = cut;
    socket.binaryType = "arraybuffer";
    const listen = (type, listener) => socket.addEventListener(type, (event) => this.ended || listener(event));
    let cause; // Comes in an error event, before the close event that tells the rest.
    listen("error", (event) => {
      cause = event.error;
      // Node 22 leaves out the close event where a handshake fails.
      this.timers.set("fault", 0, () => this.#on.lost({ code: 1006, reason: event.message, cause }));
    });
    listen("open", () => {
      // A gateway may let us in while the hub behind it is still being set up: only the hub's answer counts.
      this.presented = false;
      this.#expectAnswer();
      this.#on.admitted();
      this.ping();
    });
    listen("message", ({ data }) => this.#received(data));
    listen("close", ({ code, reason }) => this.#on.lost({ code, reason, cause }));
    socket.addEventListener("close", () => this.timers.clear("cut"));
  }

  get isOpening() {
    return this.#socket?.readyState === 0;
  }

  get buffered() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  write(data) {
    this.timers.set("ping", this.#options.pingInterval, () => this.ping());
    this.#socket.send(data);
    this.#on.wrote(data);
  }

  /** A frame that the other end has to answer: silence after it is the first sign of a dead peer. */
  ask(data) {
    if (!this.timers.has("doubt")) this.timers.set("doubt", this.#options.pongTimeout, () => this.ping());
    this.write(data);
  }

  ping(within = this.#options.pongTimeout) {
    if (this.ended || this.#socket?.readyState !== 1) return;
    const now = this.#clock.uptime();
    const pending = this.timers.has("pong");
    if (pending && this.#pongDue <= now + within) return;
    this.#pongDue = now + within;
    this.timers.set("pong", within, () => this.#on.lost({ reason: "the other end is silent" }));
    if (pending) return;
    this.#pingedAt = now;
    this.write('{"action":"ping"}');
  }

  /** The gateway has refused something, perhaps a ping: it is sent once more, on the same socket. */
  pingAgain() {
    if (this.timers.has("again")) return;
    const delay = 250 * 2 ** Math.min(this.throttled++, 5) * (1 + Math.random());
    this.timers.set("again", delay, () => this.ping());
  }

  /** The hub has answered: the link is up. */
  up() {
    this.dial = null;
    this.timers.clear("connect");
  }

  /** `cut` is for a peer that does not answer: it would not answer a closing handshake either. */
  end({ cut = false } = {}) {
    if (this.ended) return;
    this.ended = true;
    this.timers.clearAll();
    this.dial?.abort();
    const socket = this.#socket;
    if (!socket || socket.readyState === 3) return;
    if (cut) this.#cut?.();
    socket.close();
    if (this.#cut && socket.readyState !== 3) this.timers.set("cut", CLOSE_TIMEOUT, this.#cut);
  }

  #expectAnswer() {
    const { connectTimeout } = this.#options;
    this.timers.set("connect", connectTimeout, () => this.#on.lost({ reason: "no answer in time" }));
  }

  #received(data) {
    const asked = this.timers.has("pong") ? this.#pingedAt : null;
    this.timers.clear("pong");
    this.timers.clear("doubt");
    this.heardAt = this.#clock.now();
    this.#on.heard(data, asked === null ? null : this.#clock.uptime() - asked);
  }
}
