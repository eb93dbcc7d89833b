// Opening and ending a socket: what every runtime can do, and no standard describes.

// How long the other end may take to answer a closing handshake.
const CLOSE_TIMEOUT = 1_000;

/**
 * Opens a socket. Returns it with a function that ends it; one whose peer does not answer is cut, as that would not answer
 * a closing handshake either.
 */
export function openSocket(WebSocket, url, protocols, timers) {
  const { socket, cut } = open(WebSocket, url, protocols);
  socket.addEventListener("close", () => timers.clear("cut"));
  const end = (isSilent) => {
    if (isSilent) cut?.();
    socket.close();
    if (cut && socket.readyState !== 3) timers.set("cut", CLOSE_TIMEOUT, cut);
  };
  return { socket, end };
}

/** The socket, and a way to cut it if the runtime has one. Without, a process lives on until the other end has answered. */
function open(WebSocket, url, protocols = []) {
  const isNative = WebSocket === globalThis.WebSocket;
  // Node puts it there when its WebSocket is first looked at.
  const undici = isNative && globalThis[Symbol.for("undici.globalDispatcher.1")];
  if (undici) {
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
  if (!isNative || !Deno) return { socket };
  const resource = Object.getOwnPropertySymbols(socket).find((key) => key.description === "[[rid]]");
  // Until it is connected, it has none.
  return { socket, cut: () => socket[resource] >= 0 && Deno[Deno.internal]?.core?.tryClose?.(socket[resource]) };
}
