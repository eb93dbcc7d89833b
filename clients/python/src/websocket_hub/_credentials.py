"""The address and the token for a handshake, and when the token expires."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ._errors import HubError
from ._limits import FOREVER, MINUTE
from ._link import Link
from ._options import Options, check_url
from ._timers import Stopwatch, wall
from ._types import Token, TokenRequest

# Beyond about these sizes, a proxy or the gateway rejects the handshake without a reason.
LONGEST_URL = 4_000
LONGEST_TOKEN = 8_000


class Credentials:
    def __init__(self, options: Options, stopwatch: Stopwatch) -> None:
        self._options = options
        self._stopwatch = stopwatch
        # When the last token expires: by its own claim, and by the stopwatch.
        self._expires: float | None = None
        self._ends_at = 0.0

    async def read(self, link: Link, request: TokenRequest) -> tuple[str, list[str]]:
        """The address, and the subprotocols if one carries the token. The link notes whether it presents a token, and its expiry."""
        address, given = await asyncio.gather(ask(self._options.url, request), ask(self._options.token, request))
        token = self._note(link, given)
        url = check_url(address)
        if self._options.session is not None:
            url = with_parameter(url, "session_id", self._options.session)
        if not token:
            return url, []
        in_query = self._options.token_in == "query"
        # The hub refuses a handshake with two tokens.
        url = with_parameter(url, "token", token if in_query else None)
        size, limit = (len(url), LONGEST_URL) if in_query else (len(token), LONGEST_TOKEN)
        if size > limit:
            text = f'token_in="{self._options.token_in}" makes {size} characters of {limit}: issue tokens with fewer claims'
            raise HubError("token_too_large", text)
        if in_query:
            return url, []
        # The characters of a token in RFC 9110.
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", token, re.ASCII):
            raise ValueError('a subprotocol cannot carry this token: use token_in="query"')
        return url, protocols_of(token)

    def _note(self, link: Link, given: Any) -> str | None:
        token, expires_at = given if isinstance(given, Token) else (given, None)
        if not token:
            return None
        if not isinstance(token, str):
            raise TypeError("the token must be a string")
        if isinstance(expires_at, datetime):
            expires_at = expires_at.timestamp()
        expires, issued = read_jwt(token) if expires_at is None else (expires_at, None)
        now = self._stopwatch()
        if expires != self._expires:
            self._expires = expires
            self._ends_at = now + time_left(expires, issued, wall())
        elif now >= self._ends_at:
            # The same token after its expiry. If the hub still accepts it, then not for long.
            self._ends_at = now + MINUTE
        link.expires, link.ends_at, link.presented = expires, self._ends_at, True
        return token


def protocols_of(token: str | None) -> list[str]:
    return ["hub.v1", f"bearer.{token}"] if token else []


async def ask(source: Any, request: TokenRequest) -> Any:
    """Calls the source if it is a function, with the request if it takes an argument; otherwise returns it."""
    if not callable(source):
        return source
    answer = source(request) if takes_argument(source) else source()
    return await answer if inspect.isawaitable(answer) else answer


def takes_argument(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [parameter for parameter in parameters if parameter.default is parameter.empty]
    return any(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in needed)


def with_parameter(url: str, name: str, value: str | None) -> str:
    """The address with that parameter once, or without it."""
    path, _, query = url.partition("?")
    parameters = [other for other in query.split("&") if other and not other.startswith(f"{name}=")]
    if value is not None:
        parameters.append(f"{name}={quote(value, safe='')}")
    return f"{path}?{'&'.join(parameters)}" if parameters else path


def read_jwt(token: str) -> tuple[float, float | None]:
    """When a JWT expires and was issued. Without a readable `exp`, its expiry is unknown."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        end, issued = float(claims["exp"]), claims.get("iat")
        return end, issued if isinstance(issued, (int, float)) and issued < end else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return FOREVER, None


def time_left(expires: float, issued: float | None, now: float) -> float:
    """How long a token remains valid. The hub accepts no expired token, so if this one seems to have expired, this clock is wrong."""
    left = expires - max(now, issued or 0)
    # Clocks differ, so a shorter time would mean nothing.
    if left > 0:
        return max(left, 5)
    return expires - issued if issued is not None else MINUTE
