// The hooks, with the newest React and the oldest that they work with, against the hub of the package's own /testing.

import { Window } from "happy-dom";
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { install, run } from "./installed.js";

const aWhile = () => new Promise((resolve) => setTimeout(resolve, 50));

async function until(condition) {
  for (const end = Date.now() + 5_000; !condition();) {
    assert.ok(Date.now() < end, `this never came true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Counts the listeners of a target, by type. */
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
  return () => listeners.map(({ type }) => type).filter((type) => type !== "selectionchange");
}

// React asks at its first import whether there is a page.
const { window, document } = new Window({ url: "https://page.example/" });
const listenersOfPage = [globalThis, document].map(countListeners);
Object.assign(globalThis, { window, document });
globalThis.navigator ??= window.navigator;
const listening = () => listenersOfPage.flatMap((listeners) => listeners()).length;

for (const [version, links] of [
  ["19", { react: "react", "react-dom": "react-dom" }],
  ["18", { react: "react-18/node_modules/react", "react-dom": "react-18/node_modules/react-dom" }],
])
  describe(`React ${version}`, () => {
    const undo = [];
    let folder, react, dom, server, hooks, core, testing;

    before(async () => {
      ({ folder } = await install({ after: (run) => undo.push(run) }, links));
      await writeFile(
        join(folder, "all.js"),
        `export * as react from "react";
         export * as dom from "react-dom/client";
         export * as server from "react-dom/server";
         export * as hooks from "@websocket-hub/client/react";
         export * as core from "@websocket-hub/client";
         export * as testing from "@websocket-hub/client/testing";`,
      );
      ({ react, dom, server, hooks, core, testing } = await import(pathToFileURL(join(folder, "all.js"))));
      assert.equal(react.version.split(".")[0], version);
    });
    after(() => Promise.all(undo.map((run) => run())));

    let hub, sockets, WebSocket, root, clients, complaints, consoleError, url, listenersBefore;
    beforeEach(() => {
      listenersBefore = listening();
      hub = new testing.FakeHub();
      url = hub.url;
      sockets = [];
      clients = [];
      WebSocket = class extends hub.WebSocket {
        constructor(...args) {
          super(...args);
          sockets.push(this);
        }
      };
      complaints = [];
      consoleError = console.error;
      console.error = (...args) => complaints.push(args.join(" "));
      root = null;
    });
    afterEach(async () => {
      await unmount();
      for (const client of clients) client.close();
      await until(() => sockets.every(({ readyState }) => readyState === 3));
      console.error = consoleError;
      assert.deepEqual(complaints, []);
      assert.equal(listening() - listenersBefore, 0, "no listener is left on the page");
    });

    const h = (...args) => react.createElement(...args);
    const strict = (...children) => h(react.StrictMode, null, ...children);
    const render = (...children) => {
      if (!root) {
        const container = document.createElement("div");
        document.body.append(container);
        root = dom.createRoot(container);
        root.container = container;
      }
      root.render(strict(...children));
    };
    const unmount = async () => {
      root?.unmount();
      root?.container.remove();
      root = null;
      await aWhile();
    };
    const text = () => root.container.textContent;
    const opened = () => sockets.filter(({ readyState }) => readyState === 1).length;

    /** A client outside of React, for as long as the test takes. */
    const connect = async (session, options = { WebSocket: hub.WebSocket }) => {
      const client = core.connect({ url, session, ...options });
      clients.push(client);
      await client.ready();
      return client;
    };

    test("a component has one connection, hears each message once, and leaves nothing behind", async () => {
      const bob = await connect("bob");
      const heard = [];
      function App() {
        const client = hooks.useConnect({ url, session: "alice", WebSocket });
        return h(hooks.HubProvider, { client }, h(Room));
      }
      function Room() {
        const { state } = hooks.useHub();
        hooks.useMessages(({ from, message }) => heard.push([from, message]));
        return state.name;
      }
      render(h(App));
      await until(() => text() === "open");
      assert.equal(sockets.length, 1);
      assert.equal((await bob.send("alice", 1)).delivered, 1);
      await until(() => heard.length);
      await aWhile();
      assert.deepEqual(heard, [["bob", 1]]);

      await unmount();
      assert.equal(opened(), 0);
      assert.equal(sockets.length, 1);
      assert.equal((await bob.send("alice", 2)).delivered, 0);
      assert.equal(heard.length, 1);
    });

    test("a component goes on from where another one was, and hears what it missed while it was away", async () => {
      hub.history = true;
      const say = (message) => hub.deliver(null, { id: message, sessions: ["alice"], message });
      const heard = [];
      let positions = null;
      function App() {
        const client = hooks.useConnect({ url, session: "alice", positions, WebSocket });
        hooks.useMessages(({ message, missed }) => {
          heard.push([message, missed]);
          positions = { alice: client.position() };
        }, client);
        return hooks.useHub(client).state.name;
      }
      render(h(App));
      await until(() => text() === "open");
      say("live");
      await until(() => heard.length === 1);
      hub.cut();
      say("during a loss");
      await until(() => heard.length === 2);
      await unmount();
      say("while unmounted");
      render(h(App));
      await until(() => heard.length === 3);
      assert.deepEqual(heard, [["live", false], ["during a loss", true], ["while unmounted", true]]); // prettier-ignore
    });

    test("what is shown goes from connecting to open, without a moment of anything else", async () => {
      const shown = [];
      function App() {
        const { state, client } = hooks.useHub(hooks.useConnect({ url, session: "alice", WebSocket }));
        shown.push(state.name);
        return h("button", { onClick: () => client.pause() }, state.name);
      }
      render(h(App));
      await until(() => text() === "open");
      root.container.querySelector("button").click();
      await until(() => text() === "paused");
      assert.deepEqual([...new Set(shown)], ["connecting", "open", "paused"]);
    });

    test("a listener that is new at each render is called once, the last one, and not subscribed anew", async (t) => {
      const bob = await connect("bob");
      const client = await connect("alice", { WebSocket });
      const subscribe = t.mock.method(client, "on");
      const heard = [];
      let rerender;
      function Room() {
        const [count, setCount] = react.useState(0);
        rerender = setCount;
        hooks.useMessages(({ message }) => heard.push([message, count]));
        hooks.useMessages(({ message }) => heard.push([message, "explicit"]), client);
        return String(count);
      }
      render(h(hooks.HubProvider, { client }, h(Room)));
      await until(() => root.container.textContent === "0");
      await bob.send("alice", "a");
      await until(() => heard.length === 2);
      const subscribed = subscribe.mock.callCount();
      for (const count of [1, 2, 3]) {
        rerender(count);
        await until(() => text() === String(count));
      }
      assert.equal(subscribe.mock.callCount(), subscribed);
      await bob.send("alice", "b");
      await until(() => heard.length === 4);
      assert.deepEqual(heard, [["a", 0], ["a", "explicit"], ["b", 3], ["b", "explicit"]]); // prettier-ignore

      // The client does not belong to the component: it stays, without listeners.
      await unmount();
      await bob.send("alice", "c");
      await aWhile();
      assert.equal(heard.length, 4);
      assert.equal(client.state.name, "open");
    });

    test("messages to one session are told apart, and there are none while its name is not known", async () => {
      const client = await connect("room", { WebSocket });
      const heard = [];
      let choose;
      function Room() {
        const [name, setName] = react.useState(null);
        choose = setName;
        hooks.useMessages(name, ({ message }) => heard.push([name, message]));
        return String(name);
      }
      render(h(hooks.HubProvider, { client }, h(Room)));
      for (const [number, name] of [null, "room", "other"].entries()) {
        await until(() => root.container.textContent);
        choose(name);
        await until(() => text() === String(name));
        await aWhile();
        await client.send("room", number);
        await aWhile();
      }
      assert.deepEqual(heard, [["room", 1]]);
    });

    test("a session is subscribed to while something that listens to it is mounted", async () => {
      const client = await connect("alice", { WebSocket });
      const heard = [];
      function Room({ name, mark }) {
        const { session, isReady, error } = hooks.useSession(name);
        hooks.useMessages(name, ({ message }) => heard.push([mark, message]));
        return `${session?.name} ${error?.code ?? isReady} `;
      }
      const frames = () => hub.frames.splice(0).filter(({ frame }) => /subscribe/.test(frame.action));
      const asked = () => frames().map(({ frame: { action, sessions } }) => [action, ...sessions].join(" "));
      const say = (session) => hub.deliver(null, { id: session, sessions: [session], message: session });
      const show = (...names) =>
        render(h(hooks.HubProvider, { client }, ...names.map((name, mark) => h(Room, { key: mark, name, mark }))));
      hub.maySubscribe = (link, session) => session !== "no";
      show("one", "one", "two", null);
      await until(() => root.container.textContent === "one true one true two true undefined false ");
      assert.deepEqual(asked(), ["subscribe one two"]);
      say("one");
      await until(() => heard.length === 2);
      // Another name, one that the hub refuses, and one component less.
      show("three", "one", "no");
      await until(() => text() === "three true one true no forbidden ");
      assert.deepEqual(asked().slice(0, 1), ["subscribe three no"]);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      assert.deepEqual(asked(), ["unsubscribe two"]);
      say("one");
      say("two");
      say("three");
      await until(() => heard.length > 2);
      await aWhile();
      assert.deepEqual(heard, [[0, "one"], [1, "one"], [0, "three"]]); // prettier-ignore
      await unmount();
      assert.equal([...hub.open][0].subscriptions.size, 2);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      assert.deepEqual(asked(), ["unsubscribe one three"]);
      assert.deepEqual(client.state.name, "open");
    });

    test("what is hidden for a moment stays subscribed, and a client of the component's own takes it along", async (t) => {
      if (!react.Activity) return t.skip("this React has no <Activity>");
      const client = await connect("alice", { WebSocket });
      const Room = () => String(hooks.useSession("room", client).isReady);
      const Own = () => {
        const own = hooks.useConnect({ url, session: "bob", WebSocket });
        return String(hooks.useSession("room", own).isReady);
      };
      const show = (mode) => render(h(react.Activity, { mode }, h("p", null, h(Room), h(Own))));
      show("visible");
      await until(() => text() === "truetrue");
      show("hidden");
      await until(() => opened() === 1);
      show("visible");
      await until(() => opened() === 2 && text() === "truetrue");
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      const asked = hub.frames.filter(({ frame }) => /subscribe/.test(frame.action)).map(({ link }) => link.session);
      assert.deepEqual(asked, ["alice", "bob", "bob"]);
    });

    test("a child can send in its first effect, and the functions stay the same", async () => {
      const bob = await connect("bob");
      const heard = [];
      bob.on("message", ({ message }) => heard.push(message));
      const functions = new Set();
      const receipts = [];
      function Greeting() {
        const { send, post, state } = hooks.useHub();
        functions.add(send).add(post);
        react.useEffect(() => {
          send("bob", "hello", { id: "greeting" }).then(
            (receipt) => receipts.push(receipt),
            // The second effect of StrictMode repeats the id.
            ({ code }) => assert.equal(code, "bad_request"),
          );
        }, [send]);
        return state.name;
      }
      function App() {
        const client = hooks.useConnect({ url, session: "alice", WebSocket });
        return h(hooks.HubProvider, { client }, h(Greeting));
      }
      render(h(App));
      await until(() => receipts.length);
      await until(() => text() === "open");
      assert.deepEqual(heard, ["hello"]);
      assert.equal(receipts[0].delivered, 1);
      // Perhaps also of the client that StrictMode's first render discarded.
      const [send, post] = [...functions].slice(-2);
      assert.ok(functions.size <= 4);
      assert.ok(typeof send === "function" && typeof post === "function");
    });

    test("another session means another connection, and a new token or function does not", async () => {
      const bob = await connect("bob");
      const asked = [];
      function App({ session, secret, room }) {
        const token = () => {
          asked.push(secret);
          return testing.jwt({ exp: Date.now() / 1_000 + 3_600, secret });
        };
        const client = hooks.useConnect({ url: () => hub.url, session, token, WebSocket }, [room]);
        const { state } = hooks.useHub(client);
        return `${client.name} ${state.name}`;
      }
      render(h(App, { session: "alice", secret: 1 }));
      await until(() => text() === "alice open");
      render(h(App, { session: "alice", secret: 2 }));
      await aWhile();
      assert.equal(sockets.length, 1);
      assert.deepEqual(asked, [1]);
      // The next connection calls the function of the last render.
      hub.cut();
      await until(() => asked.length > 1 && text() === "alice open");
      assert.deepEqual([...new Set(asked)], [1, 2]);

      const before = sockets.length;
      render(h(App, { session: "carol", secret: 2 }));
      await until(() => text() === "carol open");
      await until(() => opened() === 1);
      assert.equal(sockets.length, before + 1);
      await until(() => bob.state.name === "open");
      assert.deepEqual([(await bob.send("alice", 1)).delivered, (await bob.send("carol", 1)).delivered], [0, 1]);

      render(h(App, { session: "carol", secret: 2, room: "r" }));
      await until(() => sockets.length === before + 2 && opened() === 1);
    });

    test("a token that is a string is the last one given, and none at all is another client's", async () => {
      function App({ token }) {
        const { state } = hooks.useHub(hooks.useConnect({ url, session: "alice", token, WebSocket }));
        return state.name;
      }
      render(h(App, { token: "one" }));
      await until(() => text() === "open");
      render(h(App, { token: "two" }));
      await aWhile();
      hub.cut();
      await until(() => sockets.length === 2 && opened() === 1);
      // After signing out there is another client, without a token.
      render(h(App, { token: null }));
      await until(() => sockets.length === 3 && opened() === 1);
      assert.deepEqual(hub.attempts.map(({ token }) => token), ["one", "two", undefined]); // prettier-ignore
    });

    test("it stays paused where it is not to connect, until it is resumed", async () => {
      let client;
      function App() {
        client = hooks.useConnect({ url, session: "alice", autoConnect: false, WebSocket });
        return hooks.useHub(client).state.name;
      }
      render(h(App));
      await until(() => root.container.textContent === "paused");
      await aWhile();
      assert.equal(sockets.length, 0);
      client.resume();
      await until(() => text() === "open");
      assert.equal(sockets.length, 1);
    });

    test("what can never work is thrown while rendering, and a hook without a client says what to do", async () => {
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
      complaints = [];
    });

    test("a server renders without a connection, and its page hydrates without a complaint", async () => {
      const app = `
        function Room({ hooks }) {
          const { state } = hooks.useHub();
          hooks.useMessages(() => {});
          return state.name;
        }
        export function App({ react, hooks, options, strict }) {
          const client = hooks.useConnect(options);
          const room = react.createElement(Room, { hooks });
          return react.createElement("p", null, react.createElement(hooks.HubProvider, { client }, room));
        }`;
      await writeFile(join(folder, "app.js"), app);
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
         setTimeout(() => { console.log(sockets); process.exitCode = 0; }, 20);`,
      );
      const started = Date.now();
      const { stdout, stderr } = await run(process.execPath, ["server.js"], { cwd: folder });
      assert.ok(Date.now() - started < 5_000, "no timer is left on the server");
      assert.equal(stderr, "");
      const [html, again, count] = stdout.trim().split("\n");
      assert.equal(html, "<p>connecting</p>");
      assert.deepEqual([again, count], [html, "0"]);

      const { App } = await import(pathToFileURL(join(folder, "app.js")));
      const container = document.createElement("div");
      document.body.append(container);
      container.innerHTML = html;
      const paragraph = container.firstChild;
      const options = { url, session: "alice", WebSocket };
      const onRecoverableError = (error) => complaints.push(String(error));
      root = dom.hydrateRoot(container, strict(h(App, { react, hooks, options })), { onRecoverableError });
      root.container = container;
      await until(() => text() === "open");
      assert.equal(container.firstChild, paragraph, "what the server rendered is kept");
      assert.equal(sockets.length, 1);

      // A mismatch is reported here, so the silence above means that there was none.
      await unmount();
      assert.deepEqual(complaints, []);
      const other = document.createElement("div");
      other.innerHTML = "<p>something else</p>";
      document.body.append(other);
      root = dom.hydrateRoot(other, strict(h(App, { react, hooks, options })), { onRecoverableError });
      root.container = other;
      await until(() => text() === "open");
      assert.notEqual(complaints.length, 0);
      complaints = [];
    });

    test("a render that is thrown away leaves nothing", async () => {
      const never = new Promise(() => {});
      function App() {
        const client = hooks.useConnect({ url, session: "alice", WebSocket });
        return h(hooks.HubProvider, { client }, h(Late));
      }
      const Late = () => {
        throw never;
      };
      render(h(react.Suspense, { fallback: "later" }, h(App)));
      await until(() => root.container.textContent === "later");
      await aWhile();
      assert.equal(sockets.length, 0);
      assert.equal(listening() - listenersBefore, 0, "no listener is left on the page");
    });

    test("what is hidden and shown again connects again", async (t) => {
      if (!react.Activity) return t.skip("this React has no <Activity>");
      function App() {
        const { state } = hooks.useHub(hooks.useConnect({ url, session: "alice", WebSocket }));
        return state.name;
      }
      const show = (mode) => render(h(react.Activity, { mode }, h("p", null, h(App))));
      show("visible");
      await until(() => text() === "open");
      show("hidden");
      await until(() => opened() === 0);
      show("visible");
      await until(() => opened() === 1 && text() === "open");
      assert.equal(sockets.length, 2);
    });
  });
