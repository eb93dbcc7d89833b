// Types of hub.js. docs/client.md says what is guaranteed.

/// <reference lib="esnext.disposable" />

/** Connects to a hub. `Message` is what is sent and received. What can never work, such as a malformed address or option, throws a `TypeError` at once. */
export function connect<Message = any>(options: HubOptions): HubClient<Message>;

export interface HubOptions {
  /** The hub's address, `wss://…`. A function is called anew for each connection. */
  url: string | URL | (() => string | URL | Promise<string | URL>);
  /** The session to belong to: 1 to 128 visible ASCII characters, without `*`, `"` and `\`. May be left out where the token names one. */
  session?: string;
  /** A token for hubs that ask for one. A function is called anew for each connection; `SignedOut` ends the client. */
  token?: string | null | ((request: TokenRequest) => Token | Promise<Token>);
  /** Where the token travels: in a subprotocol (the default), or as `?token=` in the address. */
  tokenIn?: "protocol" | "query";
  /** Whether to connect at once (`true`). Otherwise the client is paused until `resume()`. */
  autoConnect?: boolean;
  /** Whether to fetch messages that were missed, from hubs with history (`true`). `false`: messages are told as they come. */
  history?: boolean;
  /** Where to go on from, for each session: what `position()` returned before the page was reloaded, or on another device. */
  positions?: { [session: string]: Position | null | undefined } | null;
  /** Whether each send waits until the one before has ended, so that they arrive in the order of the calls (`false`). */
  ordered?: boolean;
  /** Default: the runtime's own. Node 20 has none: pass the one of the package `ws`. */
  WebSocket?: new (url: string, protocols?: string[]) => object;
  /** Default: the runtime's own. Tests can pass the one of `/testing`. */
  clock?: HubClock;
  /** How long a send may take altogether (60 s). `false`: as long as it takes. */
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
  /** The n-th retry waits a random time up to `backoffBase` · 2ⁿ (500 ms), but never longer than `backoffMax`. At least 100 ms. */
  backoffBase?: number;
  /** The longest wait before a retry (30 s). At least 1 s. */
  backoffMax?: number;
  /** After five refused handshakes in a row, the wait before a retry grows from a minute to this, less up to half at random (5 min). At least 1 s. */
  refusedRetry?: number;
  /** The age at which a connection is replaced, less up to a tenth at random (115 min; API Gateway's limit is 2 h). At least 1 min. */
  handoverAfter?: number | false;
  /** How long the replaced connection stays open beside the new one (35 s, longer than any fan-out that was under way). */
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
  /** Your own id, 1 to 128 characters. Reuse one to repeat a send that may have failed: recipients drop the repetition for ten minutes. */
  id?: string;
  /** How long it may take altogether, in milliseconds, instead of the client's `ttl`. */
  ttl?: number | false;
  /** Gives up waiting when aborted; the send rejects with the signal's reason. */
  signal?: AbortSignal;
  /** `false`: the hub does not keep the message. It is told as it comes, outside of the order. */
  store?: boolean;
}

/** A place in a session's messages, as plain JSON. Only the hub that it came from understands it. */
export interface Position {
  /** Changes when the hub begins to count anew. */
  readonly epoch: string;
  /** 1 for a session's first message. Not every number has one. */
  readonly offset: number;
}

export interface HistoryQuery {
  /** Default: the client's own. */
  session?: string;
  /** The newest, 1 to 100 (100). Not together with `after`. */
  last?: number;
  /** Those after a position, in their order. */
  after?: Position;
  /** How many of them at most, 1 to 100 (100). */
  limit?: number;
  /** As for `send()`. */
  ttl?: number | false;
  signal?: AbortSignal;
}

/** What the hub has kept: at most 100 messages, and about 30 KiB. */
export interface History<T = any> extends Position {
  readonly id: string;
  readonly session: string;
  /** In their order. */
  readonly messages: Message<T>[];
  /** Whether there are more to be asked for, after the last of these. */
  readonly more: boolean;
  /** With `after`: whether nothing is missing between that position and the last of these. */
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
  /** `false` where not every connection could be reached or counted. */
  complete?: false;
}

export interface Receipt extends Count {
  id: string;
  /** In the order asked for. All zeros: no connection has joined that session. */
  sessions: (Count & {
    session: string;
    /** Where the message stands among that session's, if the hub has kept it. */
    epoch?: string;
    offset?: number;
  })[];
  /** Whether each of the sessions was reached, and no connection was missed that is there. */
  readonly reachedAll: boolean;
}

export interface Message<T = any> {
  readonly id: string;
  /** The sender's session; null for a backend. */
  readonly from: string | null;
  /** The session that the message was sent to; null if the client has joined without naming one. */
  readonly session: string | null;
  readonly message: T;
  /** Where it stands among the session's messages; null if the hub does not keep it. */
  readonly position: Position | null;
  /** Whether it did not arrive by itself, and was fetched from the hub's history. */
  readonly missed: boolean;
  /** When the hub sent it, by the hub's clock. */
  readonly sentAt: Date;
  /** When it came, by this machine's clock. */
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
   * `connecting`: a connection is being opened. `open`. `waiting`: for the next attempt, or for the network. `paused`: until
   * `resume()`, or the page comes back from the browser's page cache. Final: `failed`, by itself, and `closed`, by `close()`.
   */
  readonly name: HubStateName;
  readonly since: Date;
  /** Why it is not open, in words; null if there is nothing to say. */
  readonly reason: string | null;
  /** Attempts since the last connection that lasted for 5 s. */
  readonly attempt: number;
  /** Handshakes with a token that were refused in a row. */
  readonly refused: number;
  /** The next attempt, while waiting for one; otherwise null. */
  readonly retryAt: Date | null;
  /** When the connection's token ends, if that is known and it is open; otherwise null. */
  readonly expiresAt: Date | null;
}

