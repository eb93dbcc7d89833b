// WebSockets in memory, which behave as a browser's.

import { bytesOf, isBinary, toBytes } from "./bytes.js";
import { later } from "./tasks.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

// What a subprotocol may be made of: a token, as RFC 9110 defines it for HTTP.
const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

const TERMINATE = Symbol("terminate");

/** Carries connections to a hub in memory. A transport over real sockets has the same members. */
export class Memory {
  static #count = 0;

  silent = false;
  /** A function for each socket, which cuts it. */
  cuts = new Set();
  #answer;
  #listening = true;

  constructor({ terminate }) {
    // No name under .invalid exists, so a client with another WebSocket reaches nothing.
    this.url = `wss://hub${++Memory.#count}.invalid/live`;
    const network = this;
    this.WebSocket = class WebSocket extends MemorySocket {
      constructor(url, protocols = []) {
        super(url, protocols, network);
        if (terminate) this.terminate = () => this[TERMINATE]();
      }
    };
  }

  serve(answer) {
    this.#answer = answer;
  }

  async stop() {
    this.#listening = false;
    for (const cut of this.cuts) cut();
  }

  async start() {
    this.#listening = true;
  }

  handshake({ host, pathname, search }, protocols) {
    const reached = this.#listening && host === new URL(this.url).host;
    return reached ? this.#answer({ url: pathname + search, protocols }) : { status: 0 };
  }
}

class MemorySocket extends EventTarget {
  binaryType = "blob";
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  #network;
  #url;
  #protocol = "";
  #readyState = CONNECTING;
  #bufferedAmount = 0;
  #hub = null; // The functions that the hub gave for this connection, while it lasts.
  #unread = null; // Frames that wait while the hub does not read.
  #cut = () => this.#ended(1006);

  constructor(url, protocols, network) {
    super();
    this.#url = new URL(url);
    const offered = [protocols].flat();
    const valid =
      /^wss?:$/.test(this.#url.protocol) && !this.#url.hash && offered.every((name) => HTTP_TOKEN.test(name));
    if (!valid || new Set(offered).size < offered.length) {
      throw new DOMException("the address or a subprotocol is invalid", "SyntaxError");
    }
    this.#network = network;
    later(() => this.#dial(offered));
  }

  get url() {
    return this.#url.href;
  }

  get protocol() {
    return this.#protocol;
  }

  get extensions() {
    return "";
  }

  get readyState() {
    return this.#readyState;
  }

  get bufferedAmount() {
    return this.#bufferedAmount;
  }

  send(data) {
    if (this.#readyState === CONNECTING) throw new DOMException("the socket is not open yet", "InvalidStateError");
    const frame = isBinary(data) ? bytesOf(data).slice() : String(data);
    const size = isBinary(data) ? frame.length : toBytes(frame).length;
    this.#bufferedAmount += size;
    if (this.#readyState !== OPEN) return;
    this.#toHub(() => {
      this.#bufferedAmount -= size;
      this.#hub?.received(frame);
    });
  }

  close(code, reason = "") {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("the code must be 1000, or from 3000 to 4999", "InvalidAccessError");
    }
    if (toBytes(reason).length > 123) {
      throw new DOMException("the reason has more than 123 bytes", "SyntaxError");
    }
    const before = this.#readyState;
    if (before === CLOSING || before === CLOSED) return;
    this.#readyState = CLOSING;
    if (before === CONNECTING) {
      later(() => this.#ended(1006, "", { failed: true }));
      return;
    }
    this.#toHub(() => {
      if (this.#network.silent) return;
      this.#leaveHub();
      later(() => this.#ended(code ?? 1005, reason));
    });
  }

  [TERMINATE]() {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CLOSING;
    later(this.#cut);
  }

  #dial(protocols) {
    if (this.#readyState !== CONNECTING) return;
    const answer = this.#network.handshake(this.#url, protocols);
    this.#network.cuts.add(this.#cut);
    if (!answer) return;
    if (!answer.connect) {
      later(this.#cut);
      return;
    }
    this.#hub = answer.connect({
      send: (data) => this.#hub && later(() => this.#received(data)),
      close: (code, reason) => this.#hub && later(() => this.#closedByHub(code, reason)),
      terminate: () => {
        this.#leaveHub();
        later(this.#cut);
      },
      pause: () => (this.#unread ??= []),
      resume: () => {
        const unread = this.#unread ?? [];
        this.#unread = null;
        unread.forEach(later);
      },
    });
    later(() => this.#opened(answer.protocol));
  }

  #opened(protocol) {
    if (this.#readyState !== CONNECTING) return;
    this.#readyState = OPEN;
    this.#protocol = protocol;
    this.#emit("open");
  }

  #received(data) {
    if (this.#readyState !== OPEN) return;
    if (!isBinary(data)) this.#emit("message", { data });
    else if (this.binaryType === "blob") this.#emit("message", { data: new Blob([data]) });
    else this.#emit("message", { data: bytesOf(data).slice().buffer });
  }

  #closedByHub(code = 1005, reason = "") {
    if (this.#readyState === OPEN) this.#readyState = CLOSING;
    this.#leaveHub();
    later(() => this.#ended(code, reason));
  }

  #ended(code, reason = "", { failed = this.#readyState === CONNECTING } = {}) {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CLOSED;
    this.#network.cuts.delete(this.#cut);
    this.#leaveHub();
    if (failed) this.#emit("error");
    this.#emit("close", { code, reason, wasClean: code !== 1006 });
  }

  #leaveHub() {
    const hub = this.#hub;
    this.#hub = null;
    hub?.closed();
  }

  /** Frames reach the hub in the order in which they were sent. */
  #toHub(run) {
    if (this.#unread) this.#unread.push(run);
    else later(run);
  }

  #emit(type, fields) {
    const event = Object.assign(new Event(type), fields);
    this[`on${type}`]?.(event);
    this.dispatchEvent(event);
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
  MemorySocket[name] = MemorySocket.prototype[name] = value;
}
