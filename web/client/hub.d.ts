// Types of hub.js. docs/client.md says what is guaranteed.

/// <reference lib="esnext.disposable" />

/** Connects to a hub. `Message` is the type of messages. A malformed address or option throws a `TypeError` at once. */
export function connect<Message = any>(options: HubOptions): HubClient<Message>;

export interface HubOptions {
  /** The hub's address, `wss://…`. A function is called anew for each connection. */
  url: string | URL | (() => string | URL | Promise<string | URL>);
  /**
   * The session to belong to: 1 to 128 visible ASCII characters, without `*`, `"` and `\`. May be left out where the
   * token names one.
   */
  session?: string;
  /** A token, for hubs that require one. A function is called anew for each connection; `SignedOut` ends the client. */
  token?: string | null | ((request: TokenRequest) => Token | Promise<Token>);
  /** Where the token is sent: in a subprotocol (the default), or as `?token=` in the address. */
  tokenIn?: "protocol" | "query";
  /** Whether to connect at once (`true`). Otherwise the client is paused until `resume()`. */
  autoConnect?: boolean;
  /**
   * Whether to fetch messages that were missed, from hubs with history (`true`). `false`: messages are passed on as
   * they arrive.
   */
  history?: boolean;
  /**
   * Where to continue, for each session: what `position()` returned before the page was reloaded, or on another
   * device.
   */
  positions?: { [session: string]: Position | null | undefined } | null;
  /** Whether each send waits until the one before has ended, so that they arrive in the order of the calls (`false`). */
  ordered?: boolean;
  /** Default: the runtime's own. Node 20 has none: pass the one of the package `ws`. */
  WebSocket?: new (url: string, protocols?: string[]) => object;
  /** Default: the runtime's own. Tests can pass the one of `/testing`. */
  clock?: HubClock;
  /** How long a send may take in all (60 s). `false`: without a limit. */
  ttl?: number | false;
  /** How many sends may be unanswered; more are refused with `queue_full` (256). */
  queueLimit?: number;
  /** How many messages wait in each loop over `messages()`; the oldest go first (1,000). */
  bufferLimit?: number;
  /** The largest frame a send may become, in bytes (32 KiB, API Gateway's limit). */
  maxFrameBytes?: number;
  /** A ping goes out after this long without sending (4 min; API Gateway's idle limit is 10 min). At least 10 s. */
  pingInterval?: number | false;
  /** How long the answer to a ping may take before the connection counts as dead (10 s). At least 1 s. */
  pongTimeout?: number;
  /** How long a handshake and the hub's first answer may take (15 s). At least 1 s. */
  connectTimeout?: number;
  /** How long `token` and `url`, where they are functions, may take (30 s). At least 1 s. */
  tokenTimeout?: number;
  /**
   * The n-th retry waits a random time up to `backoffBase` · 2ⁿ (500 ms), but never longer than `backoffMax`. At least
   * 100 ms.
   */
  backoffBase?: number;
  /** The longest wait before a retry (30 s). At least 1 s. */
  backoffMax?: number;
  /**
   * After five refused handshakes in a row, the wait before a retry grows from a minute to this, less up to half at
   * random (5 min). At least 1 s.
   */
  refusedRetry?: number;
  /**
   * The age at which a connection is replaced, less up to a tenth at random (115 min; API Gateway's limit is 2 h). At
   * least 1 min.
   */
  handoverAfter?: number | false;
  /**
   * How long the replaced connection stays open beside the new one (35 s, longer than any fan-out that was under way).
   */
  handoverOverlap?: number;
  /** How many message ids are remembered, for ten minutes at most, to drop repetitions (10,000). */
  dedupeLimit?: number;
}

export interface TokenRequest {
  /** Attempts since the last stable connection; 0 for the first. */
  attempt: number;
  /** How many handshakes with a token have been refused in a row. */
  refused: number;
  /** Aborted when the client no longer waits for this token. */
  signal: AbortSignal;
}

export type Token =
  | string
  | null
  | undefined
  | {
      token: string | null | undefined;
      /** A Date, or milliseconds since 1970. Without it, a JWT's own `exp` counts. */
      expiresAt?: Date | number | null;
    };

export interface HubClock {
  /** The time of day, in milliseconds since 1970. */
  now(): number;
  /** Milliseconds that never go back. */
  uptime(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: any): void;
}

export interface SendOptions {
  /**
   * Your own id, 1 to 128 characters. Reuse one to repeat a send that may have failed: recipients drop the repetition
   * for ten minutes.
   */
  id?: string;
  /** How long it may take in all, in milliseconds, instead of the client's `ttl`. */
  ttl?: number | false;
  /** When aborted, the send rejects with the signal's reason. */
  signal?: AbortSignal;
  /** `false`: the hub does not store the message. Clients pass it on as it arrives, outside the order. */
  store?: boolean;
}

