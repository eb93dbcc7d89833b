"""Which messages have come before, so that repetitions are dropped."""

from __future__ import annotations

from collections.abc import Hashable

from ._limits import REMEMBERED


class Recent:
    """Remembers keys for ten minutes from their first time, in two generations: an old one is dropped as a whole."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._current: dict[Hashable, float] = {}
        self._previous: dict[Hashable, float] = {}
        self._turned_at = 0.0

    def has_come(self, key: Hashable, now: float) -> bool:
        """Whether it has come within that time. From now on it has."""
        came_at = self._current.get(key, self._previous.get(key))
        if came_at is not None and now - came_at < REMEMBERED:
            return True
        if len(self._current) >= self._limit or now - self._turned_at > REMEMBERED:
            self._previous, self._current = self._current, {}
            self._turned_at = now
        self._current[key] = now
        return False
