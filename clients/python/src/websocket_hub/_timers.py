"""Named timers, and a stopwatch that only goes forward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta, timezone

from ._limits import FOREVER


def uptime() -> float:
    """The event loop's time, which stands still while a machine sleeps."""
    return asyncio.get_running_loop().time()


def wall() -> float:
    """Seconds since 1970."""
    return time.time()


def date_in(seconds: float = 0) -> datetime:
    return datetime.fromtimestamp(wall(), timezone.utc) + timedelta(seconds=seconds)


class Timers:
    """Setting a timer again replaces it. All can be stopped at once."""

    def __init__(self) -> None:
        self._handles: dict[Hashable, asyncio.TimerHandle] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._handles

    def set(self, name: Hashable, delay: float, run: Callable[[], object]) -> None:
        self.clear(name)
        if delay == FOREVER:
            return

        def fire() -> None:
            del self._handles[name]
            run()

        self._handles[name] = asyncio.get_running_loop().call_later(max(0.0, delay), fire)

    def clear(self, *names: Hashable) -> None:
        for name in names:
            if handle := self._handles.pop(name, None):
                handle.cancel()

    def clear_all(self) -> None:
        self.clear(*self._handles)


class Stopwatch:
    """Counts seconds, including those in which the machine slept. It never goes back."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._last: tuple[float, float] | None = None

    def __call__(self) -> float:
        now = (wall(), uptime())
        if self._last:
            self._passed += max(now[0] - self._last[0], now[1] - self._last[1])
        self._last = now
        return self._passed
