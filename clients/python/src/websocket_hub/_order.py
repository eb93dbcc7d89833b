"""Puts each session's messages in order: early ones wait, missing ones are requested, repeated ones are dropped."""

from __future__ import annotations

import dataclasses
import random
from typing import Any, Protocol

from ._frames import new_id, to_json
from ._limits import EARLY_LIMIT, FOREVER, GAP_AFTER, INDEX_LAG, MINUTE, UNDER_WAY
from ._link import Link
from ._options import Options
from ._timers import Timers, uptime
from ._types import Frame, Missing, Position, position_of


class Listener(Protocol):
    def tell(self, frame: Frame, missed: bool) -> None: ...
    def repeated(self, frame: Frame) -> None: ...
    def missing(self, event: str, missing: Missing) -> None: ...
    def subscribes(self, session: str) -> bool: ...
    def pending(self, session: str) -> bool: ...
    @property
    def link(self) -> Link | None: ...
    @property
    def stopped(self) -> bool: ...


class Order:
    def __init__(self, options: Options, listener: Listener) -> None:
        self.off = not options.history  # The hub has no history, or the option is off: messages are passed on as they arrive.
        self.joined = options.session  # The client's own session, from the options or from the hub.
        self._positions = dict(options.known)
        self._listener = listener
        self._sequences: dict[str, Sequence] = {}
        self._link: Link | None = None
        # If only the token names the session, it may be one of those with a position.
        for name in [self.joined] if self.joined else list(self._positions):
            if not self.off:
                self._sequences[name] = Sequence(name, self._positions.pop(name, None), listener)

    @property
    def own(self) -> str | None:
        """The client's own session, as far as it is known."""
        if self.joined is not None:
            return self.joined
        names = (name for name, one in self._sequences.items() if not one.refused and not self._listener.subscribes(name))
        return next(names, None)

    def join(self, session: str) -> None:
        self.joined = self.joined or session
        if not self.off:
            self._sequence(self.joined)

    def position(self, session: str | None) -> Position | None:
        sequence = self._sequences.get(session or self.own or "")
        return sequence.position if sequence else None

    def use(self, link: Link | None) -> None:
        """From now on, requests go over this link, first those for missed messages. Without a link there are none."""
        self._link = link
        for sequence in list(self._sequences.values()):
            # A listener to frames may have ended the link.
            if self._link is not link:
                return
            subscription = self._listener.subscribes(sequence.session)
            # Until this connection is subscribed, the one that it replaces answers.
            if not link or not subscription or not sequence.has_link:
                sequence.use(link, ask=not subscription)

    def stands(self, session: str, position: Position, subscribed: bool = False) -> None:
        """The hub has reported a session's newest offset, in an answer about something else."""
        if self.off or (session != self.joined and not self._listener.subscribes(session)):
            return
        sequence = self._sequence(session)
        if subscribed:
            sequence.use(self._link)
        sequence.stands(position, subscribed)

    def end(self, session: str) -> None:
        """No more messages of this session are passed on."""
        if sequence := self._sequences.pop(session, None):
            sequence.use(None)

    def message(self, frame: Frame) -> None:
        session = frame["session"]
        # A message that was under way when its session was unsubscribed has no place in an order.
        known = session is not None and (self.joined in (None, session) or self._listener.subscribes(session))
        if known and not self.off and position_of(frame):
            self._sequence(session).message(frame)
        else:
            self._listener.tell(frame, False)

    def answer(self, frame: Frame) -> bool:
        """Returns whether this is the answer to a request of a sequence."""
        sequence = self._asking(frame.get("id"))
        if sequence:
            sequence.answer(frame)
        return sequence is not None

    def refuse(self, id: Any) -> str | None:
        """The hub refuses this request, and will refuse it again over this link. If it is about a subscription, returns the session."""
        sequence = self._asking(id)
        if sequence and self._listener.subscribes(sequence.session):
            return sequence.session
        if sequence:
            sequence.refuse()
        return None

    def reject(self, session: str) -> None:
        """The hub will refuse requests about this session."""
        if sequence := self._sequences.get(session):
            sequence.refuse()

    def turn_off(self) -> None:
        """The hub has no history."""
        self.off = True
        for sequence in self._sequences.values():
            sequence.refuse()
        self._sequences.clear()

    def _asking(self, id: Any) -> Sequence | None:
        return next((sequence for sequence in self._sequences.values() if sequence.question and sequence.question == id), None)

    def _sequence(self, session: str) -> Sequence:
        sequence = self._sequences.get(session)
        if not sequence:
            # A stored position is used once: a later subscription begins with new messages.
            sequence = self._sequences[session] = Sequence(session, self._positions.pop(session, None), self._listener)
            if self._link:
                sequence.use(self._link, ask=not self._listener.subscribes(session))
        return sequence


