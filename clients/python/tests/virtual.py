"""Virtual time, which passes only when nothing is left to do, and sockets in memory: no test waits."""

from __future__ import annotations

import asyncio
import json
import selectors
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

URL = "wss://hub.invalid/live"

Result = TypeVar("Result")


class Idle(selectors.SelectSelector):
    """Instead of waiting, it lets the time pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing will ever happen any more")
        self.now += timeout
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.idle = Idle()
        self.slept = 0.0
        super().__init__(self.idle)

    def time(self) -> float:
        return self.idle.now


def run(main: Callable[[], Coroutine[Any, Any, Result]], *, chance: float = 0.5, limit: float = 1e7) -> Result:
    """Runs it in a loop of its own, where `random()` comes to `chance`. What fails in a callback fails the test."""
    loop = Loop()
    failures: list[Any] = []
    loop.set_exception_handler(lambda _, context: failures.append(context.get("exception") or context["message"]))
    begin = float(int(time.time()))
    with mock.patch("random.random", lambda: chance), mock.patch("time.time", lambda: begin + loop.slept + loop.time()):
        try:
            result = loop.run_until_complete(asyncio.wait_for(main(), limit))
            left = asyncio.all_tasks(loop)
            loop.run_until_complete(asyncio.sleep(10))
            assert not asyncio.all_tasks(loop), f"tasks that are left: {left}"
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    assert not failures, failures
    return result


class Socket:
    """One end of a connection: the client's by the methods of a websockets connection, and the hub's by `say` and `cut`."""

    def __init__(self, url: str, protocols: list[str]) -> None:
        self.url = url
        self.protocols = protocols
        self.transport = self
        self.open = True
        self.mute = False
        self.pings = 0
        self.sent: list[Any] = []  # Without pings.
        self.received: Callable[[Any], object] = lambda frame: None
        self.ended: Callable[[], object] = lambda: None
        self._incoming: asyncio.Queue[str | Close | None] = asyncio.Queue()

    async def send(self, data: str) -> None:
        if not self.open:
            raise ConnectionClosedError(None, None)
        frame = json.loads(data)
        if frame == {"action": "ping"}:
            self.pings += 1
            if not self.mute:
                self.say({"type": "pong"})
        else:
            self.sent.append(frame)
            self.received(frame)

    async def recv(self) -> str:
        data = await self._incoming.get()
        if isinstance(data, str):
            return data
        self.open = False
        raise ConnectionClosedError(data, None)

    async def close(self) -> None:
        self.cut(1000)

    def abort(self) -> None:
        self.cut()

    def say(self, frame: Any) -> None:
        if self.open:
            self._incoming.put_nowait(frame if isinstance(frame, str) else json.dumps(frame))

    def cut(self, code: int | None = None, reason: str = "") -> None:
        if self.open:
            self.open = False
            self.ended()
            self._incoming.put_nowait(Close(code, reason) if code else None)


class Network:
    """What clients connect to: `admit` may refuse a handshake by raising, or let it wait."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.attempts: list[tuple[str, list[str]]] = []
        self.refuse: BaseException | None = None
        self.hang = False
        self.opened: Callable[[Socket], Awaitable[None] | None] = lambda socket: None

    async def open(self, url: str, protocols: list[str], options: Mapping[str, Any]) -> Socket:
        self.attempts.append((url, protocols))
        if self.hang:
            await asyncio.get_running_loop().create_future()
        if self.refuse:
            raise self.refuse
        socket = Socket(url, protocols)
        self.sockets.append(socket)
        waiting = self.opened(socket)
        if waiting:
            await waiting
        return socket

    @property
    def last(self) -> Socket:
        return self.sockets[-1]


@contextmanager
def network() -> Iterator[Network]:
    net = Network()
    with mock.patch("websocket_hub._link.open_socket", net.open):
        yield net


def in_time(chance: float = 0.5) -> Callable[[Callable[[Any, Network], Awaitable[None]]], Callable[[Any], None]]:
    """A test with a network of its own, in virtual time."""

    def decorate(test: Callable[[Any, Network], Awaitable[None]]) -> Callable[[Any], None]:
        def in_network(self: Any) -> None:
            with network() as net:

                async def main() -> None:
                    await test(self, net)

                run(main, chance=chance)

        return in_network

    return decorate


def now() -> float:
    return asyncio.get_running_loop().time()


def refusal(status: int) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers()))
