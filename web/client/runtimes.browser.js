// The browsers' part of runtimes.js: they let a page go, whatever its sockets wait for.

export function openSocket(WebSocket, url, protocols) {
  const socket = new WebSocket(url, protocols);
  return { socket, end: () => socket.close() };
}
