// A runtime that has only what Safari 15 and Hermes (React Native) have in common, for a script to run in.

import { createContext, runInContext } from "node:vm";

/** Runs in the context before anything else. A fresh context has what ECMAScript defines, and nothing of browsers or Node. */
const age = () => {
  for (const name of [
    "AggregateError",
    "AsyncDisposableStack",
    "DisposableStack",
    "FinalizationRegistry",
    "Intl",
    "Iterator",
    "SharedArrayBuffer",
    "SuppressedError",
    "WeakRef",
    "WebAssembly",
  ])
    delete globalThis[name];
  const newer = {
    Array: ["fromAsync"],
    "Array.prototype": ["at", "findLast", "findLastIndex", "toReversed", "toSorted", "toSpliced", "with"],
    "String.prototype": ["at", "isWellFormed", "toWellFormed"],
    "Uint8Array.prototype": ["setFromBase64", "setFromHex", "toBase64", "toHex"],
    "Set.prototype": ["difference", "intersection", "isSubsetOf", "symmetricDifference", "union"],
    Uint8Array: ["fromBase64", "fromHex"],
    Object: ["groupBy", "hasOwn"],
    Map: ["groupBy"],
    Promise: ["any", "try", "withResolvers"],
  };
  for (const [path, names] of Object.entries(newer)) {
    const owner = path.split(".").reduce((value, name) => value[name], globalThis);
    for (const name of names) delete owner[name];
  }
  const typed = Object.getPrototypeOf(Uint8Array.prototype);
  for (const name of ["at", "findLast", "findLastIndex", "toReversed", "toSorted", "with"]) delete typed[name];

  // These symbols cannot be deleted, so another Symbol hides them.
  const NativeSymbol = Symbol;
  globalThis.Symbol = function (description) {
    return NativeSymbol(description);
  };
  for (const name of Object.getOwnPropertyNames(NativeSymbol)) {
    if (["length", "name", "prototype", "asyncIterator", "asyncDispose", "dispose"].includes(name)) continue;
    globalThis.Symbol[name] = NativeSymbol[name];
  }

  // Errors have no cause.
  const NativeError = Error;
  globalThis.Error = class Error extends NativeError {
    constructor(message) {
      super(message);
    }
  };
  globalThis.Error.captureStackTrace = undefined;

  const Target = class {
    listeners = [];
    addEventListener(type, listener) {
      this.listeners.push({ type, listener });
    }
    removeEventListener(type, listener) {
      this.listeners = this.listeners.filter((one) => one.type !== type || one.listener !== listener);
    }
    tell(event) {
      this[`on${event.type}`]?.(event);
      for (const { type, listener } of this.listeners) if (type === event.type) listener.call(this, event);
    }
  };

  // Signals abort, without a reason.
  globalThis.AbortController = class {
    signal = Object.assign(new Target(), { aborted: false, onabort: null });
    abort() {
      if (this.signal.aborted) return;
      this.signal.aborted = true;
      this.signal.tell({ type: "abort" });
    }
  };

  // A hub behind each socket, with one connection.
  globalThis.handshakes = [];
  globalThis.WebSocket = class extends Target {
    static OPEN = 1;
    readyState = 0;
    protocol = "";
    binaryType = "blob";
    constructor(url, protocols) {
      super();
      handshakes.push({ url, protocols });
      this.session = decodeURIComponent(/[?&]session_id=([^&]*)/.exec(url)?.[1] ?? "");
      setTimeout(() => {
        this.readyState = 1;
        if (protocols?.length) this.protocol = protocols[0];
        this.tell({ type: "open" });
      }, 0);
    }
    send(data) {
      const { action, id, sessions, message } = JSON.parse(data);
      if (action === "ping") return this.say({ type: "pong" });
      if (action !== "sendMessage")
        return this.say({ type: "error", code: "unknown_action", message: "no such action" });
      const counts = sessions.map((session) => ({
        session,
        delivered: +(session === this.session),
        gone: 0,
        failed: 0,
      }));
      const delivered = counts.reduce((sum, count) => sum + count.delivered, 0);
      if (delivered) this.say({ type: "message", id, from: this.session, message, sent_at: new Date().toISOString() });
      if (id) this.say({ type: "receipt", id, delivered, gone: 0, failed: 0, sessions: counts });
    }
    say(frame) {
      setTimeout(() => this.tell({ type: "message", data: JSON.stringify(frame) }), 0);
    }
    close(code = 1005, reason = "") {
      if (this.readyState > 1) return;
      this.readyState = 3;
      setTimeout(() => this.tell({ type: "close", code, reason, wasClean: true }), 0);
    }
  };
};

/** Runs the script, whose last value is a promise of JSON, and returns the parsed value. */
export async function runInOldRuntime(script, more = {}) {
  const context = createContext({ setTimeout, clearTimeout, ...more });
  context.window = context.self = context;
  runInContext(`(${age})()`, context);
  return JSON.parse(await runInContext(script, context));
}
