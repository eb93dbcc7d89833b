"""How long and how often, in seconds: the client's own limits, beside those that are options."""

MINUTE = 60.0
FOREVER = float("inf")

# A connection that has lasted this long counts as a success, and the next loss starts the backoff from its beginning.
STABLE_AFTER = 5.0

# Timers stand still while a machine sleeps, so hand-overs go by the wall clock, which is looked at this often.
WATCH_INTERVAL = 30.0
WAKE_TIMEOUT = 3.0

# What was heard this lately needs no ping when check() is called, which dials at most once in this time.
CHECKED = 2.0

# After this many refused handshakes in a row, the next one is unlikely to fare better.
REFUSALS = 5

# A post is dropped while this many bytes wait to leave the machine.
BACKED_UP = 65_536

# How many sends may be written and unanswered, and how many of a backlog are written at once.
WINDOW = 50
SLICE = 10

# A send that has gone down with this many connections is given up.
LOSSES = 3

# The hub answers within 29 s, or never.
ANSWERED_WITHIN = 35.0

# The gateway refuses a frame within this time of its being written. What it refuses is written again after waits that
# double, until it has refused nothing for this long.
REFUSED_WITHIN = 2.0
REFUSALS_PASS = 30.0

# How long messages may wait for one that is missing, and how many.
GAP_AFTER = 6.0
EARLY_LIMIT = 1_000

# How far before its first position a client still takes messages, which were under way when it came.
UNDER_WAY = 100

# By now, fan-outs find a connection in the hub's index.
INDEX_LAG = 5.0

# How long a message is remembered, so that it is not told again.
REMEMBERED = 600.0

# How many sessions beside its own a connection may hear. The hub has the same limit.
SUBSCRIPTIONS = 100

# How long a session that nothing listens to any more stays subscribed, and how much less for what is left soon after another.
LINGER = 1.0
TOGETHER = 0.1

# How often a client asks what the hub knows of it, and how long a subscription waits for the client's name.
HELLO_INTERVAL = 15 * MINUTE
NAMED_WITHIN = 3.0
