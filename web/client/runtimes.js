// Cutting a socket: what every runtime can do, and no standard describes.

/**
 * Opens a socket. Returns it with a function that cuts it, where the runtime has a way. Without one, a process lives on
 * until the other end answers the closing handshake.
 */
export function openSocket(WebSocket, url, protocols = []) {
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
