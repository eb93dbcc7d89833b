// How long and how often: the client's own limits, beside those that are options. Bundlers write them where they are used.

export const SECOND = 1_000;
export const MINUTE = 60_000;

// A connection that has lasted this long counts as a success, and the next loss starts the backoff from its beginning.
export const STABLE_AFTER = 5_000;

// Timers stand still while a machine sleeps, so hand-overs go by the wall clock, which is looked at this often.
export const WATCH_INTERVAL = 30_000;

// What was heard this lately needs no ping: when a tab comes to the front, and when check() is called.
export const FRESH = 30_000;
export const CHECKED = 2_000;

// After the network has changed, the old connection has this long to answer, and an attempt to get somewhere.
export const WAKE_TIMEOUT = 3_000;
export const STALE_DIAL = 2_000;

// check() dials at once, this often in a row. Then it is once a second.
export const CHECKS = 5;

// After this many refused handshakes in a row, the next one is unlikely to fare better.
export const REFUSALS = 5;

// A post is dropped while this many bytes wait to leave the machine.
export const BACKED_UP = 65_536;

// How many sends may be written and unanswered, and how many of a backlog are written at once.
export const WINDOW = 50;
export const SLICE = 10;

// A send that has gone down with this many connections is given up.
export const LOSSES = 3;

// The hub answers within 29 s, or never.
export const ANSWERED_WITHIN = 35_000;

// The gateway refuses a frame within this time of its being written. What it refuses is written again after waits that
// double, until it has refused nothing for this long.
export const REFUSED_WITHIN = 2_000;
export const REFUSALS_PASS = 30_000;

// How long messages may wait for one that is missing, and how many.
export const GAP_AFTER = 6_000;
export const EARLY_LIMIT = 1_000;

// How far before its first position a client still takes messages, which were under way when it came.
export const UNDER_WAY = 100;

// By now, fan-outs find a connection in the hub's index.
export const INDEX_LAG = 5_000;

// How many sessions beside its own a connection may hear. The hub has the same limit.
export const SUBSCRIPTIONS = 100;

// How long a session that nothing listens to any more stays subscribed, and what is left within which time goes in one frame.
export const LINGER = 1_000;
export const TOGETHER = 100;

// How often a client asks what the hub knows of it, and how long a subscription waits for the client's name.
export const HELLO_INTERVAL = 15 * MINUTE;
export const NAMED_WITHIN = 3_000;

// How long a message is remembered, so that it is not told again.
export const REMEMBERED = 600_000;
