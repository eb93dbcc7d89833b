// The browsers' part of runtimes.js: they let a page go, whatever its sockets wait for, and tell nothing of a failure.

export function openSocket(WebSocket, url, protocols, timers, lost) {
  const socket = new WebSocket(url, protocols);
  socket.addEventListener("close", lost);
  return { socket, end: () => socket.close() };
}

export function mayBeRefusal() {
  return globalThis.navigator?.onLine !== false;
}
