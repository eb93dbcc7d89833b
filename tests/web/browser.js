// What the browser tests need around them: a browser, the page on a web server, and a network that can fail.

import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer } from "node:net";
import { delimiter, extname, join } from "node:path";
import { chromium } from "playwright-core";

const WEB = join(import.meta.dirname, "../../web");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** The path of a browser, or undefined: $CHROMIUM, or the first known one on $PATH. */
export function findBrowser() {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const folders = process.env.PATH.split(delimiter);
  const candidates = process.env.CHROMIUM
    ? [process.env.CHROMIUM]
    : names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function launch() {
  return chromium.launch({
    executablePath: findBrowser(),
    // A container gives a browser neither a sandbox nor much shared memory.
    args: [
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

async function listening(server) {
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

/** Serves the folder web/ as any static host would. */
export async function servePage() {
  const server = createHttpServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = pathname === "/" ? "index.html" : pathname.slice(1);
    try {
      const content = await readFile(join(WEB, file));
      response.writeHead(200, { "content-type": TYPES[extname(file)] }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  const port = await listening(server);
  return {
    url: `http://127.0.0.1:${port}/`,
    stop: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
}

/** A way to the hub that can be cut and restored, while the hub itself stays as it is. */
export async function proxy(hubUrl) {
  const target = new URL(hubUrl);
  const port = Number(target.port) || (target.protocol === "wss:" ? 443 : 80);
  const pairs = new Set();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) return client.destroy();
    const hub = connect(port, target.hostname);
    const pair = [client, hub];
    pairs.add(pair);
    for (const [from, to] of [pair, [hub, client]]) {
      from.on("error", () => {});
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
      from.pipe(to);
    }
  });
  const url = new URL(target);
  url.port = await listening(server);
  const drop = () => [...pairs].flat().forEach((socket) => socket.destroy());
  return {
    url: url.href,
    cut: () => {
      isCut = true;
      drop();
    },
    restore: () => (isCut = false),
    stop: () => {
      drop();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
