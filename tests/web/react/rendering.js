// Errors while rendering, and rendering on a server.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { run } from "../installed.js";
import { until, setUp, test } from "./setup.js";

test("invalid options throw while rendering, and a hook without a client names the provider", async (t) => {
  const { complaints, h, hooks, react, render, text, WebSocket } = setUp(t);
  const caught = [];
  class Boundary extends react.Component {
    state = {};
    static getDerivedStateFromError = (error) => ({ error });
    render() {
      if (!this.state.error) return this.props.children;
      caught.push(this.state.error.message);
      return "caught";
    }
  }
  const App = () => hooks.useConnect({ url: "http://hub.example", session: "alice", WebSocket }) && null;
  render(h(Boundary, { key: 1 }, h(App)));
  await until(() => text() === "caught");
  assert.match(caught.at(-1), /must look like wss:/);
  render(
    h(
      Boundary,
      { key: 2 },
      h(() => hooks.useHub() && null),
    ),
  );
  await until(() => /useHub\(\) needs a <HubProvider/.test(caught.at(-1)));
  complaints.length = 0;
});

test("a server renders without a connection, and the page hydrates its HTML without a complaint", async (t) => {
  const { complaints, folder, h, hooks, hydrate, react, sockets, text, unmount, url, WebSocket } = setUp(t);
  const module = `
    function Room({ hooks }) {
      const { state } = hooks.useHub();
      hooks.useMessages(() => {});
      return state.name;
    }
    export function App({ react, hooks, options }) {
      const client = hooks.useConnect(options);
      const room = react.createElement(Room, { hooks });
      return react.createElement("p", null, react.createElement(hooks.HubProvider, { client }, room));
    }`;
  await writeFile(join(folder, "app.js"), module);
  await writeFile(
    join(folder, "server.js"),
    `import * as react from "react";
     import { renderToString } from "react-dom/server";
     import * as hooks from "@websocket-hub/client/react";
     import { App } from "./app.js";
     let sockets = 0;
     // A runtime has one or has none.
     for (const WebSocket of [undefined, class { constructor() { sockets++ } }]) {
       Object.defineProperty(globalThis, "WebSocket", { value: WebSocket, configurable: true });
       const token = () => { throw new Error("a token is asked for") };
       const options = { url: "wss://hub.example/live", session: "alice", token };
       const app = react.createElement(App, { react, hooks, options });
       console.log(renderToString(react.createElement(react.StrictMode, null, app)));
     }
     setTimeout(() => {
       console.log(sockets);
       const over = performance.now();
       process.on("exit", () => console.log(performance.now() - over));
     }, 20);`,
  );
  const { stdout, stderr } = await run(process.execPath, ["server.js"], { cwd: folder });
  assert.equal(stderr, "");
  const [html, again, count, rest] = stdout.trim().split("\n");
  assert.equal(html, "<p>connecting</p>");
  assert.deepEqual([again, count], [html, "0"]);
  assert.ok(rest < 5_000, "no timer is left on the server");

  const { App } = await import(pathToFileURL(join(folder, "app.js")));
  const page = document.createElement("div");
  page.innerHTML = html;
  const paragraph = page.firstChild;
  const options = { url, session: "alice", WebSocket };
  const app = h(App, { react, hooks, options });
  hydrate(page, app);
  await until(() => text() === "open");
  assert.equal(page.firstChild, paragraph, "what the server rendered is kept");
  assert.equal(sockets.length, 1);

  // A mismatch is reported here, so the silence above means that there was none.
  await unmount();
  assert.deepEqual(complaints, []);
  const other = document.createElement("div");
  other.innerHTML = "<p>something else</p>";
  hydrate(other, app);
  await until(() => text() === "open");
  assert.notEqual(complaints.length, 0);
  complaints.length = 0;
});
