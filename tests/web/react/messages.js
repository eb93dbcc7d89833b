// useMessages(), useSession() and useHub(): what components receive and send.

import assert from "node:assert/strict";
import { aWhile, until, setUp, test } from "./setup.js";

test("a component that mounts again continues from the stored position, and receives what it missed", async (t) => {
  const { h, hooks, hub, render, text, unmount, url, WebSocket } = setUp(t);
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

test("with a new listener at each render, only the last one is called, and it is registered once", async (t) => {
  const { connect, h, hooks, react, render, text, unmount, WebSocket } = setUp(t);
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
  await until(() => text() === "0");
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

test("useMessages(name) receives only that session's messages, and none while the name is null", async (t) => {
  const { connect, h, hooks, react, render, text, WebSocket } = setUp(t);
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
    await until(() => text());
    choose(name);
    await until(() => text() === String(name));
    await aWhile();
    await client.send("room", number);
    await aWhile();
  }
  assert.deepEqual(heard, [["room", 1]]);
});

test("a session is subscribed while a component that listens to it is mounted", async (t) => {
  const { connect, h, hooks, hub, render, text, unmount, WebSocket } = setUp(t);
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
  await until(() => text() === "one true one true two true undefined false ");
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

test("a component that is hidden for a moment stays subscribed; one with a client of its own connects and subscribes again", async (t) => {
  const { connect, h, hooks, hub, opened, react, render, text, url, WebSocket } = setUp(t);
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

test("a child can send in its first effect, and send and post stay the same functions", async (t) => {
  const { connect, h, hooks, react, render, text, url, WebSocket } = setUp(t);
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
