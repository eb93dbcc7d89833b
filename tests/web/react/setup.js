// React in a page of happy-dom, with the installed package and the hub of its own /testing.

import { Window } from "happy-dom";
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test as nodeTest } from "node:test";
import { pathToFileURL } from "node:url";
import { install } from "../installed.js";

export const aWhile = () => new Promise((resolve) => setTimeout(resolve, 50));

export async function until(condition) {
  for (const end = Date.now() + 10_000; !condition();) {
    assert.ok(Date.now() < end, `this never came true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Counts the listeners of a target, except React's own. */
function countListeners(target) {
  const listeners = [];
  const { addEventListener, removeEventListener } = target;
  target.addEventListener = (type, listener, ...rest) => {
    listeners.push({ type, listener });
    addEventListener?.call(target, type, listener, ...rest);
  };
  target.removeEventListener = (type, listener, ...rest) => {
    const index = listeners.findIndex((one) => one.type === type && one.listener === listener);
    if (index >= 0) listeners.splice(index, 1);
    removeEventListener?.call(target, type, listener, ...rest);
  };
  return () => listeners.filter(({ type }) => type !== "selectionchange").length;
}

// React asks at its first import whether there is a page.
const { window, document } = new Window({ url: "https://page.example/" });
const counts = [globalThis, document].map(countListeners);
Object.assign(globalThis, { window, document });
globalThis.navigator ??= window.navigator;
const countAll = () => counts.reduce((sum, count) => sum + count(), 0);

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

// React of the version that is tested, and the client's modules beside it.
let libraries;

/** Runs all tests with the React of these packages. */
export function runWith(version, links) {
  describe(`React ${version}`, () => {
    const undo = [];
    before(async () => {
      libraries = await load({ after: (run) => undo.push(run) }, links);
      assert.equal(libraries.react.version.split(".")[0], version);
    });
    after(() => Promise.all(undo.map((run) => run())));
    for (const { name, run } of tests) nodeTest(name, run);
  });
}

async function load(t, links) {
  const { folder } = await install(t, links);
  const modules = join(folder, "all.js");
  await writeFile(
    modules,
    `export * as react from "react";
     export * as dom from "react-dom/client";
     export * as hooks from "@websocket-hub/client/react";
     export * as core from "@websocket-hub/client";
     export * as testing from "@websocket-hub/client/testing";`,
  );
  return { folder, ...(await import(pathToFileURL(modules))) };
}

/** A hub, and one root on the page; at the end, neither a connection, a listener nor a complaint of React's is left. */
export function setUp(t) {
  const { react, dom, core, testing } = libraries;
  const listenersBefore = countAll();
  const listeners = () => countAll() - listenersBefore;
  const hub = new testing.FakeHub();
  const { url } = hub;
  const sockets = [];
  class WebSocket extends hub.WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const opened = () => sockets.filter(({ readyState }) => readyState === 1).length;
  const complaints = [];
  const consoleError = console.error;
  console.error = (...args) => complaints.push(args.join(" "));

  const h = (...args) => react.createElement(...args);
  const strict = (...children) => h(react.StrictMode, null, ...children);
  let root, place;
  const render = (...children) => {
    if (!root) {
      place = document.createElement("div");
      document.body.append(place);
      root = dom.createRoot(place);
    }
    root.render(strict(...children));
  };
  const hydrate = (container, element) => {
    place = container;
    document.body.append(place);
    root = dom.hydrateRoot(place, strict(element), { onRecoverableError: (error) => complaints.push(String(error)) });
  };
  const unmount = async () => {
    root?.unmount();
    place?.remove();
    root = place = undefined;
    await aWhile();
  };
  const container = () => place;
  const text = () => place.textContent;

  const clients = [];
  /** A client outside of React, for as long as the test takes. */
  const connect = async (session, options = { WebSocket: hub.WebSocket }) => {
    const client = core.connect({ url, session, ...options });
    clients.push(client);
    await client.ready();
    return client;
  };

  t.after(async () => {
    await unmount();
    for (const client of clients) client.close();
    await until(() => sockets.every(({ readyState }) => readyState === 3));
    console.error = consoleError;
    assert.deepEqual(complaints, []);
    assert.equal(listeners(), 0, "no listener is left on the page");
  });
  return {
    ...libraries,
    ...{ hub, url, WebSocket, sockets, opened, connect, complaints, listeners },
    ...{ h, render, hydrate, unmount, container, text },
  };
}
