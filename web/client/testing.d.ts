// Types of testing.js: a hub and a clock for tests, in memory.

import type { HubClock } from "./hub.js";

export interface ClockOptions {
  /** The time that it begins at, rounded down to a second: a Date, or milliseconds since 1970 (now). */
  time?: Date | number;
}

/** A clock that only a test moves. Pass it as the option `clock`. All times are in milliseconds. */
export class Clock implements HubClock {
  constructor(options?: ClockOptions);
  /** How far this machine's time of day is ahead of the true one (0). */
  skew: number;
  /** The true time, which a hub goes by, since 1970. */
  readonly time: number;
  /** How many timers are running. */
  readonly running: number;
  /** How long until the next of them is due; Infinity if there is none. */
  readonly next: number;
  now(): number;
  uptime(): number;
  setTimeout(run: () => void, ms?: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Runs the timers that are due within this time, and no promise in between. */
  tick(ms: number): void;
  /** Runs the timers within this time one by one. After each, promises and hubs in memory settle. */
  advance(ms: number): Promise<void>;
  /** Lets promises and hubs in memory settle. No time passes. */
  settle(): Promise<void>;
  /** Time passes while the machine sleeps: its timers stand still. */
  sleep(ms: number): void;
}

export interface FakeHubOptions {
  /** The hub's time. Default: the time of day. */
  clock?: HubClock;
  /** Whether it keeps messages, so that clients can ask for what they have missed (`false`). */
  history?: boolean;
  /** Whether clients can subscribe to sessions beside their own (`true`). */
  subscriptions?: boolean;
  /** Whether sockets have `terminate()`, as those of the package ws have, and browsers' have not (`false`). */
  terminate?: boolean;
  /** What carries its connections. Default: memory. */
  transport?: FakeHubTransport;
}

/** What a client asked for in its handshake. */
export interface FakeHubAttempt {
  /** Path and query. */
  url: string;
  query: URLSearchParams;
  protocols: string[];
  /** Undefined if there was none, or more than one. */
  token: string | undefined;
}

/** A connection, from the hub's side. */
export interface FakeHubLink {
  session: string | null;
  token: string | undefined;
  protocols: string[];
  query: Record<string, string>;
  /** 1 for the hub's first connection. */
  number: number;
  /** Whether its first ping has arrived. */
  greeted: boolean;
  /** The sessions that it is subscribed to, beside its own. */
  subscriptions: Set<string>;
  /** Whether its token has expired, or the hub has forgotten it. */
  ended(): boolean;
  /** The hub forgets it: it receives no messages, and its requests get `not_connected`. */
  forget(): void;
  readonly forgotten: boolean;
  /** When the connection expires, in seconds since 1970. */
  expires(): number;
  /** Sends a frame: text, bytes, or anything else as JSON. */
  say(frame: unknown): void;
  close(code?: number, reason?: string): void;
  /** Cuts the connection without a closing handshake. */
  terminate(): void;
  /** Stops reading. What the client sends waits until `resume()`. */
  pause(): void;
  resume(): void;
}

/** A frame that a client has sent, parsed. */
export interface FakeHubFrame {
  action: string;
  [name: string]: any;
}

/**
 * A small hub that works correctly until a test makes it fail. It refuses the same frames as the real one, with two
 * exceptions: it does not check the size of a message, and of a token it checks only the expiry, not the session.
 */
export class FakeHub {
  constructor(options?: FakeHubOptions);
  /** For the client's option `url`. */
  url: string;
  /** For the client's option `WebSocket`. It behaves as a browser's, and connects to this hub alone. */
  readonly WebSocket: new (url: string | URL, protocols?: string | string[]) => any;

  // What has happened.

  /** Every handshake that came. */
  readonly attempts: FakeHubAttempt[];
  /** The query of every handshake that was accepted, in order. */
  readonly handshakes: URLSearchParams[];
  /** The connections that are open, in order. */
  readonly open: Set<FakeHubLink>;
  /** Frames that clients have sent, in order, without each connection's first ping. */
  readonly frames: { link: FakeHubLink; frame: FakeHubFrame }[];
  /** The messages among them. */
  readonly sent: FakeHubFrame[];
  /** How many of them are pings. */
  readonly pings: number;

  // What a test may change.

  /** Whether messages are kept from now on, and questions about them answered. */
  history: boolean;
  /** Whether clients can subscribe from now on. */
  subscriptions: boolean;
  /** Whether a connection may subscribe to a session (`true`). A frame that names another one is `forbidden`. */
  maySubscribe: (link: FakeHubLink, session: string) => boolean;
  /** Handshakes are answered with this status; `true` is 400 (`false`). */
  refuse: boolean | number;
  /** Handshakes need a JWT that has not expired; others are answered with 403 (`false`). */
  auth: boolean;
  /** Handshakes are not answered (`false`). */
  hang: boolean;
  /** Frames are read, but neither answered nor delivered (`false`). */
  mute: boolean;
  /** Closing handshakes are not answered (`false`). */
  silent: boolean;
  /** The answer to each connection's first ping (a pong). */
  greeting: unknown;
  /** Called with each frame. If it returns a truthy value, the hub ignores the frame. */
  intercept: (link: FakeHubLink, frame: FakeHubFrame) => unknown;
  /** The hub's time, in milliseconds since 1970. */
  now: () => number;

  // What a test may do.

  /** Answers a frame as the real hub does. */
  answer(link: FakeHubLink, frame: FakeHubFrame): void;
  /** Delivers a message to its sessions, and returns the receipt. `from` is null for a backend. */
  deliver(
    from: string | null,
    frame: { id: string; sessions: string[]; message: unknown; store?: boolean },
  ): Record<string, any>;
  /** The next deliveries (1) reach no connection. With history they are kept, so clients find a gap. */
  drop(count?: number): void;
  /** The next request (or as many as `count`) is carried out, but its answer is lost. Pings do not count. */
  loseAnswers(count?: number): void;
  /** Takes offsets (1) of a session without writing messages, like a sender that crashes. */
  skip(session: string, count?: number): void;
  /** All stored messages expire, and offsets continue: a client that was away has lost messages. */
  forget(): void;
  /** Starts a new history, with new epochs. */
  reset(): void;
  /** Cuts every connection. */
  cut(): void;
  /** Cuts every connection and accepts no further one, as a crash would. */
  stop(): Promise<void>;
  /** Accepts connections again, at the same address. */
  start(): Promise<void>;
}

/** Carries connections to a hub that is not in memory. */
export interface FakeHubTransport {
  readonly url: string;
  readonly WebSocket: FakeHub["WebSocket"];
  silent: boolean;
  /** Called once, with the function that answers handshakes: null leaves one unanswered, a status refuses it. */
  serve(
    answer: (request: {
      url: string;
      protocols: string[];
    }) =>
      | null
      | { status: number; connect?: undefined }
      | { protocol: string; connect(wire: FakeHubWire): { received(data: string | Uint8Array): void; closed(): void } },
  ): void;
  stop(): Promise<unknown>;
  start(): Promise<unknown>;
}

export interface FakeHubWire {
  send(data: string | ArrayBuffer | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
  pause(): void;
  resume(): void;
}

/** An unsigned JWT, as the hub of this module accepts. */
export function jwt(claims: Record<string, unknown>): string;
