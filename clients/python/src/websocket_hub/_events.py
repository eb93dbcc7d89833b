"""A client's events, and the listeners that they are passed to."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

EVENTS = ("message", "state", "duplicate", "gap", "lost", "error", "frame")

Off = Callable[[], None]


class Traffic(NamedTuple):
    """A raw frame, for debugging. `connection` counts the attempts."""

    direction: Literal["in", "out"]
    connection: int
    data: str


class Listener(NamedTuple):
    event: str
    call: Callable[[Any], object]
    session: str | None


class Listeners:
    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._count = 0
        self._queue: deque[tuple[str, Any]] = deque()

    def on(self, event: str, listener: Callable[[Any], object], session: str | None = None) -> Off:
        """Adds a listener to the events of that type, of one session if it is given. Returns a function that removes it."""
        if event not in EVENTS or not callable(listener) or inspect.iscoroutinefunction(listener):
            raise TypeError(f"on() takes {', '.join(EVENTS)}, and a function that is not async")
        self._count += 1
        number = self._count
        self._listeners[number] = Listener(event, listener, session)

        def off() -> None:
            self._listeners.pop(number, None)

        return off

    def emit(self, event: str, carried: Any) -> None:
        """An event that a listener causes follows the present one: all listeners see the same order."""
        self._queue.append((event, carried))
        if len(self._queue) > 1:
            return
        while self._queue:
            event, carried = self._queue[0]
            for number, listener in list(self._listeners.items()):
                if listener.event != event or number not in self._listeners:
                    continue
                if listener.session is not None and listener.session != carried.session:
                    continue
                try:
                    listener.call(carried)
                except Exception as error:  # A listener's failure is reported to the program, and does not stop the client.
                    context = {"message": f"a listener to {event} failed", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(context)
            self._queue.popleft()
