"""Messages for `async for`."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable

from ._errors import HubError
from ._types import Message


class Messages:
    """An asynchronous iterator over new messages. It ends with the client; a client that has failed, and a session that the hub
    refuses, raise their HubError. At most `buffer_limit` messages wait in it; then the oldest are dropped."""

    def __init__(self, limit: int, overflow: Callable[[], None]) -> None:
        self._limit = limit
        self._overflow = overflow
        self._waiting: deque[Message] = deque()
        self._full = False
        self._over = False
        self._error: HubError | None = None
        self._wake: asyncio.Event = asyncio.Event()
        self._release: Callable[[], object] = lambda: None

    def held_until(self, release: Callable[[], object]) -> None:
        """Called when the iterator is closed or no longer used: leaving a loop by `break` does not close it."""
        finalizer = weakref.finalize(self, release)
        finalizer.atexit = False
        self._release = finalizer

    def push(self, message: Message) -> None:
        was_full, self._full = self._full, len(self._waiting) >= self._limit
        if self._full:
            self._waiting.popleft()
        self._waiting.append(message)
        self._wake.set()
        if self._full and not was_full:
            self._overflow()

    def end(self, error: HubError | None) -> None:
        self._over = True
        self._error = error
        self._wake.set()

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        while not self._waiting:
            if self._over:
                self._release()
                if self._error:
                    raise self._error
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self._waiting.clear()
        self.end(None)
        self._release()