export interface HubStats {
  /** Milliseconds from the last ping to what was heard next; null before the first. */
  readonly rtt: number | null;
  /** Sends that have no answer yet. */
  readonly unanswered: number;
  /** Connections that were opened, first ones and later ones. */
  readonly connections: number;
  /** Of them, those that took over from one that was still open. */
  readonly handovers: number;
  /** Frames that were sent again. */
  readonly resent: number;
  /** Messages that were dropped as repetitions. */
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
  /** The id of the message it is about. */
  readonly id?: string;
  /** The session that the client may not or cannot be subscribed to. */
  readonly session?: string;
  /** Whether the same again may succeed later. */
  readonly retryable: boolean;
  /** Whether the message it is about may have reached someone. */
  readonly mayHaveArrived: boolean;
  readonly cause?: unknown;
}

/** Thrown by `token()`, it ends the client. An error with the name `SignedOut` does the same. */
export class SignedOut extends Error {}

export interface HubEvents<T = any> {
  /** A message has come, for the first time. */
  message: [message: Message<T>];
  /** The state has changed. */
  state: [now: HubState, before: HubState];
  /** A message has come again, within ten minutes, or after a `gap` was told in its place. It is dropped. */
  duplicate: [message: Message<T>];
  /** Messages are missing, and could not be fetched within 6 s. What came after them follows. */
  gap: [missing: Missing];
  /** Messages were missed of which the hub no longer has all. What it has follows. */
  lost: [missing: Missing];
  /** Five or more handshakes with a token have been refused in a row. */
  refused: [refusal: { refused: number; retryAt: Date | null; reason: string }];
  /** Something went wrong that no send is waiting to be told. The client goes on by itself. */
  error: [error: HubError];
  /** A raw frame, for debugging. `connection` counts the attempts. */
  frame: [frame: { direction: "in" | "out"; connection: number; data: string }];
}

export interface SessionEvents<T = any> {
  message: [message: Message<T>];
  /** `isReady` or `error` may have changed. */
  change: [];
  /** As the client's, about this session alone. */
  gap: [missing: Missing];
  lost: [missing: Missing];
  error: [error: HubError];
}

/**
 * One session: the client's own, or another. To another one the client is subscribed for as long as there are listeners to its
 * messages, loops over them, or calls of `ready()` that wait. All objects of one name share the subscription.
 */
export interface Session<T = any> {
  readonly name: string;
  /** Whether every message to it that is sent from now on arrives. */
  readonly isReady: boolean;
  /** Why the hub refuses the subscription. It is asked again with the next listener or connection. Otherwise null. */
  readonly error: HubError | null;
  /** Subscribes, and resolves when the hub has done so; rejects when it refuses, the client has ended, or the signal is aborted. */
  ready(options?: { signal?: AbortSignal }): Promise<void>;
  on<K extends keyof SessionEvents>(type: K, listener: (...args: SessionEvents<T>[K]) => void): () => void;
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<Message<T>>;
  send(message: T, options?: SendOptions): Promise<Receipt>;
  post(message: T): boolean;
  /** The client's `position()` of this session: undefined unless it is listened to. */
  position(): Position | undefined;
  /** Waits for the subscription, if there is to be one. */
  history(query?: Omit<HistoryQuery, "session">): Promise<History<T>>;
}

/** A connection to a hub that comes back by itself. `connect()` makes one. */
export class HubClient<T = any> {
  constructor(options: HubOptions);
  /** The session that was asked for; null if it was left to the token. */
  readonly name: string | null;
  readonly state: HubState;
  readonly stats: HubStats;
  /** Calls the listener at each event of that type until the function that it returns is called. */
  on<K extends keyof HubEvents>(type: K, listener: (...args: HubEvents<T>[K]) => void): () => void;
  /** All messages as they come, from now on. The loop ends when the client ends, or the signal is aborted. */
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<Message<T>>;
  /** Resolves when the client is open; rejects when it has ended, or the signal is aborted. */
  ready(options?: { signal?: AbortSignal }): Promise<void>;
  /** Sends `message`, any JSON, to every connection of the sessions. Resolves with the hub's receipt. */
  send(sessions: string | Iterable<string>, message: T, options?: SendOptions): Promise<Receipt>;
  /** Sends without a receipt, once, and only if the client is open. Returns whether it was sent. */
  post(sessions: string | Iterable<string>, message: T): boolean;
  /**
   * Every message of the session (default: its own) up to this position has been handed to the listeners, but for those that
   * `gap` and `lost` were about. Store it, and give it to the next client in `positions`. Undefined until the hub has said
   * where the session stands, and without history.
   */
  position(session?: string): Position | undefined;
  /** Fetches messages that the hub has kept. Listeners are told nothing, and the position stays. */
  history(query?: HistoryQuery): Promise<History<T>>;
  /** One session's messages, which the first listener subscribes to, and sends to it. */
  session(name: string): Session<T>;
  /** Without a connection: connects at once. With one: finds out whether it still works. */
  check(): void;
  /** Closes the connection, and keeps what is unanswered for `resume()`. */
  pause(): void;
  resume(): void;
  /** Ends the client for good. With `drain`, in milliseconds, it first waits that long for what is unanswered. */
  close(options?: { drain?: number }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