/** A place in a session's messages, as plain JSON. Only the hub that it comes from understands it. */
export interface Position {
  /** Changes when the history begins anew. */
  readonly epoch: string;
  /** 1 for a session's first message. Not every offset has a message. */
  readonly offset: number;
}

export interface HistoryQuery {
  /** Default: the client's own. */
  session?: string;
  /** How many of the newest messages, 1 to 100 (100). Not together with `after`. */
  last?: number;
  /** Messages after a position, in their order. */
  after?: Position;
  /** With `after`: at most this many, 1 to 100 (100). */
  limit?: number;
  /** As for `send()`. */
  ttl?: number | false;
  signal?: AbortSignal;
}

/** Messages from the history: at most 100, and about 30 KiB. */
export interface History<T = any> extends Position {
  readonly id: string;
  readonly session: string;
  /** In their order. */
  readonly messages: Message<T>[];
  /** Whether there are more after the last of these. */
  readonly more: boolean;
  /** With `after`: whether no message is missing between that position and the last of these. */
  readonly complete?: boolean;
}

/** Messages of a session are missing: some after `from` (null if there was no position yet), up to `to`. */
export interface Missing {
  readonly session: string;
  readonly from: Position | null;
  readonly to: Position;
}

export interface Count {
  delivered: number;
  /** Connections that no longer exist. */
  gone: number;
  /** Connections that could not be reached in time. */
  failed: number;
  /** `false` if not every connection could be reached or counted. */
  complete?: false;
}

export interface Receipt extends Count {
  id: string;
  /** In the order asked for. All zeros: no connection has joined that session. */
  sessions: (Count & {
    session: string;
    /** The message's place in that session's history, if the hub has stored it. */
    epoch?: string;
    offset?: number;
  })[];
  /** Whether the message reached every session, and every connection of them. */
  readonly reachedAll: boolean;
}

export interface Message<T = any> {
  readonly id: string;
  /** The sender's session; null for a backend. */
  readonly from: string | null;
  /** The session that the message was sent to; null if the client has joined without naming one. */
  readonly session: string | null;
  readonly message: T;
  /** Its place in the session's history; null if the hub has not stored it. */
  readonly position: Position | null;
  /** Whether it was not delivered, but fetched from the history. */
  readonly missed: boolean;
  /** When the hub sent it, by the hub's clock. */
  readonly sentAt: Date;
  /** When it arrived, by this machine's clock. */
  readonly receivedAt: Date;
}

export type HubStateName = "connecting" | "open" | "waiting" | "paused" | "failed" | "closed";

/** A snapshot; each change makes a new one. `error` says why it has failed, or why the last attempt did. */
export type HubState = HubStateFields &
  (
    | { readonly name: "failed" | "closed"; readonly error: HubError }
    | { readonly name: Exclude<HubStateName, "failed" | "closed">; readonly error: HubError | null }
  );

export interface HubStateFields {
  /**
   * `connecting`: a connection is being opened. `open`. `waiting`: for the next attempt, or for the network.
   * `paused`: until `resume()`, or the page comes back from the browser's page cache. Final: `failed`, after an
   * error, and `closed`, by `close()`.
   */
  readonly name: HubStateName;
  readonly since: Date;
  /** Why it is not open, in words; null if not known. */
  readonly reason: string | null;
  /** Attempts since the last connection that lasted for 5 s. */
  readonly attempt: number;
  /** Handshakes with a token that were refused, in a row. */
  readonly refused: number;
  /** The next attempt, while waiting for one; otherwise null. */
  readonly retryAt: Date | null;
  /** When the token of the open connection expires, if known; otherwise null. */
  readonly expiresAt: Date | null;
}

export interface HubStats {
  /** Milliseconds from the last ping to the next frame; null before the first. */
  readonly rtt: number | null;
  /** Sends that have no answer yet. */
  readonly unanswered: number;
  /** Connections that were opened. */
  readonly connections: number;
  /** Of them, those that replaced one that was still open. */
  readonly handovers: number;
  /** Frames that were sent again. */
  readonly resent: number;
  /** Repeated messages, which were dropped. */
  readonly duplicates: number;
  /** Posts that were not sent. */
  readonly dropped: number;
}

export type HubErrorCode =
  // The hub's.
  | "bad_request"
  | "too_many_sessions"
  | "too_many_subscriptions"
  | "message_too_large"
  | "unknown_action"
  | "not_connected"
  | "forbidden"
  | "internal"
  // The client's, for a send.
  | "timeout"
  | "connection_lost"
  | "queue_full"
  | "closed"
  // The client's, for a send and in the state `failed`.
  | "signed_out"
  | "token_too_large"
  | "cannot_connect"
  // The client's, in an `error` event.
  | "connect_failed"
  | "token_failed"
  | "gateway"
  | "bad_frame"
  | "overflow";

