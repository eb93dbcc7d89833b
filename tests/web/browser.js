// Helpers of the browser tests: a browser, the page on a web server, and a network that can fail.

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const ROOT = join(import.meta.dirname, "../..");

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

/** Serves the folder web/ as scripts/local.sh does. */
export async function servePage() {
  const server = spawn("python3", [join(ROOT, "scripts/lib/page.py"), join(ROOT, "web")], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const url = await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("exit", () => reject(new Error("the page could not be served")));
    server.stdout.once("data", (line) => resolve(String(line).trim()));
  });
  return { url, stop: () => void server.kill() };
}

/** A proxy to the hub that can cut connections or refuse handshakes. */
export async function proxy(hubUrl) {
  const target = new URL(hubUrl);
  const port = Number(target.port) || (target.protocol === "wss:" ? 443 : 80);
  const sockets = new Set();
  const refused = []; // The handshakes.
  let mode = "open";
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {});
    client.on("close", () => sockets.delete(client));
    if (mode === "cut") return client.destroy();
    if (mode === "refuse") {
      client.once("data", (handshake) => {
        refused.push(String(handshake));
        client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      });
      return;
    }
    const hub = connect(port, target.hostname);
    hub.on("error", () => {});
    hub.on("close", () => client.destroy());
    client.on("close", () => hub.destroy());
    client.pipe(hub).pipe(client);
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const url = new URL(target);
  url.port = server.address().port;
  const become = (next) => {
    mode = next;
    if (mode !== "open") for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    refused,
    cut: () => become("cut"),
    refuse: () => become("refuse"),
    restore: () => become("open"),
    stop: () => {
      become("cut");
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
