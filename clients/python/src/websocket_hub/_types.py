"""The types of the client's arguments and results."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ._errors import HubError

Json = Any

# As an argument: the value of the client's option.
Standard = Literal["standard"]
Frame = dict[str, Any]


class Position(NamedTuple):
    """A place in a session's messages. As JSON it is a list of the two. Only the hub that it comes from understands it."""

    #: Changes when the history begins anew.
    epoch: str
    #: 1 for a session's first message. Not every offset has a message.
    offset: int


@dataclasses.dataclass(frozen=True)
class Message:
    id: str
    #: The sender's session; None for a backend.
    sender: str | None
    #: The session that the message was sent to; None if the client does not know its own yet.
    session: str | None
    #: The content: any JSON.
    data: Json
    #: Its place in the session's history; None if the hub has not stored it.
    position: Position | None
    #: Whether it was not delivered, but fetched from the history.
    missed: bool
    #: When the hub sent it, by the hub's clock; None if it does not say.
    sent_at: datetime | None
    #: When it arrived, by this machine's clock.
    received_at: datetime


@dataclasses.dataclass(frozen=True)
class Count:
    """The outcome of a message in one of its sessions."""

    session: str
    delivered: int
    #: Connections that no longer exist.
    gone: int
    #: Connections that could not be reached in time.
    failed: int
    #: False if not every connection could be reached or counted.
    complete: bool
    #: The message's place in the session's history, if the hub has stored it.
    position: Position | None

    @property
    def reached(self) -> bool:
        return self.complete and self.delivered > 0 and not self.failed


@dataclasses.dataclass(frozen=True)
class Receipt:
    """The outcome of a message. All zeros: no connection has joined those sessions."""

    id: str
    delivered: int
    gone: int
    failed: int
    complete: bool
    #: In the order asked for.
    sessions: tuple[Count, ...]

    @property
    def reached_all(self) -> bool:
        """Whether the message reached every session, and every connection of them."""
        return self.complete and all(count.reached for count in self.sessions)


@dataclasses.dataclass(frozen=True)
class History:
    """Messages from the history: at most 100, and about 30 KiB."""

    session: str
    #: The session's newest position.
    position: Position
    messages: tuple[Message, ...]
    #: Whether there are more after the last of these.
    more: bool
    #: With `after`: whether no message is missing between that position and the last of these.
    complete: bool | None


@dataclasses.dataclass(frozen=True)
class Missing:
    """Messages of a session are missing: some after `start` (None if there was no position yet), up to `end`."""

    session: str
    start: Position | None
    end: Position


StateName = Literal["connecting", "open", "waiting", "failed", "closed"]


@dataclasses.dataclass(frozen=True)
class State:
    """A snapshot; each change makes a new one. `failed` and `closed` are final."""

    name: StateName
    since: datetime
    #: Why it is not open, in words and as an error, if known.
    reason: str | None = None
    error: HubError | None = None
    #: Attempts since the last connection that lasted for 5 s.
    attempt: int = 0
    #: Handshakes with a token that were refused, in a row.
    refused: int = 0
    #: When the next attempt is due, while waiting for one.
    retry_at: datetime | None = None
    #: When the token of the open connection expires, if known.
    expires_at: datetime | None = None


@dataclasses.dataclass
class Stats:
    """So far: `connections` opened, `handovers` among them, frames `resent`, `duplicates` dropped, and posts `dropped`."""

    connections: int = 0
    handovers: int = 0
    resent: int = 0
    duplicates: int = 0
    dropped: int = 0


class Token(NamedTuple):
    """A token that does not hold its own expiry."""

    token: str
    expires_at: datetime | float | None = None


class TokenRequest(NamedTuple):
    """The argument of a function that returns tokens, if it takes one."""

    #: Attempts since the last stable connection; 0 for the first.
    attempt: int
    #: How many handshakes with a token were refused in a row. If there are any, do not return a cached token.
    refused: int


TokenAnswer = str | Token | None
TokenSource = str | Callable[[], TokenAnswer | Awaitable[TokenAnswer]] | Callable[[TokenRequest], TokenAnswer | Awaitable[TokenAnswer]]
UrlSource = str | Callable[[], str | Awaitable[str]]
Positions = Mapping[str, Position | Mapping[str, Any] | list[Any] | None]


def position_of(frame: Mapping[str, Any]) -> Position | None:
    epoch, offset = frame.get("epoch"), frame.get("offset")
    return Position(epoch, offset) if isinstance(epoch, str) and isinstance(offset, int) else None
