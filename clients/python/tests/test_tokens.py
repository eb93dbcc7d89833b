"""How a client gets its token, presents it, and replaces its connection before the token ends. In virtual time."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import time
import unittest
from typing import Any

from websocket_hub import HubError, SignedOut, Token, TokenRequest, connect

from . import virtual
from .fake_hub import Hub
from .virtual import URL, in_time, now


def jwt(**claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}.x"


class Tokens(unittest.TestCase):
    @in_time()
    async def test_a_token_function_may_be_async_and_take_the_request(self, net: virtual.Network) -> None:
        requests: list[TokenRequest] = []

        async def asynchronous() -> str:
            await asyncio.sleep(1)
            return "t1"

        def asked(request: TokenRequest) -> Token:
            requests.append(request)
            return Token("t2")

        for token, expected in (("t0", "t0"), (asynchronous, "t1"), (lambda: "t1", "t1"), (asked, "t2"), (lambda: None, None)):
            async with connect(URL, session="alice", token=token):
                self.assertEqual(net.attempts.pop()[1], ["hub.v1", f"bearer.{expected}"] if expected else [])
        self.assertEqual(requests, [TokenRequest(attempt=0, refused=0)])

    @in_time()
    async def test_a_token_can_be_sent_in_the_address(self, net: virtual.Network) -> None:
        async with connect(f"{URL}?token=old", session="alice", token="a b+c", token_in="query"):
            self.assertEqual(net.attempts, [(f"{URL}?session_id=alice&token=a%20b%2Bc", [])])

    @in_time()
    async def test_signing_out_and_a_token_that_is_too_large_are_final(self, net: virtual.Network) -> None:
        def signed_out() -> str:
            raise SignedOut("bye")

        for token, options, code in (
            (signed_out, {}, "signed_out"),
            ("x" * 8001, {}, "token_too_large"),
            ("x" * 4000, {"token_in": "query"}, "token_too_large"),
        ):
            hub = connect(URL, session="alice", token=token, **options)  # type: ignore[arg-type]
            stream = hub.messages()
            with self.subTest(code), self.assertRaises(HubError) as caught:
                await hub
            self.assertEqual(caught.exception.code, code)
            with self.assertRaises(HubError) as caught:
                await hub.send("bob", 1)
            self.assertEqual((caught.exception.code, hub.state.name, hub.state.error and hub.state.error.code), (code, "failed", code))
            with self.assertRaises(HubError):
                await anext(stream)
        self.assertEqual(net.attempts, [])

    @in_time()
    async def test_a_token_function_that_fails_is_called_again(self, net: virtual.Network) -> None:
        answers: list[Any] = [OSError("no net"), 5, "good token"]

        def token() -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer.replace(" ", "-")

        hub = connect(URL, session="alice", token=token)
        errors: list[HubError] = []
        hub.on("error", errors.append)
        await hub
        self.assertEqual([error.code for error in errors], ["token_failed", "token_failed"])
        self.assertIsInstance(errors[0].__cause__, OSError)
        self.assertNotIn("good-token", repr(errors))
        await hub.close()

    @in_time()
    async def test_a_token_function_that_never_returns_is_cancelled(self, net: virtual.Network) -> None:
        cancelled: list[float] = []

        async def token() -> str:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.append(now())
                raise
            return ""

        hub = connect(URL, session="alice", token=token)
        entering = asyncio.ensure_future(hub.__aenter__())
        await asyncio.sleep(30.1)
        self.assertEqual(cancelled, [30])
        await hub.close()
        await asyncio.gather(entering, return_exceptions=True)

    @in_time(0.001)
    async def test_refused_tokens_make_attempts_rare_after_the_fifth(self, net: virtual.Network) -> None:
        net.refuse = virtual.refusal(403)
        requests: list[int] = []

        def token(request: TokenRequest) -> str:
            requests.append(request.refused)
            return "t"

        hub = connect(URL, session="alice", token=token)
        entering = asyncio.ensure_future(hub.__aenter__())
        await asyncio.sleep(29)
        self.assertEqual((requests, hub.state.refused), ([0, 1, 2, 3, 4], 5))
        await asyncio.sleep(2)
        self.assertEqual(len(requests), 6)
        await asyncio.sleep(59)
        self.assertEqual(len(requests), 6)
        net.refuse = virtual.refusal(503)
        await asyncio.sleep(10)
        # Another status is no refusal.
        self.assertEqual(hub.state.refused, 0)
        net.refuse = None
        await entering
        await hub.close()

    @in_time()
    async def test_a_new_token_is_presented_before_the_old_one_ends(self, net: virtual.Network) -> None:
        begin = time.time()
        ends = [begin + 600, begin + 600, begin + 1200]

        def token() -> str:
            return jwt(exp=ends.pop(0), iat=begin)

        hub = await connect(URL, session="alice", token=token, history=False)
        assert hub.state.expires_at
        self.assertAlmostEqual(hub.state.expires_at.timestamp(), begin + 600, delta=1)
        # Between 60 and 120 s before; the same token again brings nothing, and is no connection.
        await asyncio.sleep(515)
        self.assertEqual((len(ends), len(net.sockets)), (1, 1))
        await asyncio.sleep(45)
        self.assertEqual((ends, len(net.sockets), net.sockets[0].open), ([], 2, True))
        await asyncio.sleep(35)
        self.assertEqual((net.sockets[0].open, net.last.open, hub.stats.handovers), (False, True, 1))
        await hub.close()

    @in_time()
    async def test_a_replaced_connection_that_still_answers_for_a_session_ends_with_its_token(self, net: virtual.Network) -> None:
        there = Hub(net)
        tokens = [jwt(exp=time.time() + life) for life in (600, 6000)]
        async with connect(URL, session="bob", token=lambda: tokens.pop(0)) as bob, bob.subscribe("room"):
            there.intercept = lambda connection, frame: frame["action"] == "subscribe"
            await asyncio.sleep(599)
            self.assertEqual((bob.stats.handovers, net.sockets[0].open), (1, True))
            await asyncio.sleep(2)
            self.assertEqual((net.sockets[0].open, net.last.open), (False, True))

    @in_time()
    async def test_the_same_token_after_its_end_is_good_for_a_minute(self, net: virtual.Network) -> None:
        hub = await connect(URL, session="alice", token=jwt(exp=time.time() + 100, iat=time.time()), history=False)
        await asyncio.sleep(130)
        self.assertEqual(len(net.sockets), 2)
        await asyncio.sleep(60)
        self.assertEqual((len(net.sockets), hub.state.name), (3, "open"))
        await hub.close()

    @in_time()
    async def test_a_token_that_is_about_to_end_is_not_taken_for_ended(self, net: virtual.Network) -> None:
        for seconds, good_for in ((1, 5), (-1, 60)):
            token = functools.partial(Token, "t", time.time() + seconds)
            async with connect(URL, session="alice", token=token, history=False) as hub:
                assert hub.state.expires_at
                self.assertAlmostEqual(hub.state.expires_at.timestamp() - time.time(), good_for, delta=0.1)
        # With `iat`, its life is known whatever this machine's clock says.
        async with connect(URL, session="alice", token=jwt(iat=time.time() - 10_000, exp=time.time() - 9_000), history=False) as hub:
            assert hub.state.expires_at
            self.assertAlmostEqual(hub.state.expires_at.timestamp() - time.time(), 1_000, delta=0.1)

    @in_time()
    async def test_a_token_that_is_never_replaced_ends_the_connection(self, net: virtual.Network) -> None:
        hub = await connect(URL, session="alice", token=lambda: Token("t", time.time() + 100), history=False)
        net.hang = True
        await asyncio.sleep(101)
        self.assertEqual((hub.state.name, net.sockets[0].open), ("connecting", False))
        await hub.close()
