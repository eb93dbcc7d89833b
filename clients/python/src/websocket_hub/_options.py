"""The client's options: their defaults, their bounds and their checks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from ._limits import MINUTE
from ._types import Position, Positions, TokenSource, UrlSource

# Visible ASCII without * " and \
SESSION = re.compile(r"[!#-)+-\[\]-~]{1,128}")

# The least value of each option that is a number, and whether None switches it off.
NUMBERS = {
    "ttl": (0.001, True),
    "queue_limit": (1, False),
    "buffer_limit": (1, False),
    "max_frame_bytes": (128, False),
    "ping_interval": (10, True),
    "pong_timeout": (1, False),
    "connect_timeout": (1, False),
    "token_timeout": (1, False),
    "backoff_base": (0.1, False),
    "backoff_max": (1, False),
    "refused_retry": (1, False),
    "handover_after": (60, True),
    "handover_overlap": (0, False),
    "dedupe_limit": (1, False),
}


@dataclasses.dataclass(frozen=True)
class Options:
    url: UrlSource
    session: str | None = None
    token: TokenSource | None = None
    token_in: Literal["protocol", "query"] = "protocol"
    history: bool = True
    positions: Positions | None = None
    ordered: bool = False
    socket_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ttl: float | None = MINUTE
    queue_limit: int = 256
    buffer_limit: int = 1_000
    # API Gateway closes the socket on a larger frame.
    max_frame_bytes: int = 32 * 1024
    # API Gateway closes a socket after 10 idle minutes; many routers forget one after about 5.
    ping_interval: float | None = 4 * MINUTE
    pong_timeout: float = 10
    connect_timeout: float = 15
    token_timeout: float = 30
    backoff_base: float = 0.5
    backoff_max: float = 30
    refused_retry: float = 5 * MINUTE
    # API Gateway closes every socket after 2 hours.
    handover_after: float | None = 115 * MINUTE
    # A fan-out that read the index just before may post to the old connection for 29 s.
    handover_overlap: float = 35
    dedupe_limit: int = 10_000
    #: `positions`, without those that are None.
    known: dict[str, Position] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.url):
            object.__setattr__(self, "url", check_url(self.url))
        if self.session is not None or self.token is None:
            check_session(self.session)
        if self.token is not None and not isinstance(self.token, str) and not callable(self.token):
            raise TypeError("token must be a string or a function")
        if self.token_in not in ("protocol", "query"):
            raise ValueError('token_in must be "protocol" or "query"')
        for name in NUMBERS:
            check_number(name, getattr(self, name))
        for name in ("history", "ordered"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False")
        known = {name: check_position(given) for name, given in (self.positions or {}).items() if given is not None}
        for name in known:
            check_session(name)
        object.__setattr__(self, "known", known)


def check_number(name: str, value: Any) -> None:
    least, can_be_off = NUMBERS[name]
    if value is None and can_be_off:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ValueError(f"{name} must be a number from {least}{', or None' if can_be_off else ''}")


def check_session(name: Any) -> str:
    if not isinstance(name, str) or not SESSION.fullmatch(name):
        raise ValueError('session must be 1 to 128 visible ASCII characters, without * " and \\')
    return name


def check_position(given: Any) -> Position:
    """A Position from itself or from JSON, also that of the JavaScript client."""
    try:
        epoch, offset = (given["epoch"], given["offset"]) if isinstance(given, Mapping) else given
    except (KeyError, TypeError, ValueError):
        epoch = offset = None
    if not isinstance(epoch, str) or not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise ValueError("a position must be an epoch, and an offset from 0")
    return Position(epoch, offset)


def check_url(url: Any) -> str:
    """The address without its fragment, which a socket's address may not have."""
    text = str(url).partition("#")[0]
    if not re.match(r"wss?://[^\s/?]+(/|\?|$)", text, re.IGNORECASE):
        raise ValueError("url must look like wss://host/stage, or ws:// on this machine")
    return text
