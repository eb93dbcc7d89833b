"""How long the client waits before it reconnects."""

from __future__ import annotations

import dataclasses
import random

from ._limits import MINUTE, REFUSALS
from ._link import Link
from ._options import Options


@dataclasses.dataclass
class Failures:
    """The attempts since a connection last counted as a success, and the handshakes refused in a row."""

    attempt: int = 0
    refused: int = 0


def next_attempt(failures: Failures, link: Link, refused: bool, options: Options) -> float:
    """Counts a failed attempt, or a lost connection. Returns the time to the next attempt."""
    if link.presented:
        failures.refused = failures.refused + 1 if refused else 0
    bound = min(options.backoff_max, options.backoff_base * 2.0**failures.attempt)
    failures.attempt = min(failures.attempt + 1, 1_000)
    # Full jitter: clients that were cut together spread out.
    if not refused or failures.refused < REFUSALS:
        return random.random() * bound
    rare = min(options.refused_retry, MINUTE * 2.0 ** min(failures.refused - REFUSALS, 20))
    return rare * (1 + random.random()) / 2
