// runtimes.js for browsers: their sockets do not keep a page open, and give no reason for a failure.

export function openSocket(WebSocket, url, protocols, timers, lost) {
  const socket = new WebSocket(url, protocols);
  socket.addEventListener("close", lost);
  return { socket, end: () => socket.close() };
}

export function mayBeRefusal() {
  return globalThis.navigator?.onLine !== false;
}