export class HubError extends Error {
  constructor(
    code: HubErrorCode,
    message: string,
    details?: { id?: string; session?: string; cause?: unknown; retryable?: boolean; mayHaveArrived?: boolean },
  );
  readonly name: "HubError";
  readonly code: HubErrorCode;
  /** The id of the message that failed. */
  readonly id?: string;
  /** The session whose subscription failed. */
  readonly session?: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Whether the message may have reached a connection. */
  readonly mayHaveArrived: boolean;
  readonly cause?: unknown;
}

/** Thrown by `token()`, it ends the client. An error with the name `SignedOut` does the same. */
export class SignedOut extends Error {}

export interface HubEvents<T = any> {
  /** A message has arrived for the first time. */
  message: [message: Message<T>];
  /** The state has changed. */
  state: [now: HubState, before: HubState];
  /** A message has arrived again within ten minutes, or after the `gap` that stood for it. It is dropped. */
  duplicate: [message: Message<T>];
  /** Messages are missing and could not be fetched within 6 s. Later messages follow. */
  gap: [missing: Missing];
  /** Messages were missed, and the hub no longer has all of them. Those that it has follow. */
  lost: [missing: Missing];
  /** Five or more handshakes with a token have been refused in a row. */
  refused: [refusal: { refused: number; retryAt: Date | null; reason: string }];
  /** An error that is not the result of a send. The client continues. */
  error: [error: HubError];
  /** A raw frame, for debugging. `connection` counts the attempts. */
  frame: [frame: { direction: "in" | "out"; connection: number; data: string }];
}

export interface SessionEvents<T = any> {
  message: [message: Message<T>];
  /** `isReady` or `error` may have changed. */
  change: [];
  /** As the client's events, for this session. */
  gap: [missing: Missing];
  lost: [missing: Missing];
  error: [error: HubError];
}

/**
 * One session: the client's own, or another. The client is subscribed to another one while it has listeners to its
 * messages, loops over them, or pending calls of `ready()`. All objects of one name share the subscription.
 */
export interface Session<T = any> {
  readonly name: string;
  /** Whether it receives messages: the connection is subscribed, or the session is the client's own. */
  readonly isReady: boolean;
  /** Why the hub refuses the subscription; otherwise null. The next listener or connection requests it again. */
  readonly error: HubError | null;
  /**
   * Subscribes, and resolves when the hub has confirmed it; rejects if it refuses, the client ends, or the signal is
   * aborted.
   */
  ready(options?: { signal?: AbortSignal }): Promise<void>;
  on<K extends keyof SessionEvents>(type: K, listener: (...args: SessionEvents<T>[K]) => void): () => void;
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<Message<T>>;
  send(message: T, options?: SendOptions): Promise<Receipt>;
  post(message: T): boolean;
  /** The client's `position()` of this session: undefined unless it is listened to. */
  position(): Position | undefined;
  /** Waits for a pending subscription. */
  history(query?: Omit<HistoryQuery, "session">): Promise<History<T>>;
}

/** A connection to a hub that reconnects by itself. `connect()` makes one. */
export class HubClient<T = any> {
  constructor(options: HubOptions);
  /** The option `session`; null if the token names the session. */
  readonly name: string | null;
  readonly state: HubState;
  readonly stats: HubStats;
  /** Calls the listener at each event of that type until the function that it returns is called. */
  on<K extends keyof HubEvents>(type: K, listener: (...args: HubEvents<T>[K]) => void): () => void;
  /** All messages from now on. The loop ends when the client ends or the signal is aborted. */
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<Message<T>>;
  /** Resolves when the client is open; rejects when it has ended, or the signal is aborted. */
  ready(options?: { signal?: AbortSignal }): Promise<void>;
  /** Sends `message`, any JSON, to every connection of the sessions. Resolves with the hub's receipt. */
  send(sessions: string | Iterable<string>, message: T, options?: SendOptions): Promise<Receipt>;
  /** Sends without a receipt, once, and only if the client is open. Returns whether it was sent. */
  post(sessions: string | Iterable<string>, message: T): boolean;
  /**
   * Listeners have received every message of the session (default: its own) up to this position, except those that
   * `gap` and `lost` reported. Store it, and pass it to the next client in `positions`. Undefined until the hub has
   * reported a position, and without history.
   */
  position(session?: string): Position | undefined;
  /** Fetches messages from the history. Listeners do not receive them, and the position stays. */
  history(query?: HistoryQuery): Promise<History<T>>;
  /** One session: its messages, and sends to it. The first listener subscribes. */
  session(name: string): Session<T>;
  /** Without a connection: connects at once. With one: checks that it still works. */
  check(): void;
  /** Closes the connection, and keeps unanswered sends for `resume()`. */
  pause(): void;
  resume(): void;
  /** Ends the client. With `drain`, first waits up to that many milliseconds for unanswered sends. */
  close(options?: { drain?: number }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
