"""The client's own limits, in seconds, beside those that are options."""

MINUTE = 60.0
FOREVER = float("inf")

# A connection that has lasted this long counts as a success, and the next loss starts the backoff from its beginning.
STABLE_AFTER = 5.0

# Timers stand still while a machine sleeps, so hand-overs follow the wall clock, which is read this often.
WATCH_INTERVAL = 30.0
WAKE_TIMEOUT = 3.0

# When check() is called, a connection needs no ping if a frame came this recently. check() dials at most once in this time.
CHECKED = 2.0

# After this many refused handshakes in a row, the wait before the next attempt grows to minutes.
REFUSALS = 5

# A post is dropped while this many bytes wait to leave the machine.
BACKED_UP = 65_536

# How many sends may be written and unanswered, and how many of a backlog are written at once.
WINDOW = 50
SLICE = 10

# A send is given up after its connection was lost this many times.
LOSSES = 3

# The hub answers within 29 s or not at all.
ANSWERED_WITHIN = 35.0

# The gateway refuses a frame within this time after it is written. Refused frames are written again after waits that
# double, until it has refused nothing for this long.
REFUSED_WITHIN = 2.0
REFUSALS_PASS = 30.0

# How long messages may wait for one that is missing, and how many.
GAP_AFTER = 6.0
EARLY_LIMIT = 1_000

# How far before its first position a client accepts messages: they were under way when it connected.
UNDER_WAY = 100

# After this time, a fan-out finds a new connection in the hub's index.
INDEX_LAG = 5.0

# How long a message is remembered, to drop repetitions.
REMEMBERED = 600.0

# How many subscriptions a connection may have. The hub has the same limit.
SUBSCRIPTIONS = 100

# How long a session stays subscribed after its last listener, and how far apart two such sessions may be to share a frame.
LINGER = 1.0
TOGETHER = 0.1

# How often a client sends hello, and how long a subscription waits to learn which session is the client's own.
HELLO_INTERVAL = 15 * MINUTE
NAMED_WITHIN = 3.0
