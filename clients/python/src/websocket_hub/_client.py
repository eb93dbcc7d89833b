"""The client: a connection that reconnects by itself, and sends that always end with a receipt or an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import weakref
from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, ParamSpec, overload

from websockets.exceptions import InvalidURI

from . import _handover as handover
from ._backoff import Failures, next_attempt
from ._credentials import Credentials
from ._errors import HubError, SignedOut
from ._events import Listeners, Off, Traffic
from ._features import find_missing, unanswered
from ._frames import read_history, read_message, read_receipt, to_json
from ._limits import BACKED_UP, CHECKED, FOREVER, STABLE_AFTER, WAKE_TIMEOUT
from ._link import Link, Loss
from ._options import Options, check_number, check_position, check_session
from ._order import Order
from ._outbox import Outbox
from ._recent import Recent
from ._session import Session, Subscription
from ._streams import Messages
from ._subscriptions import Subscriptions
from ._timers import Stopwatch, Timers, date_in, uptime
from ._types import Frame, History, Json, Message, Missing, Position, Receipt, Standard, State, StateName, Stats, TokenRequest

NO_HISTORY = "this hub keeps no history, or the client has the option history=False"


class HubClient:
    """A connection to a hub that reconnects by itself. `connect()` makes one."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stopwatch = Stopwatch()
        self._credentials = Credentials(options, self._stopwatch)
        self.stats = Stats()
        self._recent = Recent(options.dedupe_limit)
        self._outbox = Outbox(options, self._stopwatch, self.stats, self._settled, self.pending)
        self._order = Order(options, self)
        self._subscriptions = Subscriptions(self._order, self)
        self._served: set[str] = set()  # The features that the hub has shown to have, by an answer.
        self._timers = Timers()
        self._listeners = Listeners()
        self._emit = self._listeners.emit
        self._streams: weakref.WeakSet[Messages] = weakref.WeakSet()
        self._state = State("connecting", date_in())
        self._started = False
        self._over: HubError | None = None  # Why the client has ended: it is closed, or has failed.
        self._changed: list[asyncio.Future[None]] = []  # Waiting for another state, or for a send to end.
        self._link: Link | None = None  # The open connection, which carries the sends.
        self._dialing: Link | None = None  # The connection being opened: the first, one after a loss, or a replacement.
        self._retiring: set[Link] = set()  # Replaced connections, open until their sends are answered.
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = Failures()
        self._checked_at = -FOREVER
        self._dials = 0

    # The public methods

    async def __aenter__(self) -> HubClient:
        """Connects, and waits until the hub has answered."""
        self._start()
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise
        return self

    def __await__(self) -> Generator[Any, None, HubClient]:
        return self.__aenter__().__await__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close(drain=0 if kind else STABLE_AFTER)

    @property
    def name(self) -> str | None:
        """The client's own session; None if the token alone names it, until that is known."""
        return self._order.own

    @property
    def state(self) -> State:
        return self._state

    @property
    def unanswered(self) -> int:
        """Sends that have no answer yet."""
        return len(self._outbox)

    @property
    def rtt(self) -> float | None:
        """Seconds from the last ping to the next frame."""
        return self._link.rtt if self._link else None

    @overload
    def on(self, event: Literal["message", "duplicate"], listener: Callable[[Message], object]) -> Off: ...
    @overload
    def on(self, event: Literal["state"], listener: Callable[[State], object]) -> Off: ...
    @overload
    def on(self, event: Literal["gap", "lost"], listener: Callable[[Missing], object]) -> Off: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[HubError], object]) -> Off: ...
    @overload
    def on(self, event: Literal["frame"], listener: Callable[[Traffic], object]) -> Off: ...
    def on(self, event: str, listener: Callable[[Any], object]) -> Off:
        """Calls the listener at each event of that type until the function that it returns is called."""
        return self._listeners.on(event, listener)

    def messages(self) -> Messages:
        """The messages of all its sessions, from now on."""
        return self._stream(None)

    def session(self, name: str) -> Session:
        """One session: its messages, and sends to it. The client is subscribed while the session has listeners."""
        return Session(self, name)

    def subscribe(self, name: str) -> Subscription:
        """For `async with`: within it, the client is subscribed, and the subscription is an iterator over the session's messages."""
        return Subscription(self, name)

    async def ready(self) -> None:
        """Waits until the client is open. Raises the HubError of a client that has ended."""
        while self._state.name != "open":
            if self._over:
                raise self._over
            await self._change()

    async def send(
        self,
        sessions: str | Iterable[str],
        message: Json,
        *,
        id: str | None = None,
        ttl: float | Standard | None = "standard",
        store: bool = True,
    ) -> Receipt:
        """Sends `message`, any JSON, to every connection of the sessions, and returns the hub's receipt.

        Waits for a connection if there is none. A message whose connection is lost before the receipt is sent again with the same id."""

        def encode(id: str) -> str:
            return self._outbox.encode(sessions, message, id, store=None if store else False)

        return read_receipt(await self._outbox.request(encode, None, id, self._ttl(ttl)))

    def post(self, sessions: str | Iterable[str], message: Json) -> bool:
        """Sends without a receipt, once, and only if the client is open. Returns whether it was sent."""
        frame = self._outbox.encode(sessions, message, receipt=False, store=False)
        link = self._link
        if not link or self._state.name != "open" or link.backlog > BACKED_UP:
            self.stats.dropped += 1
            return False
        link.write(frame)
        return True

    def position(self, session: str | None = None) -> Position | None:
        """Listeners have received every message of the session (default: its own) up to this position, except those that `gap` and
        `lost` reported. None until the hub has reported a position, and without history."""
        return self._order.position(session)

    async def history(
        self,
        session: str | None = None,
        *,
        after: Position | None = None,
        last: int | None = None,
        limit: int | None = None,
        ttl: float | Standard | None = "standard",
    ) -> History:
        """Messages from the history: the newest, or those after a position. Listeners do not receive them, and the position stays."""
        if self._order.off:
            raise HubError("unknown_action", NO_HISTORY)
        session = check_session(session if session is not None else self.name)
        place = check_position(after) if after is not None else None
        if place is None and last is None:
            last = 100
        query = {
            "session": session,
            "epoch": place and place.epoch,
            "after": place.offset if place else None,
            "last": last,
            "limit": limit,
        }

        def encode(id: str) -> str:
            asked = {key: value for key, value in query.items() if value is not None}
            return to_json({"action": "history", **asked, "id": id})

        answer = await self._outbox.request(encode, session, None, self._ttl(ttl))
        return read_history(answer)

    def check(self) -> None:
        """Without a connection: connects at once. With one: checks that it still works."""
        if self._over or not self._started:
            return
        now = self._stopwatch()
        if self._link:
            self._watch()
            if self._link and now - self._link.heard_at >= CHECKED:
                self._link.ping()
        elif not self._dialing and now - self._checked_at >= CHECKED:
            self._checked_at = now
            self._failures.attempt = 0
            self._dial()

    async def close(self, *, drain: float = 0) -> None:
        """Ends the client. With `drain`, first waits up to that many seconds for unanswered sends."""
        closed = HubError("closed", "the client is closed: make a new one to send")
        if drain > 0 and len(self._outbox) and not self._over:
            self._outbox.over = closed
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._drained(), drain)
        self._end("closed", closed)
        if tasks := [task for task in self._tasks if task is not asyncio.current_task()]:
            await asyncio.wait(tasks)

    async def _drained(self) -> None:
        while len(self._outbox) and not self._over:
            await self._change()

    # States and events

    @property
    def stopped(self) -> bool:
        return self._over is not None

    def _ttl(self, given: float | Standard | None) -> float | None:
        ttl = self._options.ttl if given == "standard" else given
        check_number("ttl", ttl)
        return ttl

    def _start(self) -> None:
        if self._over:
            raise self._over
        if not self._started:
            self._started = True
            self._dial()

    async def _change(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        await future

    def _has_changed(self) -> None:
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _become(
        self,
        name: StateName,
        *,
        reason: str | None = None,
        error: HubError | None = None,
        retry_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        since = self._state.since if self._state.name == name else date_in()
        self._state = State(name, since, reason, error, self._failures.attempt, self._failures.refused, retry_at, expires_at)
        self._has_changed()
        self._emit("state", self._state)

    def _become_open(self) -> None:
        assert self._link
        left = self._link.ends_at - self._stopwatch()
        self._become("open", expires_at=date_in(left) if left < FOREVER else None)

    def _stream(self, session: str | None) -> Messages:
        def overflow() -> None:
            self._problem("overflow", "messages() is read too slowly: the oldest are dropped (buffer_limit)")

        stream = Messages(self._options.buffer_limit, overflow)
        if self._over:
            stream.end(self._over if self._state.name == "failed" else None)
            return stream
        weak = weakref.ref(stream)

        def push(message: Message) -> None:
            if it := weak():
                it.push(message)

        def end(error: HubError) -> None:
            if it := weak():
                it.end(error)

        offs = [self._listeners.on("message", push, session)]
        if session is not None:
            offs += [self._listeners.on("error", end, session), self._subscriptions.listen(session)]
        stream.held_until(lambda: [off() for off in offs])
        self._streams.add(stream)
        return stream

    def _end(self, name: Literal["closed", "failed"], error: HubError) -> None:
        if self._over:
            return
        self._over = error
        links = [link for link in (self._link, self._dialing, *self._retiring) if link]
        self._link = self._dialing = None
        self._retiring.clear()
        self._timers.clear_all()
        if self._started:
            self._order.use(None)
            self._subscriptions.use(None)
        self._subscriptions.end()
        for link in links:
            link.end()
        self._outbox.end(error)
        for stream in list(self._streams):
            stream.end(error if name == "failed" else None)
        self._become(name, reason=str(error.args[0]), error=error)

    # Connections

    def _dial(self) -> None:
        self._timers.clear("retry")
        self._dials += 1
        link = self._dialing = Link(self._dials, self._options, self)
        if not self._link:
            waited = self._state.name == "waiting"
            self._become("connecting", reason=self._state.reason if waited else None, error=self._state.error if waited else None)
        if link.ended or self._over:
            return
        link.expect("token_timeout")
        link.task = asyncio.get_running_loop().create_task(self._present(link))
        self._keep(link.task)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _present(self, link: Link) -> None:
        try:
            url, protocols = await self._credentials.read(link, TokenRequest(self._failures.attempt, self._failures.refused))
        except SignedOut as error:
            self._fail(HubError("signed_out", str(error) or "signed out"), error)
            return
        except HubError as error:
            self._fail(error, None)
            return
        except Exception as error:  # The program's own function may raise anything.
            self.lost(link, Loss(str(error) or type(error).__name__, None, error))
            return
        if link.ended:
            return
        now = self._stopwatch()
        if self._link and handover.gains_nothing(self._link, link, now):
            self._dialing = None
            link.end()
            self._watch()
            return
        link.dialed_at = now
        link.open(url, protocols)
        if link.task:
            self._keep(link.task)

    def _fail(self, error: HubError, cause: BaseException | None) -> None:
        error.__cause__ = cause
        self._end("failed", error)

    def _watch(self) -> None:
        """Starts a hand-over when the connection's age or its token requires one."""
        link, now = self._link, self._stopwatch()
        assert link
        if handover.has_slept(link, now, uptime()):
            link.ping(WAKE_TIMEOUT)
            self._subscriptions.hello()
        if link.ended:
            return
        if handover.is_due(link, now) and not self._dialing and "retry" not in self._timers:
            self._dial()
        if link.ended:
            return
        if now >= link.ends_at:
            self.lost(link, Loss("the token has expired"))
            return
        link.timers.set("watch", handover.next_look(link, now), self._watch)

    def _opened(self, link: Link) -> None:
        previous = self._link
        now = self._stopwatch()
        self._link, self._dialing = link, None
        link.timers.clear("step")
        self._failures.refused = 0
        link.timers.set("stable", STABLE_AFTER, self._stable)
        self.stats.connections += 1
        handover.plan(link, now, uptime(), self._options)
        if previous:
            self.stats.handovers += 1
            self._retiring.add(previous)
            handover.retire(previous, now, self._options, lambda: self._settled(previous))
        self._watch()

    def _stable(self) -> None:
        self._failures.attempt = 0
        if self._state.attempt and self._state.name == "open":
            self._become_open()

    def _settled(self, link: Link | None) -> None:
        """A send has ended or left this link, or the link that replaces it is subscribed: it may no longer be needed."""
        self._has_changed()
        if link in self._retiring and "overlap" not in link.timers:
            # The hub sends nothing to a connection whose token has expired.
            hears = self._stopwatch() < link.ends_at
            needed = self._outbox.carried_by(link) or (hears and self._subscriptions.pending())
            if not needed:
                self._retiring.discard(link)
                link.end()
        self._outbox.flush()

    def lost(self, link: Link, loss: Loss) -> None:
        """A link has ended, or failed to open. Its unanswered sends go to the next one."""
        if link.ended:
            return
        # Without a close code, it was the client that gave up.
        silent = loss.code is None
        dialed = link.dialed_at is not None
        link.end(silent)
        was_retiring, was_current = link in self._retiring, link is self._link
        self._retiring.discard(link)
        if was_current:
            self._link = None
            self._order.use(None)
            self._subscriptions.use(None)
        if link is self._dialing:
            self._dialing = None
        self._outbox.lost(link, loss.code)
        if was_retiring or self._over:
            return
        if isinstance(loss.cause, InvalidURI):
            self._fail(HubError("cannot_connect", f"cannot connect to this address: {loss.reason}"), loss.cause)
            return
        if was_current and self._dialing:
            self._become("connecting", reason=loss.reason)
            return
        refused = link.presented and not link.admitted and not silent and loss.may_be_refusal
        delay = next_attempt(self._failures, link, refused, self._options)
        self._timers.set("retry", delay, self._dial)
        retry_at = date_in(delay)
        problem = None
        if not was_current:
            problem = self._problem("connect_failed" if dialed else "token_failed", loss.reason, loss.cause)
            self._outbox.trouble = problem
        # A listener may have acted on the error.
        if not self._link and "retry" in self._timers:
            self._become("waiting", reason=loss.reason, retry_at=retry_at, error=problem)

    # Frames

    def wrote(self, link: Link, data: str) -> None:
        self._emit("frame", Traffic("out", link.number, data))

    def heard(self, link: Link, data: str | bytes) -> None:
        text = data if isinstance(data, str) else data.decode(errors="replace")
        # API Gateway may send an empty frame if a function returns nothing.
        if not text:
            return
        try:
            frame = json.loads(text)
        except ValueError:
            self._problem("bad_frame", "a frame is not JSON")
            frame = None
        self._emit("frame", Traffic("in", link.number, text))
        if link.ended or frame is None:
            return
        frame = frame if isinstance(frame, dict) else {}
        kind, is_new = frame.get("type"), link is self._dialing
        if isinstance(kind, str):
            link.heard_at = self._stopwatch()
        elif isinstance(frame.get("message"), str) and not (is_new and frame["message"] == "Forbidden"):
            # The gateway's own answer, such as {"message":"Too Many Requests",…}. It has no id, so any frame may have caused it.
            self._outbox.suspect(link)
            if link is self._link:
                self._subscriptions.suspect()
            link.ping_later(lambda: self._outbox.repeat(link))
            self._problem("gateway", frame["message"])
            return
        elif is_new:
            self.lost(link, Loss(str(frame.get("message") or "this is not a hub")))
            return
        if is_new:
            self._opened(link)
        if link is self._link and is_new:
            self._become_open()
            # A listener may have closed the client.
            for part in (self._order, self._subscriptions, self._outbox):
                if link is self._link:
                    part.use(link)
        if link.ended:
            return
        self._take(link, kind, frame)
        # This frame may have crossed the sends, so it does not show that the hub received them.
        if not link.ended and self._outbox.carried_by(link):
            link.doubt()

    def _take(self, link: Link, kind: str | None, frame: Frame) -> None:
        if kind == "message":
            self._order.message({**frame, "session": frame.get("session") or self.name})
        elif kind == "receipt":
            self._outbox.answer(frame)
        elif kind == "history":
            self._confirm(link, "history")
            if not self._order.answer(frame):
                self._outbox.answer(frame)
        elif kind in ("subscribed", "unsubscribed"):
            self._confirm(link, "subscriptions")
            self._subscriptions.answer(frame)
        elif kind == "hello":
            self._confirm(link, "subscriptions")
            self._subscriptions.greet(frame)
        elif kind == "error":
            self._refused(link, str(frame.get("code", "internal")), str(frame.get("message", "")), frame.get("id"))

    def _confirm(self, link: Link, about: str) -> None:
        link.asked[about] -= 1
        self._served.add(about)
        if link.unknown:
            self._judge(link)

    def _judge(self, link: Link) -> None:
        missing = find_missing(link, self._served)
        if "history" in missing:
            self._order.turn_off()
            self._outbox.refuse_questions("unknown_action", NO_HISTORY)
        if "subscriptions" in missing and link is self._link:
            self._subscriptions.turn_off()

    def _refused(self, link: Link, code: str, text: str, id: Any) -> None:
        if code == "unknown_action" and id is None and unanswered(link, self._served):
            link.unknown += 1
            self._judge(link)
            return
        if self._subscriptions.asked(id):
            self._confirm(link, "subscriptions")
        # The same question would have the same answer.
        doubtful = self._order.refuse(id) if code in ("bad_request", "forbidden") else None
        if doubtful:
            self._subscriptions.doubt(doubtful)
        known = doubtful or self._subscriptions.refuse(code, text, id) or self._outbox.refuse(code, text, id)
        # The hub no longer knows this connection and sends it nothing. It will know a new one.
        if code == "not_connected":
            self.lost(link, Loss(text))
        elif not known:
            self._problem(code, text, id=id)

    def _problem(self, code: str, text: str, cause: BaseException | None = None, id: Any = None) -> HubError:
        error = HubError(code, text, id=id if isinstance(id, str) else None)
        error.__cause__ = cause
        self._emit("error", error)
        return error

    # Called by its parts

    def tell(self, frame: Frame, missed: bool) -> None:
        message = read_message(frame, missed)
        # Senders choose their ids, so an id is unique only together with its sender.
        if self._recent.has_come((message.session, message.sender, message.id), self._stopwatch()):
            self.repeated(frame)
        else:
            self._emit("message", message)

    def repeated(self, frame: Frame) -> None:
        self.stats.duplicates += 1
        self._emit("duplicate", read_message(frame))

    def missing(self, event: str, missing: Missing) -> None:
        self._emit(event, missing)

    def subscribes(self, session: str) -> bool:
        return session in self._subscriptions

    def pending(self, session: str) -> bool:
        return self._subscriptions.pending(session)

    @property
    def link(self) -> Link | None:
        return self._link

    def changed(self) -> None:
        self._has_changed()
        if not self._subscriptions.pending():
            for link in list(self._retiring):
                self._settled(link)
        self._outbox.flush()

    def refused(self, error: HubError) -> None:
        self._emit("error", error)


P = ParamSpec("P")


def makes_client(read: Callable[P, Options]) -> Callable[P, HubClient]:
    def connect(*args: P.args, **kwargs: P.kwargs) -> HubClient:
        """Connects to a hub, within `async with` or as `await connect(…)`; both wait until the hub has answered."""
        return HubClient(read(*args, **kwargs))

    return connect


#: Takes the address and the options, as the class Options names them.
connect = makes_client(Options)
