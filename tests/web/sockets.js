// Real sockets between the client under test and a FakeHub beside it: the relay passes frames on to the hub.

const { setImmediate, MessageChannel } = globalThis;

const waiting = [];
let channel;

/** Lets all pending tasks of this runtime run, including its network. */
export const turn = () =>
  new Promise((resolve) => {
    if (setImmediate) return setImmediate(resolve);
    // Timers of browsers wait for 4 ms.
    channel ??= new MessageChannel();
    channel.port1.onmessage ??= () => waiting.shift()();
    waiting.push(resolve);
    channel.port2.postMessage(null);
  });

const toText = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const toBytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

export class Sockets {
  /** The WebSocket to use. It counts frames, to know when none is under way. */
  WebSocket;
  #control;
  #tracked = new Map(); // What is known of each socket, by its number.
  #transports = new Map();
  #connections = new Map();
  #calls = new Map();
  #count = 0;

  static async connect(url, WebSocket) {
    const control = new WebSocket(url);
    await new Promise((resolve, reject) => {
      control.addEventListener("open", resolve);
      control.addEventListener("error", () => reject(new Error("the relay cannot be reached")));
    });
    return new Sockets(control, WebSocket);
  }

  constructor(control, WebSocket) {
    this.#control = control;
    control.addEventListener("message", ({ data }) => this.#told(JSON.parse(data)));
    this.WebSocket = trackedClass(WebSocket, this.#tracked, () => ++this.#count);
  }

  close() {
    this.#control.close();
  }

  /** A transport for one hub, which listens on a port of its own. */
  async listen() {
    const hub = ++this.#count;
    const port = await this.#call({ hub, command: "create" });
    const transport = new Transport(`ws://127.0.0.1:${port}/live`, this.WebSocket, (command, rest) =>
      this.#call({ hub, command, ...rest }),
    );
    this.#transports.set(hub, transport);
    return transport;
  }

  /** Resolves when every frame has arrived, and every socket is open or closed. */
  async quiet() {
    const end = Date.now() + 10_000;
    for (let calm = 0; calm < 3; calm++) {
      await turn();
      for (const [number, state] of this.#tracked) if (isOver(state)) this.#tracked.delete(number);
      const busy = this.#calls.size ? { calls: this.#calls.size } : [...this.#tracked.values()].find(isBusy);
      if (!busy) continue;
      calm = -1;
      if (Date.now() < end) continue;
      const { socket, transport, ...counts } = busy;
      throw new Error(`the network is never quiet: ${JSON.stringify({ ...counts, readyState: socket?.readyState })}`);
    }
  }

  /** Forgets the sockets of earlier tests. */
  forget() {
    this.#tracked.clear();
  }

  #call(message) {
    const call = ++this.#count;
    this.#control.send(JSON.stringify({ ...message, call }));
    return new Promise((resolve) => this.#calls.set(call, resolve));
  }

  #told({ result, value, id, event, ...rest }) {
    if (result !== undefined) {
      this.#calls.get(result)(value);
      this.#calls.delete(result);
    } else if (event === "handshake") {
      this.#handshake(id, rest);
    } else {
      this.#connections.get(id)?.[event](rest);
    }
  }

  #handshake(id, { hub, url, protocols }) {
    const [, number] = url.match(/[?&]socket=(\d+)$/) ?? []; // None, if it comes from another program.
    const state = this.#tracked.get(Number(number)) ?? {};
    const transport = (state.transport = this.#transports.get(hub));
    const tell = (command, rest) => this.#control.send(JSON.stringify({ id, command, ...rest }));
    const answer = transport.answer({ url: url.replace(/[?&]socket=\d+$/, ""), protocols });
    if (!answer) {
      state.hangs = true;
      return;
    }
    if (!answer.connect) {
      tell("refuse", { status: answer.status });
      return;
    }
    tell("accept", { protocol: answer.protocol });
    state.joined = true;
    let peer;
    const leave = () => {
      if (state.left) return;
      state.left = true;
      this.#connections.delete(id);
      peer.closed();
    };
    this.#connections.set(id, {
      frame: ({ data, binary }) => {
        state.heard++;
        peer.received(binary === undefined ? data : toBytes(binary));
      },
      closed: leave,
    });
    peer = answer.connect({
      send: (data) => {
        if (state.left || state.closing) return;
        state.said++;
        tell("frame", typeof data === "string" ? { data } : { binary: toText(data) });
      },
      close: (code, reason) => {
        state.closing = true;
        tell("close", { code, reason });
      },
      terminate: () => {
        tell("terminate");
        leave();
      },
      pause: () => {
        state.paused = true;
        tell("pause");
      },
      resume: () => {
        state.paused = false;
        tell("resume");
      },
    });
  }
}

class Transport {
  #command;
  #silent = false;

  constructor(url, WebSocket, command) {
    this.url = url;
    this.WebSocket = WebSocket;
    this.#command = command;
  }

  get silent() {
    return this.#silent;
  }

  set silent(silent) {
    this.#silent = silent;
    this.#command("silence", { silent });
  }

  serve(answer) {
    this.answer = answer;
  }

  stop() {
    return this.#command("stop");
  }

  start() {
    return this.#command("start");
  }
}

function trackedClass(WebSocket, tracked, nextNumber) {
  return class extends WebSocket {
    #state;

    constructor(url, ...rest) {
      const number = nextNumber();
      super(`${url}${String(url).includes("?") ? "&" : "?"}socket=${number}`, ...rest);
      const state = { socket: this, sent: 0, heard: 0, said: 0, got: 0 };
      this.#state = state;
      tracked.set(number, state);
      this.addEventListener("message", () => state.got++);
      // Node 22 has no close event after a handshake that fails.
      this.addEventListener("error", () => (state.failed = !state.joined));
      this.addEventListener("close", () => {
        state.closed = true;
        state.socket = { readyState: 3 };
      });
    }

    send(data) {
      if (this.readyState === 1) this.#state.sent++;
      super.send(data);
    }
  };
}

/** Closed at both ends. */
function isOver({ socket, joined, left }) {
  return socket.readyState === 3 && !(joined && !left);
}

function isBusy(state) {
  const { readyState } = state.socket;
  if (state.paused) return false;
  if (state.failed) return false;
  if (readyState === 3) return true;
  if (readyState === 0) return !state.hangs;
  if (readyState === 2) return !state.transport?.silent;
  if (state.left || state.closing) return true;
  return state.sent > state.heard || state.said > state.got;
}