@dataclasses.dataclass
class Early:
    """A message that waits for earlier ones."""

    frame: Frame
    at: float
    missed: bool = False


class Sequence:
    """The messages of one session."""

    def __init__(self, session: str, position: Position | None, listener: Listener) -> None:
        self.session = session
        self.position = position  # All messages up to it have been passed on, or will not come.
        self.question: str | None = None  # The id of the pending request.
        self._listener = listener
        self._timers = Timers()
        self._link: Link | None = None
        self.refused = False  # This link brings no answers, so no message waits.
        self._early: dict[int, Early] = {}  # By offset, in order of arrival, all of one epoch.
        self._hub_at: float = 0  # The hub has messages up to this offset; FOREVER: perhaps.
        # The last offset that was passed on: messages between it and the position may still be under way.
        self._told = position.offset if position else 0
        self._lost_to: Position | None = None  # Up to here, missing messages have been reported as lost.
        self._asks_from: Position | None = None  # The position in the pending request.
        self._asked_at = 0.0  # When that was first sent.
        self._answered_at = -FOREVER
        self._asked = 0  # Requests since an answer last moved the position.
        self._helped_at = 0.0  # When an answer last moved the position.

    def use(self, link: Link | None, ask: bool = False) -> None:
        """Requests missed messages, unless the hub is about to report the newest offset, as it does for a subscription."""
        self._link = link
        self._timers.clear_all()
        if not link:
            return
        self._helped_at = uptime()
        self._asked = 0
        self.question = None
        self.refused = False
        if ask:
            # A fan-out that read the index just before does not know this connection.
            self._timers.set("again", INDEX_LAG, self._catch_up)
            self._catch_up()
        self._next()

    def stands(self, place: Position, subscribed: bool) -> None:
        """Newer messages may be under way, but not if the connection has just subscribed: then they are requested."""
        if not self.position:
            self.answer({"epoch": place.epoch, "offset": place.offset, "more": False, "messages": []})
        elif place == self.position or (place.epoch == self.position.epoch and not subscribed):
            self._hub_at = place.offset
            self._next()
        else:
            self._catch_up()

    @property
    def has_link(self) -> bool:
        return self._link is not None and not self._link.ended

    def refuse(self) -> None:
        self.refused = True
        self.question = None
        self._timers.clear_all()
        self._next()

    def message(self, frame: Frame) -> None:
        epoch, offset = frame["epoch"], frame["offset"]
        if self.position and self.position.epoch == epoch and offset <= self.position.offset:
            if offset <= self._told:
                self._listener.repeated(frame)
                return
            # It was under way when the hub reported the newest offset, or when it was reported as lost.
            self._hub_at = max(self._hub_at, self.position.offset)
            self.position = Position(epoch, offset - 1)
            self.question = None
        if self._other(epoch):
            # Only the hub knows which of the two epochs is current.
            if self._early:
                self._hub_at = FOREVER
            self._early.clear()
            self.question = None
        if offset in self._early:
            self._listener.repeated(frame)
            return
        # Messages beyond the limit are requested later.
        if len(self._early) < EARLY_LIMIT or (self.position and offset == self.position.offset + 1):
            self._early[offset] = Early(frame, uptime())
        else:
            self._hub_at = FOREVER
        self._next()

    def answer(self, answer: Frame) -> None:
        epoch, offset, more, messages = answer["epoch"], answer["offset"], answer["more"], answer["messages"]
        before = self.position
        self.question = None
        self._answered_at = uptime()
        if self._other(epoch):
            self._early.clear()
        if not before:
            self._begin(Position(epoch, offset))
        elif messages or not more:
            self._fill(Position(epoch, offset), more, answer.get("complete"), messages)
        helped = self.position != before
        if helped:
            self._helped_at = self._answered_at
            self._asked = 0
        self._hub_at = FOREVER if more else offset
        if more and self._link:
            if helped:
                self._ask()
            else:
                # The message of the next offset may still be written.
                self._ask_in(1)
        self._next()

    def _begin(self, place: Position) -> None:
        self.position = place
        self._told = max(0, place.offset - UNDER_WAY)
        # Messages from before this position that have already arrived move it back.
        self._release(0)

    def _fill(self, stands: Position, more: bool, complete: bool | None, messages: list[Frame]) -> None:
        """Takes the missing messages from an answer, and passes them on with those that waited for them."""
        before = self.position
        assert before
        anew = stands.epoch != before.epoch or (
            complete is False and self._asks_from is not None and stands.offset < self._asks_from.offset
        )
        if anew:
            self.position = Position(stands.epoch, 0)
            self._told = 0
        assert self.position
        for frame in messages:
            if frame["offset"] > self.position.offset and frame["offset"] not in self._early:
                self._early[frame["offset"]] = Early(frame, self._answered_at, missed=True)
        end = Position(stands.epoch, messages[-1]["offset"] if more else stands.offset)
        known = max(before.offset, self._lost_to.offset if self._lost_to and self._lost_to.epoch == stands.epoch else 0)
        if complete is False and (anew or end.offset > known):
            self._lost_to = end
            # The position moves past the loss, so that a client that continues from here does not report it again.
            least = min(end.offset, self._first - 1) if self._early else end.offset
            if least > self.position.offset:
                self.position = Position(stands.epoch, least)
            self._listener.missing("lost", Missing(self.session, before, end))
        self._release(end.offset)

    @property
    def _first(self) -> int:
        return min(self._early)

    @property
    def _oldest(self) -> Early | None:
        return next(iter(self._early.values()), None)

    def _other(self, epoch: str | None) -> bool:
        early = self._oldest
        known = early.frame["epoch"] if early else self.position and self.position.epoch
        return known is not None and known != epoch

    def _release(self, to: int) -> None:
        """Passes on the next messages until one is missing; up to the offset `to`, whatever is missing."""
        while True:
            epoch, offset = self.position or ("", 0)
            reached = max(to, offset)
            if not self._early or self._first > reached + 1:
                if reached > offset:
                    self.position = Position(epoch, reached)
                return
            if self._listener.stopped:
                return
            first = self._first
            early = self._early.pop(first)
            self._told = first
            self.position = Position(early.frame["epoch"], first)
            self._listener.tell(early.frame, early.missed)

    def _next(self) -> None:
        """Passes on the next messages, and sets the timers to request missing ones and to stop waiting for them."""
        while self.refused and self._early and not self._listener.stopped:
            self._skip()
        if self.position and not self._other(self.position.epoch):
            self._release(0)
        if not self._link or self.refused:
            return
        early = self._oldest
        if not early:
            self._timers.clear("gap")
            if self._hub_at <= (self.position.offset if self.position else 0):
                self._timers.clear("ask")
                return
        else:
            # A new gap. All clients of the session may see it, so each requests it after a random wait.
            if "gap" not in self._timers:
                self._asked = 0
                self._timers.clear("ask")
            since = max(early.at, self._helped_at)
            self._timers.set("gap", since + GAP_AFTER - uptime(), self._give_up)
        if "ask" not in self._timers:
            self._ask_in(0.5 + random.random())

    def _give_up(self) -> None:
        early = self._oldest
        if not early:
            return
        # Until the session is subscribed, the hub refuses requests.
        if self._listener.pending(self.session):
            self._timers.set("gap", 1, self._give_up)
            return
        now = uptime()
        waited = now - self._asked_at if self.question else 0
        # If timers were late, as in a program that was stopped, the hub has had no time to answer.
        if self._answered_at <= early.at and waited < 1.99:
            self._timers.set("gap", 2 - waited, self._give_up)
            if not self.question:
                self._ask()
            return
        self.question = None
        self._skip()
        self._next()

    def _skip(self) -> None:
        """Continues with the message that has waited longest, or with one before it, whatever is missing."""
        early = self._oldest
        assert early
        start = self.position
        end = Position(early.frame["epoch"], self._first - 1)
        self.position = end
        hole = start.epoch != end.epoch or start.offset < end.offset if start else not self.refused
        if hole:
            self._listener.missing("gap", Missing(self.session, start, end))
        self._release(0)

    def _catch_up(self) -> None:
        self._hub_at = FOREVER
        self._ask()

    def _ask_in(self, delay: float) -> None:
        self._timers.set("ask", delay, self._ask)

    def _ask(self) -> None:
        # The replaced link has ended before the new one was subscribed.
        if not self.has_link:
            self._link = self._listener.link
        if not self._link:
            return
        if not self.question:
            self.question = new_id()
            self._asks_from = self.position
            self._asked_at = uptime()
        wait = min(2.0**self._asked, MINUTE / 2)
        self._ask_in(wait if self._asked < 2 else wait * (1 + random.random()))
        self._asked += 1
        after = {"epoch": self.position.epoch, "after": self.position.offset} if self.position else {}
        question = {"action": "history", "session": self.session, **after, "id": self.question}
        self._link.ask(to_json(question), "history")
