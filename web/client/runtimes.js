// Opening and ending a socket, where runtimes differ.

// How long the hub may take to answer a closing handshake.
const CLOSE_TIMEOUT = 1_000;

/**
 * Opens a socket, and calls `lost({ code, reason, cause })` when it is lost. Returns it with a function that ends it.
 * If the hub is silent, the socket is cut, since a closing handshake would not be answered.
 */
export function openSocket(WebSocket, url, protocols, timers, lost) {
  const { socket, cut } = open(WebSocket, url, protocols);
  let isEnded = false;
  let cause; // From the error event, which precedes the close event.
  socket.addEventListener("error", ({ error, message }) => {
    cause = error;
    // Node 22 emits no close event if a handshake fails.
    if (!isEnded) timers.set("fault", 0, () => lost({ code: 1006, reason: message, cause }));
  });
  socket.addEventListener("close", ({ code, reason }) => {
    timers.clear("cut");
    lost({ code, reason, cause });
  });
  const end = (isSilent) => {
    isEnded = true;
    if (isSilent) cut?.();
    socket.close();
    if (cut && socket.readyState !== 3) timers.set("cut", CLOSE_TIMEOUT, cut);
  };
  return { socket, end };
}

/** Browsers do not say why a handshake failed. The package ws names the status, and network errors have a code. */
export function mayBeRefusal(error) {
  if (globalThis.navigator?.onLine === false || typeof error?.code === "string") return false;
  return !/server response: (?!40[13]$)/.test(error?.message);
}

/** The socket, and a way to cut it if the runtime has one. Otherwise a process lives on until the hub has answered. */
function open(WebSocket, url, protocols = []) {
  // Node's own is from undici, whose dispatcher exists once `WebSocket` has been read. Tests may replace the global one.
  const isUndici = `${WebSocket}${Object.getPrototypeOf(WebSocket)}`.includes("WebSocketInit");
  const undici = globalThis[Symbol.for("undici.globalDispatcher.1")];
  if (isUndici && undici) {
    let raw;
    const dispatch = (request, handler) => {
      // Named differently in undici 7 and 8.
      for (const name of ["onUpgrade", "onRequestUpgrade"]) {
        const original = handler[name];
        if (!original) continue;
        handler[name] = (...args) => {
          raw = args[args.length - 1];
          return original.apply(handler, args);
        };
      }
      return undici.dispatch(request, handler);
    };
    const socket = new WebSocket(url, { protocols, dispatcher: { dispatch } });
    return { socket, cut: () => raw?.destroy() };
  }
  const socket = protocols.length ? new WebSocket(url, protocols) : new WebSocket(url);
  // The package ws, and Bun.
  if (socket.terminate) return { socket, cut: () => socket.terminate() };
  const { Deno } = globalThis;
  if (!Deno) return { socket };
  const resource = Object.getOwnPropertySymbols(socket).find((key) => key.description === "[[rid]]");
  // A socket has no resource until it is connected.
  return { socket, cut: () => socket[resource] >= 0 && Deno[Deno.internal]?.core?.tryClose?.(socket[resource]) };
}
