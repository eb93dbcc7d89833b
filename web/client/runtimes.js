// Opening and ending a socket: what every runtime can do, and no standard describes.

// How long the other end may take to answer a closing handshake.
const CLOSE_TIMEOUT = 1_000;

/**
 * Opens a socket, and calls `lost({ code, reason, cause })` when it is. Returns it with a function that ends it; one whose
 * peer does not answer is cut, as that would not answer a closing handshake either.
 */
export function openSocket(WebSocket, url, protocols, timers, lost) {
  const { socket, cut } = open(WebSocket, url, protocols);
  let isEnded = false;
  let cause; // Comes in an error event, before the close event that tells the rest.
  socket.addEventListener("error", ({ error, message }) => {
    cause = error;
    // Node 22 leaves out the close event where a handshake fails.
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

/** The socket, and a way to cut it if the runtime has one. Without, a process lives on until the other end has answered. */
function open(WebSocket, url, protocols = []) {
  // Node's own comes from undici, whose dispatcher is there once it has been looked at. Tests like to replace the global one.
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
  // Until it is connected, it has none.
  return { socket, cut: () => socket[resource] >= 0 && Deno[Deno.internal]?.core?.tryClose?.(socket[resource]) };
}
