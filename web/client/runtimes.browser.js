// The browsers' part of runtimes.js: they let a page go, whatever its sockets wait for.

export function openSocket(WebSocket, url, protocols) {
  return { socket: protocols ? new WebSocket(url, protocols) : new WebSocket(url) };
}
