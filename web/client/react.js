"use client";

// The client as React hooks. Without JSX, so that no build is needed.

import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { connect } from "./hub.js";

const HubContext = createContext(null);

// The state before a client starts. Server and browser must render the same for hydration.
const STARTING = Object.freeze({
  name: "connecting",
  since: new Date(0),
  reason: null,
  error: null,
  attempt: 0,
  refused: 0,
  retryAt: null,
  expiresAt: null,
});

/** Clients of useConnect() whose component is not mounted yet. They are paused, but shown as connecting. */
const starting = new WeakSet();

/** Clients of useConnect() that were closed when their component was unmounted. */
const retired = new WeakSet();

export function HubProvider({ client, children }) {
  return createElement(HubContext.Provider, { value: client }, children);
}

function useClient(client, hook) {
  const provided = useContext(HubContext);
  const found = client ?? provided;
  if (!found)
    throw new Error(`${hook} needs a <HubProvider client={…}> around the component, or a client as its argument`);
  return found;
}

/** A reference to the value of the last committed render, for functions that are called later. */
function useLatest(value) {
  const latest = useRef(value);
  // Runs before all other effects, so that they call the newest function. On a server it does nothing.
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}

export function useHub(client) {
  const hub = useClient(client, "useHub()");
  const [subscribe, getState, actions] = useMemo(
    () => [
      (changed) => hub.on("state", changed),
      () => (starting.has(hub) && hub.state.name === "paused" ? STARTING : hub.state),
      { send: (...args) => hub.send(...args), post: (...args) => hub.post(...args) },
    ],
    [hub],
  );
  const state = useSyncExternalStore(subscribe, getState, () => STARTING);
  return { client: hub, state, ...actions };
}

export function useMessages(...args) {
  const all = typeof args[0] === "function";
  const [session, listener, client] = all ? [null, ...args] : args;
  const hub = useClient(client, "useMessages()");
  const latest = useLatest(listener);
  useEffect(() => {
    if (!all && session == null) return;
    const source = all ? hub : hub.session(session);
    return source.on("message", (message) => latest.current(message));
  }, [hub, all, session, latest]);
}

export function useSession(name, client) {
  const hub = useClient(client, "useSession()");
  const [session, subscribe, getStatus] = useMemo(() => {
    const session = name == null ? null : hub.session(name);
    const subscribe = (changed) => {
      const offs = [session?.on("message", () => {}), session?.on("change", changed)];
      return () => offs.forEach((off) => off?.());
    };
    return [session, subscribe, () => session?.error ?? session?.isReady ?? false];
  }, [hub, name]);
  const status = useSyncExternalStore(subscribe, getStatus, () => false);
  return { session, isReady: status === true, error: Object(status) === status ? status : null };
}

export function useConnect(options, deps = []) {
  const latest = useLatest(options);
  const { url, session, token } = options;
  const [generation, setGeneration] = useState(0);

  // A paused client has no side effects, so it may be made in any render, even one that React discards. Children can
  // use it in their first effects, and there is never a `null` to check for.
  const client = useMemo(() => {
    const current = { ...options, autoConnect: false };
    if (typeof url === "function") current.url = () => latest.current.url();
    if (token != null) {
      current.token = (request) => {
        const { token } = latest.current;
        return typeof token === "function" ? token(request) : token;
      };
    }
    const made = connect(current);
    if (options.autoConnect ?? true) starting.add(made);
    return made;
  }, [typeof url === "function" ? null : String(url), session, token != null, generation, ...deps]);

  // StrictMode mounts twice, and a hidden <Activity> unmounts components that it shows again. At the time, both look
  // like a final unmount; the microtasks check afterwards.
  const mounted = useRef(null);
  useEffect(() => {
    // It was closed while hidden. A new client replaces it.
    if (retired.has(client)) return setGeneration((number) => number + 1);
    mounted.current = client;
    queueMicrotask(() => {
      if (mounted.current === client && starting.delete(client)) client.resume();
    });
    return () => {
      mounted.current = null;
      queueMicrotask(() => {
        if (mounted.current === client) return;
        retired.add(client);
        client.close();
      });
    };
  }, [client]);

  return client;
}
