"""Client for websocket-hub: a WebSocket that reconnects by itself, and sends that always end with a receipt or an error."""

from ._client import HubClient, connect
from ._errors import HubError, SignedOut
from ._events import Traffic
from ._session import Session, Subscription
from ._streams import Messages
from ._types import Count, History, Message, Missing, Position, Receipt, State, Stats, Token, TokenRequest

__all__ = [
    "Count",
    "History",
    "HubClient",
    "HubError",
    "Message",
    "Messages",
    "Missing",
    "Position",
    "Receipt",
    "Session",
    "SignedOut",
    "State",
    "Stats",
    "Subscription",
    "Token",
    "TokenRequest",
    "Traffic",
    "connect",
]
