"""One session of a client, and a subscription to one that lasts for an `async with`."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from ._errors import HubError
from ._events import Off
from ._options import check_session
from ._streams import Messages
from ._types import History, Json, Message, Missing, Position, Receipt, Standard

if TYPE_CHECKING:
    from ._client import HubClient


class Session:
    """One session's messages, and sends to it. `HubClient.session()` makes one."""

    def __init__(self, hub: HubClient, name: str) -> None:
        self.name = check_session(name)
        self._hub = hub

    async def send(self, message: Json, *, id: str | None = None, ttl: float | Standard | None = "standard", store: bool = True) -> Receipt:
        return await self._hub.send(self.name, message, id=id, ttl=ttl, store=store)

    def post(self, message: Json) -> bool:
        return self._hub.post(self.name, message)

    @overload
    def on(self, event: Literal["message"], listener: Callable[[Message], object]) -> Off: ...
    @overload
    def on(self, event: Literal["gap", "lost"], listener: Callable[[Missing], object]) -> Off: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[HubError], object]) -> Off: ...
    def on(self, event: str, listener: Callable[[Any], object]) -> Off:
        """As HubClient.on(), for this session. A listener to `message` subscribes."""
        if event not in ("message", "gap", "lost", "error"):
            raise TypeError("a session has the events message, gap, lost and error")
        off = self._hub._listeners.on(event, listener, self.name)
        if event != "message":
            return off
        leave = self._hub._subscriptions.listen(self.name)

        def end() -> None:
            off()
            leave()

        return end

    def messages(self) -> Messages:
        """The session's messages, from now on. Subscribes for as long as the iterator is in use."""
        return self._hub._stream(self.name)

    @property
    def is_ready(self) -> bool:
        """Whether it receives messages: the connection is subscribed, or the session is the client's own."""
        if self.name == self._hub._order.joined:
            return self._hub.state.name == "open"
        return self._hub._subscriptions.ready(self.name)

    @property
    def error(self) -> HubError | None:
        """Why the hub refuses it: forbidden, too_many_subscriptions, or unknown_action if it has no subscriptions."""
        return self._hub._subscriptions.error(self.name)

    async def ready(self) -> None:
        """Subscribes, and waits until the hub has confirmed it. Raises the HubError of a session that the hub refuses, and of a
        client that has ended."""
        leave = self._hub._subscriptions.listen(self.name)
        try:
            while not self.is_ready:
                if error := self._hub._over or self.error:
                    raise error
                await self._hub._change()
        finally:
            leave()

    def position(self) -> Position | None:
        return self._hub.position(self.name)

    async def history(self, *, after: Position | None = None, last: int | None = None, limit: int | None = None) -> History:
        return await self._hub.history(self.name, after=after, last=last, limit=limit)


class Subscription(Session):
    """A session to which the client is subscribed within `async with`, and an iterator over its messages."""

    _messages: Messages | None = None

    async def __aenter__(self) -> Subscription:
        self._messages = self.messages()
        try:
            await self.ready()
        except BaseException:
            await self._messages.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._messages:
            await self._messages.aclose()

    def __aiter__(self) -> Messages:
        if not self._messages:
            raise RuntimeError("a subscription is read within `async with`")
        return self._messages
