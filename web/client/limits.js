// The client's own limits, beside those that are options. Bundlers inline them.

export const SECOND = 1_000;
export const MINUTE = 60_000;

// A connection that has lasted this long counts as a success, and the next loss starts the backoff from its beginning.
export const STABLE_AFTER = 5_000;

// Timers stand still while a machine sleeps, so hand-overs follow the wall clock, which is read this often.
export const WATCH_INTERVAL = 30_000;

// A connection needs no ping if a frame came this recently: when a tab comes to the front, and when check() is called.
export const FRESH = 30_000;
export const CHECKED = 2_000;

// After the network has changed, how long the old connection has to answer, and an attempt to open one.
export const WAKE_TIMEOUT = 3_000;
export const STALE_DIAL = 2_000;

// check() dials at once, this many times in a row. After that, once per second.
export const CHECKS = 5;

// After this many refused handshakes in a row, the wait before the next attempt grows to minutes.
export const REFUSALS = 5;

// A post is dropped while this many bytes wait to leave the machine.
export const BACKED_UP = 65_536;

// How many sends may be written and unanswered, and how many of a backlog are written at once.
export const WINDOW = 50;
export const SLICE = 10;

// A send is given up after its connection was lost this many times.
export const LOSSES = 3;

// The hub answers within 29 s or not at all.
export const ANSWERED_WITHIN = 35_000;

// The gateway refuses a frame within this time after it is written. Refused frames are written again after waits that
// double, until it has refused nothing for this long.
export const REFUSED_WITHIN = 2_000;
export const REFUSALS_PASS = 30_000;

// How long messages may wait for one that is missing, and how many.
export const GAP_AFTER = 6_000;
export const EARLY_LIMIT = 1_000;

// How far before its first position a client accepts messages: they were under way when it connected.
export const UNDER_WAY = 100;

// After this time, a fan-out finds a new connection in the hub's index.
export const INDEX_LAG = 5_000;

// How many subscriptions a connection may have. The hub has the same limit.
export const SUBSCRIPTIONS = 100;

// How long a session stays subscribed after its last listener, and how far apart two such sessions may be to share a
// frame.
export const LINGER = 1_000;
export const TOGETHER = 100;

// How often a client sends hello, and how long a subscription waits to learn which session is the client's own.
export const HELLO_INTERVAL = 15 * MINUTE;
export const NAMED_WITHIN = 3_000;

// How long a message is remembered, to drop repetitions.
export const REMEMBERED = 600_000;
