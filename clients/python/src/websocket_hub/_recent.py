"""Remembers recent messages, so that repetitions are dropped."""

from __future__ import annotations

from collections.abc import Hashable

from ._limits import REMEMBERED


class Recent:
    """Remembers keys for ten minutes after they were first seen. They are in two maps, of which the older one is dropped as a whole."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._current: dict[Hashable, float] = {}
        self._previous: dict[Hashable, float] = {}
        self._turned_at = 0.0

    def has_come(self, key: Hashable, now: float) -> bool:
        """Whether the key was seen within that time. Notes that it is seen now."""
        came_at = self._current.get(key, self._previous.get(key))
        if came_at is not None and now - came_at < REMEMBERED:
            return True
        if len(self._current) >= self._limit or now - self._turned_at > REMEMBERED:
            self._previous, self._current = self._current, {}
            self._turned_at = now
        self._current[key] = now
        return False
