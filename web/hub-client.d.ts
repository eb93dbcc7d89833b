// Types of hub-client.js. docs/client.md says what is guaranteed.

export interface HubClientOptions {
  /** The session to belong to: 1 to 128 visible ASCII characters, without `*`, `"` and `\`. */
  session: string;
  /** A token for hubs that ask for one. A function is called anew for each connection; `SignedOut` ends the client. */
  token?: string | null | ((request: TokenRequest) => Token | Promise<Token>);
  /** Where the token travels: in a subprotocol (the default), or as `?token=` in the address. */
  tokenIn?: "protocol" | "query";
  /** Default: the runtime's own. Node 20 has none: pass the one of the package `ws`. */
  WebSocket?: new (url: string, protocols?: string[]) => object;
  /** How long a send, once written, waits for its receipt (35 s). */
  sendTimeout?: number;
  /** How many sends may wait for a connection; more are refused with `queue_full` (256). */
  queueLimit?: number;
  /** The largest frame a send may become (32 KiB, API Gateway's limit). */
  maxFrameBytes?: number;
  /** A ping goes out after this long without sending (4 min; API Gateway's idle limit is 10 min). */
  pingInterval?: number;
  /** How long the answer to a ping may take before the connection counts as dead (10 s). */
  pongTimeout?: number;
  /** How long the token and the handshake may take together (15 s). */
  connectTimeout?: number;
  /** The n-th retry waits a random time up to `backoffBase` · 2ⁿ (500 ms) … */
  backoffBase?: number;
  /** … but never longer than this (30 s). */
  backoffMax?: number;
  /** After five refused handshakes in a row, the wait before a retry grows from a minute to this, less up to half at random (5 min). */
  refusedRetry?: number;
  /** The age at which a connection is replaced, less up to a tenth at random (115 min; API Gateway's limit is 2 h). */
  handoverAfter?: number;
  /** How long the replaced connection stays open beside the new one (5 s). */
  handoverOverlap?: number;
  /** How many message ids are remembered, to drop repetitions (10,000). */
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

export interface SendOptions {
  /** Your own id, 1 to 128 characters. Reuse one to repeat a send that may have failed: recipients drop the repetition. */
  id?: string;
  /** Gives up waiting when aborted; the send rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface Tally {
  delivered: number;
  /** Connections that no longer exist. */
  gone: number;
  /** Connections that could not be reached in time. */
  failed: number;
}

export interface Receipt extends Tally {
  id: string;
  /** In the order asked for. All zeros: nobody is there. */
  sessions: (Tally & { session: string })[];
}

export type HubErrorCode =
  // The hub's.
  | "bad_request"
  | "too_many_sessions"
  | "message_too_large"
  | "unknown_action"
  | "not_connected"
  | "forbidden"
  | "internal"
  // The client's, for a send.
  | "timeout"
  | "queue_full"
  | "closed"
  // The client's, for a send and in the `failed` event.
  | "signed_out"
  | "token_too_large"
  // The client's, in an `error` event.
  | "connect_failed"
  | "token_failed"
  | "gateway"
  | "bad_frame";

export class HubError extends Error {
  constructor(code: HubErrorCode, message: string, details?: { id?: string; cause?: unknown });
  readonly name: "HubError";
  readonly code: HubErrorCode;
  /** The id of the message it is about. */
  readonly id?: string;
}

/** Thrown by `token()`, it ends the client. An error with the name `SignedOut` does the same. */
export class SignedOut extends Error {}

export interface HubClientEventMap {
  message: Event & {
    readonly id: string;
    /** The sender's session; null for a backend. */
    readonly from: string | null;
    readonly message: any;
    readonly sentAt: Date;
  };
  /** Connected, or connected again. */
  open: Event;
  /** The connection is lost, or could not be made; the next try is in `delay` ms. */
  reconnecting: Event & {
    readonly attempt: number;
    readonly delay: number;
    readonly reason: string;
  };
  /** Five or more handshakes with a token have been refused in a row. The next attempt is in `delay` ms. */
  refused: Event & {
    readonly refused: number;
    readonly delay: number;
    readonly reason: string;
  };
  /** The client has ended by itself: `signed_out` or `token_too_large`. */
  failed: Event & { readonly error: HubError };
  /** `close()` was called. */
  close: Event;
  /** Something went wrong that no send is waiting to hear of. The client goes on by itself. */
  error: Event & { readonly error: HubError };
  /** A raw frame, for debugging. `connection` counts the sockets. */
  frame: Event & {
    readonly direction: "in" | "out";
    readonly connection: number;
    readonly data: string;
  };
}

export class HubClient extends EventTarget {
  constructor(url: string | URL, options: HubClientOptions);
  readonly session: string;
  readonly state: "connecting" | "open" | "reconnecting" | "closed" | "failed";
  send(sessions: string | Iterable<string>, message: unknown, options?: SendOptions): Promise<Receipt>;
  check(): void;
  close(): void;
  addEventListener<K extends keyof HubClientEventMap>(
    type: K,
    listener: (this: HubClient, event: HubClientEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof HubClientEventMap>(
    type: K,
    listener: (this: HubClient, event: HubClientEventMap[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
}
