// useConnect(): when a component opens and closes connections.

import assert from "node:assert/strict";
import { aWhile, until, setUp, test } from "./setup.js";

test("a component has one connection, receives each message once, and leaves no connection when it unmounts", async (t) => {
  const { connect, h, hooks, opened, render, sockets, text, unmount, url, WebSocket } = setUp(t);
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

test("the state goes from connecting to open, with no other state between", async (t) => {
  const { container, h, hooks, render, text, url, WebSocket } = setUp(t);
  const shown = [];
  function App() {
    const { state, client } = hooks.useHub(hooks.useConnect({ url, session: "alice", WebSocket }));
    shown.push(state.name);
    return h("button", { onClick: () => client.pause() }, state.name);
  }
  render(h(App));
  await until(() => text() === "open");
  container().querySelector("button").click();
  await until(() => text() === "paused");
  assert.deepEqual([...new Set(shown)], ["connecting", "open", "paused"]);
});

test("another session opens another connection; a new token or token function does not", async (t) => {
  const { connect, h, hooks, hub, opened, render, sockets, testing, text, WebSocket } = setUp(t);
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

test("a reconnect presents the last token that was given as a string, and removing the token makes another client", async (t) => {
  const { h, hooks, hub, opened, render, sockets, text, url, WebSocket } = setUp(t);
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

test("with autoConnect: false a client stays paused until it is resumed", async (t) => {
  const { h, hooks, render, sockets, text, url, WebSocket } = setUp(t);
  let client;
  function App() {
    client = hooks.useConnect({ url, session: "alice", autoConnect: false, WebSocket });
    return hooks.useHub(client).state.name;
  }
  render(h(App));
  await until(() => text() === "paused");
  await aWhile();
  assert.equal(sockets.length, 0);
  client.resume();
  await until(() => text() === "open");
  assert.equal(sockets.length, 1);
});

test("a render that React discards opens no connection and leaves no listener", async (t) => {
  const { h, hooks, listeners, react, render, sockets, text, url, WebSocket } = setUp(t);
  const never = new Promise(() => {});
  function App() {
    const client = hooks.useConnect({ url, session: "alice", WebSocket });
    return h(hooks.HubProvider, { client }, h(Late));
  }
  const Late = () => {
    throw never;
  };
  render(h(react.Suspense, { fallback: "later" }, h(App)));
  await until(() => text() === "later");
  await aWhile();
  assert.equal(sockets.length, 0);
  assert.equal(listeners(), 0, "no listener is left on the page");
});

test("a component with a client of its own connects again after it was hidden", async (t) => {
  const { h, hooks, opened, react, render, sockets, text, url, WebSocket } = setUp(t);
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
