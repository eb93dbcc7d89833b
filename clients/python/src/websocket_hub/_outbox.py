"""Sends without an answer: when they are written, written again, and given up."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterable
from typing import Any

from ._errors import HubError
from ._frames import new_id, to_json
from ._limits import ANSWERED_WITHIN, FOREVER, LOSSES, REFUSED_WITHIN, SLICE, WINDOW
from ._link import Link
from ._options import Options
from ._timers import Stopwatch, Timers
from ._types import Frame, Stats


class Send:
    def __init__(self, id: str, frame: str, question: str | None, ttl: float, ends_at: float) -> None:
        self.id = id
        self.ttl = ttl
        self.frame = frame
        self.question = question  # For a request about the history: its session.
        self.ends_at = ends_at
        self.link: Link | None = None
        self.writes = self.losses = 0
        self.written_at = 0.0
        self.suspect = False
        self.refusal: tuple[str, str] | None = None
        self.future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    def fail(self, code: str, text: str, *, may_have_arrived: bool | None = None, cause: BaseException | None = None) -> None:
        if self.future.done():
            return
        arrived = self.writes > 0 if may_have_arrived is None else may_have_arrived
        error = HubError(code, text, id=self.id, may_have_arrived=arrived)
        error.__cause__ = cause
        self.future.set_exception(error)


class Outbox:
    def __init__(
        self,
        options: Options,
        stopwatch: Stopwatch,
        stats: Stats,
        settled: Callable[[Link | None], None],
        pending: Callable[[str], bool],
    ) -> None:
        """`settled` is called when a send has ended or left its link, with that link, or None. Requests about the history of a
        session wait while that is `pending`."""
        self.over: HubError | None = None  # Why it accepts no more sends.
        self.trouble: HubError | None = None  # Why there is no connection.
        self._options = options
        self._stopwatch = stopwatch
        self._stats = stats
        self._settled = settled
        self._pending = pending
        self._sends: dict[str, Send] = {}  # Oldest first. A send without a link waits to be written.
        self._link: Link | None = None  # Sends are written to this link.
        self._timers = Timers()
        self._answers = Timers()  # Of the sends that are written.

    def __len__(self) -> int:
        return len(self._sends)

    def carried_by(self, link: Link | None) -> list[Send]:
        return [send for send in self._sends.values() if send.link is link]

    def encode(self, sessions: str | Iterable[str], message: Any, id: str | None = None, **rest: Any) -> str:
        """The frame of a send or a post, as text."""
        try:
            listed = [sessions] if isinstance(sessions, str) else list(sessions)
            content = {"action": "sendMessage", "sessions": listed, "message": message, "id": id, **rest}
            frame = to_json({key: value for key, value in content.items() if key == "message" or value is not None})
            size = len(frame.encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise HubError("bad_request", f"this cannot be sent: {error}", id=id) from error
        limit = self._options.max_frame_bytes
        if size > limit:
            raise HubError("message_too_large", f"the frame has {size} bytes of {limit}: send a link, or split it", id=id)
        return frame

    async def request(self, encode: Callable[[str], str], question: str | None, id: str | None, ttl: float | None) -> Frame:
        """Sends the frame that `encode` returns for the id. Returns the hub's answer."""
        id = new_id() if id is None else id
        if not isinstance(id, str) or not 1 <= len(id) <= 128:
            raise HubError("bad_request", "id must be a string of 1 to 128 characters")
        frame = encode(id)
        if self.over:
            raise HubError(self.over.code, str(self.over.args[0]), id=id) from self.over.__cause__
        if id in self._sends:
            raise HubError("bad_request", "a send with this id is unanswered: use another id", id=id)
        if len(self) >= self._options.queue_limit:
            raise HubError("queue_full", f"{len(self)} sends are unanswered (queue_limit): wait for some", id=id)
        ttl = ttl or FOREVER
        send = Send(id, frame, question, ttl, self._stopwatch() + ttl)
        self._sends[id] = send
        self._timers.set(send, ttl, lambda: self._expire(send))
        try:
            self.flush()
            return await send.future
        finally:
            self._timers.clear(send)
            self._answers.clear(send)
            if self._sends.get(id) is send:
                del self._sends[id]
            self._settled(send.link)

    def _expire(self, send: Send) -> None:
        fate = "it may have arrived" if send.writes else "it was never sent"
        send.fail("timeout", f"no answer within {send.ttl:g} s (ttl): {fate}", cause=self.trouble)

    def use(self, link: Link | None) -> None:
        """From now on, sends are written to this link; without one they wait."""
        self._link = link
        self.trouble = None
        self.flush()

    def answer(self, frame: Frame) -> None:
        """A receipt, or messages from the history."""
        send = self._sends.get(frame.get("id", ""))
        if send and not send.future.done():
            send.future.set_result(frame)

    def refuse_questions(self, code: str, text: str) -> None:
        for send in self._sends.values():
            if send.question:
                send.fail(code, text)

    def refuse(self, code: str, text: str, id: Any) -> bool:
        """Returns whether the hub's error was about a send."""
        send = self._sends.get(id)
        if not send:
            return False
        if code == "not_connected":
            # Its connection is lost next, for this reason.
            send.refusal = (code, text)
        else:
            # If it was written before, it may have arrived then.
            send.fail(code, text, may_have_arrived=code == "internal" or send.writes > 1)
        return True

    def lost(self, link: Link, code: int | None) -> None:
        """The link has ended. Its sends wait for the next one."""
        if self._link is link:
            self._link = None
        carried = self.carried_by(link)
        for send in carried:
            send.link = None
        self._answers.clear(*carried)
        # Code 1009 says that a frame was too large. The largest would close the next connection too.
        if code == 1009 and carried:
            largest = max(carried, key=lambda send: len(send.frame.encode()))
            carried.remove(largest)
            text = "the gateway refused a frame of this size: send a link, or split it"
            largest.fail("message_too_large", text, may_have_arrived=largest.writes > 1 or bool(carried))
        for send in carried:
            send.losses += 1
            if send.losses >= LOSSES:
                text = f"{LOSSES} connections were lost with this message: something on the way may reject it"
                send.fail(*(send.refusal or ("connection_lost", text)))
        self.flush()

    def suspect(self, link: Link) -> None:
        """The gateway has refused a frame without saying which: any recent one."""
        since = self._stopwatch() - REFUSED_WITHIN
        for send in self.carried_by(link):
            send.suspect = send.suspect or send.written_at >= since

    def repeat(self, link: Link) -> None:
        """Writes again the sends that may have been refused."""
        self._release(link, [send for send in self.carried_by(link) if send.suspect])

    def _release(self, link: Link, sends: Iterable[Send]) -> None:
        for send in sends:
            send.link = None
        self._settled(link)

    def flush(self) -> None:
        """A backlog is written in slices with pauses, so that clients that reconnect together do not overload the hub."""
        if "flush" in self._timers:
            return
        slice = SLICE
        first = next((send for send in self._sends.values() if not send.question), None)
        for send in list(self._sends.values()):
            waits = self._pending(send.question) if send.question else self._options.ordered and send is not first
            if send.link or send.future.done() or waits:
                continue
            link = self._link
            # A listener to frames may have ended the link.
            if not link:
                return
            carried = self.carried_by(link)
            if len(carried) >= WINDOW:
                return
            # A send that is about to be given up may be what closes the connections: it is written alone.
            if carried and any(other.losses == LOSSES - 1 for other in [send, *carried]):
                return
            if not slice:
                self._timers.set("flush", 0.05 + 0.1 * random.random(), self.flush)
                return
            slice -= 1
            # Timers stand still while a machine sleeps.
            now = self._stopwatch()
            if now >= send.ends_at:
                self._expire(send)
                continue
            send.link, send.written_at, send.suspect = link, now, False
            # When an answer can no longer come, the send is written again.
            self._answers.set(send, ANSWERED_WITHIN, functools.partial(self._again, send, link))
            send.writes += 1
            if send.writes > 1:
                self._stats.resent += 1
            link.ask(send.frame, "history" if send.question else None)

    def _again(self, send: Send, link: Link) -> None:
        # Behind all others, which may be more successful.
        if not self._options.ordered:
            self._sends[send.id] = self._sends.pop(send.id)
        self._release(link, [send])

    def end(self, error: HubError) -> None:
        """Ends every send, and accepts no more."""
        self.over = error
        for send in self._sends.values():
            send.fail(error.code, str(error.args[0]), cause=error.__cause__)
        self._timers.clear_all()
