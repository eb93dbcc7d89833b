"""The sessions with listeners, beside the client's own: subscribes each connection to them, and compares them with the hub's."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any, Protocol

from ._errors import HubError
from ._frames import new_id, to_json
from ._limits import ANSWERED_WITHIN, HELLO_INTERVAL, LINGER, NAMED_WITHIN, REFUSED_WITHIN, SUBSCRIPTIONS, TOGETHER
from ._link import Link
from ._order import Order
from ._timers import Timers, uptime
from ._types import Frame, position_of

NONE = "this hub has no subscriptions"
TOO_MANY = f"a client has at most {SUBSCRIPTIONS} subscriptions"


class Listener(Protocol):
    def changed(self) -> None: ...
    def refused(self, error: HubError) -> None: ...


@dataclasses.dataclass(eq=False)
class Entry:
    """A session with listeners, or one to which the hub may still have the connection subscribed."""

    name: str
    listeners: int = 0
    left: bool = True  # It had no listener at the last request.
    left_at: float | None = None  # When its last listener ended.
    on: bool = False  # The connection is subscribed.
    ready: bool = False  # It is subscribed, or the connection that it replaces is.
    request: Request | None = None  # The pending one.
    error: HubError | None = None  # Why the hub refuses it.
    doubtful: bool = False  # It was refused before, so it is requested alone.
    failures: int = 0

    @property
    def pending(self) -> bool:
        return not self.left and not self.on and not self.error

    @property
    def lingers(self) -> bool:
        """A listener that ends may be replaced at once."""
        return not self.listeners and self.left_at is not None and uptime() - self.left_at < LINGER - TOGETHER


@dataclasses.dataclass(eq=False)
class Request:
    id: str
    action: str
    entries: list[Entry]
    asked_at: float


class Subscriptions:
    def __init__(self, order: Order, listener: Listener) -> None:
        self._order = order
        self._listener = listener
        self._entries: dict[str, Entry] = {}
        self._requests: dict[str, Request] = {}  # Without an answer, by id. A session is in at most one.
        self._link: Link | None = None
        self._off = False  # The hub has no subscriptions.
        self._unnamed = False  # The hub has not named the client's own session in time.
        self._hello: tuple[str, list[Entry]] | None = None  # The pending one's id, and the sessions subscribed when it was sent.
        self._timers = Timers()  # Of this link.
        self._sweeping = Timers()  # Of sessions that have lost their last listener.

    def __contains__(self, session: str) -> bool:
        return session != self._order.joined and session in self._entries and not self._entries[session].left

    def ready(self, session: str) -> bool:
        return session in self._entries and self._entries[session].ready

    def error(self, session: str) -> HubError | None:
        return self._entries[session].error if session in self._entries else None

    def pending(self, session: str | None = None) -> bool:
        """Whether this connection is not yet subscribed to the session, or to any."""
        return any(entry.pending and session in (None, entry.name) for entry in self._others)

    def listen(self, session: str) -> Callable[[], None]:
        """Adds a listener. Returns a function that removes it."""
        if session == self._order.joined:
            return lambda: None
        entry = self._entry(session)
        entry.listeners += 1
        entry.error = None
        entry.left = False
        if self._link:
            # Requests made in one turn of the event loop go in one frame.
            self._timers.set("flush", 0, self._flush)
        ended = False

        def leave() -> None:
            nonlocal ended
            if not ended and self._entries.get(session) is entry:
                entry.listeners -= 1
                try:
                    entry.left_at = uptime()
                    self._sweep_later()
                except RuntimeError:  # No event loop is running: the client is not used yet, or has ended.
                    self._settle(entry)
            ended = True

        return leave

    def use(self, link: Link | None) -> None:
        """From now on, this link is the connection. It has no subscriptions yet."""
        hand_over = link is not None and self._link is not None
        self._link = link
        self._off = False
        self._hello = None
        # Until the hub has answered, the replaced connection has them.
        self._reset(kept=hand_over)
        if link:
            for entry in self._entries.values():
                entry.error, entry.failures = None, 0
            self._hello_later()
        self._proceed()

    def end(self) -> None:
        self._sweeping.clear_all()
        self._entries.clear()

    def answer(self, frame: Frame) -> None:
        request = self._requests.get(frame.get("id", ""))
        if not request:
            return
        on = request.action == "subscribe"
        self._close(request, on)
        for place in frame["sessions"] if on else []:
            if position := position_of(place):
                self._order.stands(place["session"], position, subscribed=True)
        self._proceed()

    def asked(self, id: Any) -> bool:
        return isinstance(id, str) and (id in self._requests or (self._hello is not None and id == self._hello[0]))

    def refuse(self, code: str, text: str, id: Any) -> bool:
        """Returns whether the error is about a subscription, and handled."""
        request = self._requests.get(id) if isinstance(id, str) else None
        if not request or code == "not_connected":
            return request is not None
        if code == "internal" or request.action == "unsubscribe":
            self._again(request)
            return False
        self._close(request, False)
        wanted = [entry for entry in request.entries if entry.listeners]
        if len(request.entries) == 1:
            for entry in wanted:
                self._refuse(entry, code, text)
        else:
            # The hub refuses the whole frame, perhaps for a single session.
            half = (len(wanted) + 1) // 2
            self._ask("subscribe", wanted[:half])
            self._ask("subscribe", wanted[half:])
        self._proceed()
        return True

    def turn_off(self) -> None:
        """The hub has no subscriptions."""
        self._off = True
        self._reset()
        self._proceed()

    def doubt(self, session: str) -> None:
        """The hub has refused a request for history, so the connection may not be subscribed to the session."""
        entry = self._entries.get(session)
        if entry and entry.on and not entry.request:
            entry.on = entry.ready = False
            entry.request = Request(new_id(), "subscribe", [entry], uptime())
            self._again(entry.request)

    def suspect(self) -> None:
        """The gateway has refused a frame without saying which: any recent one."""
        since = uptime() - REFUSED_WITHIN
        for request in self._requests.values():
            if request.asked_at >= since:
                self._again(request)

    def hello(self) -> None:
        """Sends a hello: the answer says what the hub knows of this connection."""
        if not self._link or self._off or "asked" in self._timers:
            return
        id = new_id()
        self._hello = (id, [entry for entry in self._others if entry.on and not entry.request])
        self._timers.set("asked", NAMED_WITHIN, lambda: None)
        self._hello_later()
        self._link.ask(to_json({"action": "hello", "id": id}), "subscriptions")

    def greet(self, frame: Frame) -> None:
        if not self._hello or frame.get("id") != self._hello[0]:
            return
        _, entries = self._hello
        self._hello = None
        self._timers.clear("asked")
        self._order.join(frame["session"])
        for place in frame.get("positions", []):
            if position := position_of(place):
                self._order.stands(place["session"], position)
        # Requests sent since are not in the answer.
        for entry in entries:
            if entry.on and not entry.request and entry.name not in frame["subscriptions"]:
                entry.on = entry.ready = False
        for name in frame["subscriptions"]:
            if name not in self._entries:
                self._entry(name).on = True
        self._proceed()

    @property
    def _others(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.name != self._order.joined]

    def _entry(self, name: str) -> Entry:
        return self._entries.setdefault(name, Entry(name))

    def _sweep_later(self) -> None:
        lingering = [entry.left_at for entry in self._entries.values() if entry.lingers and entry.left_at is not None]
        if lingering and "sweep" not in self._sweeping:
            self._sweeping.set("sweep", min(lingering) + LINGER - uptime(), self._sweep)

    def _sweep(self) -> None:
        self._proceed()
        self._sweep_later()

    def _hello_later(self) -> None:
        self._timers.set("hello", HELLO_INTERVAL * (0.9 + random.random() / 5), self.hello)

    def _flush(self) -> None:
        if not self._link:
            return
        joining = [entry for entry in self._others if entry.listeners and entry.pending and not entry.request]
        if self._off:
            for entry in joining:
                self._refuse(entry, "unknown_action", NONE)
            return
        # The client's own session needs no subscription, but which one that is may not be known yet.
        if joining and self._order.joined is None and not self._unnamed:
            if "name" not in self._timers:
                self._timers.set("name", NAMED_WITHIN, self._go_unnamed)
                self.hello()
            return
        taken = [entry for entry in self._others if entry.on or entry.request]
        most = max(0, SUBSCRIPTIONS - sum(entry.listeners > 0 for entry in taken))
        for entry in joining[most:]:
            self._refuse(entry, "too_many_subscriptions", TOO_MANY)
        joining = joining[:most]
        room = max(0, SUBSCRIPTIONS - len(taken))
        crowded = len(joining) > room
        self._ask("unsubscribe", [e for e in taken if not e.listeners and not e.request and (crowded or not e.lingers)])
        following = joining[:room]
        self._ask("subscribe", [entry for entry in following if not entry.doubtful])
        for entry in following:
            if entry.doubtful:
                self._ask("subscribe", [entry])

    def _go_unnamed(self) -> None:
        self._unnamed = True
        self._flush()

    def _ask(self, action: str, entries: list[Entry]) -> None:
        # A listener to frames or errors may have ended the link.
        if not entries or not self._link:
            return
        request = Request(new_id(), action, entries, uptime())
        self._requests[request.id] = request
        for entry in entries:
            entry.request = request
            if action == "unsubscribe":
                entry.ready, entry.left = False, True
                self._order.end(entry.name)
        self._timers.set(request, ANSWERED_WITHIN, lambda: self._release(request))
        names = [entry.name for entry in entries]
        self._link.ask(to_json({"action": action, "sessions": names, "id": request.id}), "subscriptions")

    def _again(self, request: Request) -> None:
        for entry in request.entries:
            entry.failures += 1
        wait = 2.0 ** min(max(entry.failures for entry in request.entries), 5) * (1 + random.random()) / 2
        self._timers.set(request, wait, lambda: self._release(request))

    def _release(self, request: Request) -> None:
        """The hub may have acted on the request or not. Assumes the opposite of what is wanted now, so that it is requested again."""
        self._close(request, False)
        for entry in request.entries:
            entry.on = not entry.listeners
        self._proceed()

    def _close(self, request: Request, on: bool) -> None:
        self._timers.clear(request)
        self._requests.pop(request.id, None)
        for entry in request.entries:
            entry.on = entry.ready = on
            entry.request = None
            entry.doubtful = entry.doubtful and not on

    def _refuse(self, entry: Entry, code: str, text: str) -> None:
        entry.doubtful = True
        entry.ready = False
        entry.error = HubError(code, text, session=entry.name)
        self._order.reject(entry.name)
        self._listener.refused(entry.error)
        self._listener.changed()

    def _reset(self, kept: bool = False) -> None:
        self._timers.clear_all()
        self._requests.clear()
        for entry in self._entries.values():
            entry.on, entry.ready, entry.request = False, kept and entry.ready, None

    def _proceed(self) -> None:
        self._flush()
        for entry in list(self._entries.values()):
            self._settle(entry)
        self._listener.changed()

    def _settle(self, entry: Entry) -> None:
        """Forgets a session that neither side uses any more."""
        if entry.listeners or entry.on or entry.request or entry.lingers:
            return
        self._entries.pop(entry.name, None)
        if entry.name != self._order.joined:
            self._order.end(entry.name)
