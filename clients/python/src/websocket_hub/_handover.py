"""When a connection is replaced, when its token is renewed, and how long it stays open beside the next one."""

from __future__ import annotations

import random
from collections.abc import Callable

from ._limits import FOREVER, MINUTE, WATCH_INTERVAL
from ._link import Link
from ._options import Options


def plan(link: Link, now: float, up: float, options: Options) -> None:
    """For a link that has just opened."""
    # Up to a tenth early, so that clients that connected together do not hand over together.
    link.replace_at = now + (options.handover_after or FOREVER) * (1 - random.random() / 10)
    left = link.ends_at - now
    early = min(MINUTE, left / 4) + random.random() * min(MINUTE, left / 10)
    link.renew_at = max(now + 1, link.ends_at - early) if left < FOREVER else FOREVER
    link.seen = (now, up)


def is_due(link: Link, now: float) -> bool:
    return now >= min(link.replace_at, link.renew_at)


def next_look(link: Link, now: float) -> float:
    """The time until the link is looked at again."""
    return min(at for at in (link.replace_at, link.renew_at, link.ends_at, now + WATCH_INTERVAL) if at > now) - now


def has_slept(link: Link, now: float, up: float) -> bool:
    """Whether the machine was asleep since the last look: the timers stood still."""
    passed, ran = now - link.seen[0], up - link.seen[1]
    link.seen = (now, up)
    return passed - ran > WATCH_INTERVAL or passed > 3 * WATCH_INTERVAL


def gains_nothing(link: Link, following: Link, now: float) -> bool:
    """Whether the following link would only present the same token again. The next attempt is then halfway to its expiry."""
    if now >= link.replace_at or following.expires > link.expires:
        return False
    link.renew_at = now + max(1.0, (link.ends_at - now) / 2)
    return True


def retire(link: Link, now: float, options: Options, settle: Callable[[], object]) -> None:
    """Calls `settle` when a replaced link may end: after the overlap, and when its token has expired."""
    link.timers.clear("watch")
    # The hub sends nothing to a connection whose token has expired.
    left = max(0.0, link.ends_at - now)
    link.timers.set("overlap", min(options.handover_overlap, left), settle)
    # A timer may fire a little early.
    link.timers.set("end", left + 0.1, settle)
