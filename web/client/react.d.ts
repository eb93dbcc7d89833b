// Types of react.js: the client as hooks, for React 18 and newer.

import type { DependencyList, ReactElement, ReactNode } from "react";
import type { HubClient, HubError, HubOptions, HubState, Message, Session } from "./hub.js";

/**
 * Gives a client to all components within. It neither connects nor closes it, so one that is made outside of React,
 * such as in a module of its own, can be provided as well as one of `useConnect()`.
 */
export function HubProvider<T = any>(props: { client: HubClient<T>; children?: ReactNode }): ReactElement;

export interface Hub<T = any> {
  client: HubClient<T>;
  /** Renders the component again when it changes. On a server, and until the client starts, it is `connecting`. */
  state: HubState;
  /**
   * The client's `send`. The same function at each render, as is `post`, so that either can be a dependency of an
   * effect.
   */
  send: HubClient<T>["send"];
  post: HubClient<T>["post"];
}

/** The client of the nearest `HubProvider`, or the one given, with its state. */
export function useHub<T = any>(client?: HubClient<T> | null): Hub<T>;

/**
 * Calls the listener for each message while the component is mounted. The listener may be a new function at each
 * render: the last one is called, and nothing is subscribed anew.
 */
export function useMessages<T = any>(listener: (message: Message<T>) => void, client?: HubClient<T> | null): void;

/**
 * The same for one session, to which the client is subscribed meanwhile. There are no messages while `session` is null or
 * undefined.
 */
export function useMessages<T = any>(
  session: string | null | undefined,
  listener: (message: Message<T>) => void,
  client?: HubClient<T> | null,
): void;

/**
 * Keeps the client subscribed to a session while the component is mounted, and renders it again when that or `error`
 * changes. Without a name, `session` is null.
 */
export function useSession<T = any>(name: string, client?: HubClient<T> | null): SessionStatus<T, Session<T>>;
export function useSession<T = any>(name: string | null | undefined, client?: HubClient<T> | null): SessionStatus<T>;

export interface SessionStatus<T = any, S = Session<T> | null> {
  /** To send to it, and for its `history()` and `position()`. The same object at each render. */
  session: S;
  /** Whether it receives messages: the connection is subscribed, or the session is the client's own. */
  isReady: boolean;
  /** Why the hub refuses the subscription, or null. */
  error: HubError | null;
}

/**
 * Makes a client that belongs to the component: it connects when the component has mounted, and closes when it is unmounted.
 *
 * Another client takes its place when `session` changes, `url` does (unless it is a function), a token is given where
 * there was none or the reverse, or one of `deps` changes. A user that only the token names must be in `deps`:
 * `useConnect({ url, token }, [user.id])`. All other options count when the client is made, but functions for `url`
 * and `token`, and a token that is a string, are those of the last render. So they may be written inline.
 *
 * It is never null. Until it starts, it is a paused client that holds sends back, and children can use it in their
 * first effects. A hidden `<Activity>` counts as unmounted: when it is shown again, effects see the closed client
 * once, and then another one. Rendering on a server makes no connection. In StrictMode there is one connection, not
 * two. With `autoConnect: false` it stays paused until `resume()`.
 */
export function useConnect<T = any>(options: HubOptions, deps?: DependencyList): HubClient<T>;
