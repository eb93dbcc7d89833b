// One socket: what is written to it and read from it, whether the hub still answers, and how it ends.

import { explain, HubError } from "./errors.js";
import { REFUSALS_PASS } from "./limits.js";
import { openSocket } from "./runtimes.js";
import { createTimers } from "./timers.js";

/** Once it has ended, it ignores its socket. */
export class Link {
  ended = false;
  socket = null;
  dial = new AbortController(); // Aborted if the link is given up before it has opened.
  presented = false; // With a token.
  isAdmitted = false; // The handshake has succeeded.
  // When its token expires: by its own claim, and by the stopwatch.
  expires = Infinity;
  endsAt = Infinity;
  heardAt = -Infinity;
  rtt = null; // From the last ping to the next frame.
  asked = { history: 0, subscriptions: 0 }; // Requests without an answer.
  unknown = 0; // How many of them were answered by `unknown_action`.
  #options;
  #on;
  #endSocket;
  #pingedAt;
  #pongAt; // When the answer is due.
  #refusals = 0; // Recent ones, by the gateway.
  #refusedAt = -Infinity;

  /** `on` has `heard(data)`, `wrote(data)` and `lost({ code, reason, cause })`. */
  constructor(number, options, on) {
    this.number = number;
    this.timers = createTimers(options.clock);
    this.#options = options;
    this.#on = on;
  }

  open(url, protocols) {
    this.expect("connectTimeout");
    try {
      const { socket, end } = openSocket(this.#options.WebSocket, url, protocols, this.timers, this.#on.lost);
      this.socket = socket;
      this.#endSocket = end;
    } catch (error) {
      const [text, cause] = explain(error);
      throw new HubError("cannot_connect", `cannot connect to this address: ${text}`, { cause });
    }
    this.socket.binaryType = "arraybuffer";
    const on = (type, listener) => this.socket.addEventListener(type, (event) => this.ended || listener(event));
    on("open", () => {
      this.isAdmitted = true;
      // A gateway may accept connections while the hub behind it is being deployed: only the hub's answer counts.
      this.expect("connectTimeout");
      this.ping();
    });
    on("message", ({ data }) => {
      if (this.timers.has("pong")) this.rtt = this.#options.clock.uptime() - this.#pingedAt;
      this.timers.clear("pong", "doubt");
      this.#on.heard(data);
    });
  }

  write(data) {
    this.#pingInTime();
    this.socket.send(data);
    this.#on.wrote(data);
  }

  /** Writes a request: if no answer follows, the connection may be dead. */
  ask(data, about) {
    if (about) this.asked[about]++;
    this.doubt();
    this.write(data);
  }

  doubt() {
    if (!this.timers.has("doubt")) this.timers.set("doubt", this.#options.pongTimeout, () => this.ping());
  }

  ping(within = this.#options.pongTimeout) {
    if (this.socket?.readyState !== 1) return;
    const now = this.#options.clock.uptime();
    const isPending = this.timers.has("pong");
    this.#pingInTime();
    if (isPending && this.#pongAt <= now + within) return;
    this.#pongAt = now + within;
    this.timers.set("pong", within, () => this.#on.lost({ reason: "the hub does not answer" }));
    if (isPending) return;
    this.#pingedAt = now;
    this.write('{"action":"ping"}');
  }

  #pingInTime() {
    this.timers.set("ping", this.#options.pingInterval, () => this.ping());
  }

  /** The gateway has refused a frame, perhaps a ping. After a while, the ping and what was written are `repeat`ed. */
  pingLater(repeat) {
    if (this.timers.has("again")) return;
    const now = this.#options.clock.uptime();
    this.#refusals = now - this.#refusedAt < REFUSALS_PASS ? Math.min(this.#refusals + 1, 5) : 0;
    this.#refusedAt = now;
    this.timers.set("again", 250 * 2 ** this.#refusals * (1 + Math.random()), () => {
      this.ping();
      repeat();
    });
  }

  /** If the hub `isSilent`, it would not answer a closing handshake either. */
  end(isSilent) {
    this.ended = true;
    this.timers.clearAll();
    this.dial?.abort();
    this.#endSocket?.(isSilent);
  }

  /** Each step on the way to a connection may take as long as its option says. */
  expect(option) {
    this.timers.set("step", this.#options[option], () => this.#on.lost({ reason: `no answer in time (${option})` }));
  }
}
