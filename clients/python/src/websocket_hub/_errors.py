"""The exceptions that programs see."""

from __future__ import annotations

RETRYABLE = {"internal", "not_connected", "timeout", "gateway", "connection_lost", "queue_full", "connect_failed", "token_failed"}


class HubError(Exception):
    """Why a send or a subscription failed, or what an `error` event is about. `code` is the hub's or the client's own."""

    def __init__(
        self, code: str, message: str, *, id: str | None = None, session: str | None = None, may_have_arrived: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        #: The id of the message that failed.
        self.id = id
        #: The session whose subscription failed.
        self.session = session
        #: Whether the message may have reached a connection.
        self.may_have_arrived = may_have_arrived

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in RETRYABLE

    def __str__(self) -> str:
        return f"{self.code}: {self.args[0]}"


class SignedOut(Exception):
    """Raised by the function that returns tokens if there will be no further token. It ends the client."""
