"""One socket: what is written to it and read from it, whether the hub still answers, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ._limits import FOREVER, REFUSALS_PASS
from ._options import Options
from ._timers import Timers, uptime

# How long the hub may take to answer a closing handshake.
CLOSE_TIMEOUT = 1.0


@dataclasses.dataclass(frozen=True)
class Loss:
    """Why a connection has ended. Without a close code, it was the client that gave up."""

    reason: str
    code: int | None = None
    cause: BaseException | None = None

    @property
    def may_be_refusal(self) -> bool:
        return isinstance(self.cause, InvalidStatus) and self.cause.response.status_code in (401, 403)


class Events(Protocol):
    def heard(self, link: Link, data: str | bytes) -> None: ...
    def wrote(self, link: Link, data: str) -> None: ...
    def lost(self, link: Link, loss: Loss) -> None: ...


async def open_socket(url: str, protocols: list[str], options: Mapping[str, Any]) -> ClientConnection:
    # The hub has a ping of its own; the WebSocket protocol's would only be billed.
    standard = {"open_timeout": None, "ping_interval": None, "close_timeout": CLOSE_TIMEOUT}
    offered = [Subprotocol(name) for name in protocols]
    return await connect(url, subprotocols=offered or None, **{**standard, **options})


class Link:
    """Once it has ended, it ignores its socket."""

    def __init__(self, number: int, options: Options, events: Events) -> None:
        self.number = number
        self.timers = Timers()
        self.ended = False
        self.presented = False  # With a token.
        self.admitted = False  # The handshake has succeeded.
        # When its token expires: by its own claim, and by the stopwatch.
        self.expires = self.ends_at = FOREVER
        # When it is to be replaced for its age, and for its token's end.
        self.replace_at = self.renew_at = FOREVER
        self.seen = (0.0, 0.0)
        self.dialed_at: float | None = None
        self.heard_at = -FOREVER
        self.rtt: float | None = None  # From the last ping to the next frame.
        self.asked = {"history": 0, "subscriptions": 0}  # Requests without an answer.
        self.unknown = 0  # How many of them were answered by `unknown_action`.
        self.task: asyncio.Task[None] | None = None
        self._options = options
        self._events = events
        self._socket: ClientConnection | None = None
        self._outgoing: deque[str] = deque()
        self._more = asyncio.Event()
        self._pinged_at = self._pong_at = 0.0
        self._refusals = 0  # Recent ones, by the gateway.
        self._refused_at = -FOREVER

    def open(self, url: str, protocols: list[str]) -> None:
        self.expect("connect_timeout")
        self.task = asyncio.create_task(self._run(url, protocols))

    async def _run(self, url: str, protocols: list[str]) -> None:
        try:
            self._socket = socket = await open_socket(url, protocols, self._options.socket_options)
        except Exception as error:  # Of the network, TLS or the handshake: each ends this attempt, but not the client.
            self._events.lost(self, Loss(str(error) or type(error).__name__, 1006, error))
            return
        self.admitted = True
        writer = asyncio.create_task(self._write_all(socket))
        try:
            # A gateway may accept connections while the hub behind it is being deployed: only the hub's answer counts.
            self.expect("connect_timeout")
            self.ping()
            while True:
                data = await socket.recv()
                if self.ended:
                    continue
                if "pong" in self.timers:
                    self.rtt = uptime() - self._pinged_at
                self.timers.clear("pong", "doubt")
                try:
                    self._events.heard(self, data)
                except Exception as error:  # A frame that cannot be read does not end the connection.
                    context = {"message": "a frame from the hub could not be read", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(context)
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            if not self.ended:
                self._events.lost(self, Loss(f"{code} {reason}".strip(), code))
        finally:
            if not self.ended:
                writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _write_all(self, socket: ClientConnection) -> None:
        """Until the link has ended and everything is written; then the socket is closed."""
        with contextlib.suppress(ConnectionClosed):
            while self._outgoing or not self.ended:
                if self._outgoing:
                    await socket.send(self._outgoing[0])
                    self._outgoing.popleft()
                else:
                    self._more.clear()
                    await self._more.wait()
            await socket.close()

    @property
    def backlog(self) -> int:
        """How many characters wait to leave the machine."""
        return sum(map(len, self._outgoing))

    def write(self, data: str) -> None:
        self._ping_in_time()
        self._outgoing.append(data)
        self._more.set()
        self._events.wrote(self, data)

    def ask(self, data: str, about: str | None = None) -> None:
        """Writes a request: if no answer follows, the connection may be dead."""
        if about:
            self.asked[about] += 1
        self.doubt()
        self.write(data)

    def doubt(self) -> None:
        if "doubt" not in self.timers:
            self.timers.set("doubt", self._options.pong_timeout, self.ping)

    def ping(self, within: float | None = None) -> None:
        if not self.admitted or self.ended:
            return
        within = self._options.pong_timeout if within is None else within
        now = uptime()
        pending = "pong" in self.timers
        self._ping_in_time()
        if pending and self._pong_at <= now + within:
            return
        self._pong_at = now + within
        self.timers.set("pong", within, lambda: self._events.lost(self, Loss("the hub does not answer")))
        if not pending:
            self._pinged_at = now
            self.write('{"action":"ping"}')

    def _ping_in_time(self) -> None:
        self.timers.set("ping", self._options.ping_interval or FOREVER, self.ping)

    def ping_later(self, repeat: Callable[[], None]) -> None:
        """The gateway has refused a frame, perhaps a ping. After a while, the ping and what was written are repeated."""
        if "again" in self.timers:
            return
        now = uptime()
        self._refusals = min(self._refusals + 1, 5) if now - self._refused_at < REFUSALS_PASS else 0
        self._refused_at = now

        def again() -> None:
            self.ping()
            repeat()

        self.timers.set("again", 0.25 * 2**self._refusals * (1 + random.random()), again)

    def end(self, silent: bool = False) -> None:
        """A hub that is silent would not answer a closing handshake either: the socket is cut."""
        self.ended = True
        self.timers.clear_all()
        self._more.set()
        if self.task and not self._socket and self.task is not asyncio.current_task():
            self.task.cancel()
        elif self._socket and silent:
            self._socket.transport.abort()
        elif self._socket:
            asyncio.get_running_loop().call_later(2 * CLOSE_TIMEOUT, self._socket.transport.abort)

    def expect(self, option: str) -> None:
        """Each step on the way to a connection may take as long as its option says."""
        lost = Loss(f"no answer in time ({option})")
        self.timers.set("step", getattr(self._options, option), lambda: self._events.lost(self, lost))
