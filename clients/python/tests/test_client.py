"""What the timelines do not cover: tokens, backoff, streams, and the client's methods. In virtual time."""

from __future__ import annotations

import asyncio
import base64
import functools
import gc
import json
import random
import time
import unittest
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.exceptions import InvalidURI

from websocket_hub import HubClient, HubError, Message, Position, SignedOut, State, Token, TokenRequest, connect

from . import virtual
from .fake_hub import Hub

URL = "wss://hub.invalid/live"


def jwt(**claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}.x"


def in_time(chance: float = 0.5) -> Callable[[Callable[[Any, virtual.Network], Awaitable[None]]], Callable[[Any], None]]:
    """A test with a network of its own, in virtual time."""

    def decorate(test: Callable[[Any, virtual.Network], Awaitable[None]]) -> Callable[[Any], None]:
        def run(self: Any) -> None:
            with virtual.network() as net:

                async def main() -> None:
                    await test(self, net)

                virtual.run(main, chance=chance)

        return run

    return decorate


def now() -> float:
    return asyncio.get_running_loop().time()


def texts(messages: list[Message]) -> list[Any]:
    return [message.data for message in messages]


class Options(unittest.TestCase):
    def test_what_can_never_work_is_refused_at_once(self) -> None:
        for options in (
            {"session": "a b"},
            {"session": None},
            {"session": "a", "ttl": 0},
            {"session": "a", "pong_timeout": None},
            {"session": "a", "ping_interval": "4"},
            {"session": "a", "token": 5},
            {"session": "a", "token_in": "header"},
            {"session": "a", "ordered": 1},
            {"session": "a", "positions": {"a": ["e"]}},
            {"session": "a", "positions": {"a": {"epoch": "e", "offset": -1}}},
            {"session": "a", "positions": {"a b": ["e", 1]}},
            {"session": "a", "unheard_of": 1},
        ):
            with self.subTest(options), self.assertRaises((TypeError, ValueError)):
                connect(URL, **options)
        for url in ("https://hub.invalid/", "wss://", 5):
            with self.subTest(url), self.assertRaises((TypeError, ValueError)):
                connect(url, session="a")  # type: ignore[arg-type]

    def test_a_position_is_json(self) -> None:
        stored = json.dumps(Position("e", 3))
        for given in (json.loads(stored), {"epoch": "e", "offset": 3}, Position("e", 3)):
            self.assertEqual(connect(URL, session="a", positions={"a": given})._options.known, {"a": Position("e", 3)})


class Connecting(unittest.TestCase):
    @in_time()
    async def test_entering_waits_until_the_hub_has_answered(self, net: virtual.Network) -> None:
        net.opened = lambda socket: setattr(socket, "mute", True)
        hub = connect(URL, session="alice", history=False)
        states: list[str] = []
        hub.on("state", lambda state: states.append(state.name))
        entering = asyncio.ensure_future(hub.__aenter__())
        await asyncio.sleep(9)
        self.assertEqual((entering.done(), states), (False, ["connecting"]))
        net.last.mute = False
        net.last.say({"type": "pong"})
        self.assertIs(await entering, hub)
        self.assertEqual((states, hub.state.name, hub.rtt), (["connecting", "open"], "open", 9.0))
        await hub.close()
        self.assertEqual((hub.state.name, net.last.open), ("closed", False))

    @in_time()
    async def test_awaiting_it_is_the_same(self, net: virtual.Network) -> None:
        hub = await connect(f"{URL}?a=1#fragment", session="al+ice")
        self.assertEqual((hub.state.name, net.attempts), ("open", [(f"{URL}?a=1&session_id=al%2Bice", [])]))
        await hub.close()

    @in_time()
    async def test_a_program_that_is_cancelled_while_it_enters_leaves_nothing(self, net: virtual.Network) -> None:
        net.hang = True
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(connect(URL, session="alice").__aenter__(), 5)

    def test_backoff_has_full_jitter_and_a_bound(self) -> None:
        for chance, expected in (
            (0.1, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3, 3]),
            (0.999, [0.4995, 0.999, 1.998, 3.996, 7.992, 15.984, 29.97, 29.97]),
        ):
            with self.subTest(chance), virtual.network() as net:

                async def main() -> list[float]:
                    net.refuse = ConnectionRefusedError(111, "refused")
                    hub = connect(URL, session="alice")
                    delays: list[float] = []

                    def waits(state: State) -> None:
                        if state.name == "waiting" and state.retry_at:
                            delays.append(state.retry_at.timestamp() - time.time())

                    hub.on("state", waits)
                    entering = asyncio.ensure_future(hub.__aenter__())
                    while len(delays) < 8:
                        await asyncio.sleep(0.01)
                    self.assertEqual((hub.state.error or HubError("", "")).code, "connect_failed")
                    await hub.close()
                    with self.assertRaises(HubError):
                        await entering
                    return delays[:8]

                for delay, wanted in zip(virtual.run(main, chance=chance), expected, strict=True):
                    self.assertAlmostEqual(delay, wanted, places=2)

    @in_time()
    async def test_backoff_begins_anew_after_five_seconds(self, net: virtual.Network) -> None:
        hub = await connect(URL, session="alice", history=False)
        for seconds, attempts in ((1, 1), (1, 2), (6, 1)):
            net.last.cut()
            await asyncio.sleep(0.001)
            self.assertEqual((hub.state.name, hub.state.attempt), ("waiting", attempts))
            await hub.ready()
            await asyncio.sleep(seconds)
            if seconds == 1 and attempts == 2:
                await asyncio.sleep(5)
                self.assertEqual(hub.state.attempt, 0)
        await hub.close()

    @in_time()
    async def test_a_handshake_without_an_answer_is_given_up(self, net: virtual.Network) -> None:
        net.hang = True
        hub = connect(URL, session="alice")
        errors: list[HubError] = []
        hub.on("error", errors.append)
        entering = asyncio.ensure_future(hub.__aenter__())
        await asyncio.sleep(15.1)
        self.assertEqual([error.code for error in errors], ["connect_failed"])
        net.hang = False
        await entering
        await hub.close()

    @in_time()
    async def test_an_address_that_cannot_be_one_ends_the_client(self, net: virtual.Network) -> None:
        net.refuse = InvalidURI("wss://x", "bad")
        with self.assertRaises(HubError) as caught:
            await connect(URL, session="alice")
        self.assertEqual(caught.exception.code, "cannot_connect")

    @in_time()
    async def test_a_machine_that_slept_pings_at_once(self, net: virtual.Network) -> None:
        hub = await connect(URL, session="alice", history=False)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.Loop)
        await asyncio.sleep(31)
        net.last.mute, net.last.pings = True, 0
        loop.slept += 600
        await asyncio.sleep(35)
        self.assertEqual(len(net.sockets), 2)
        self.assertEqual([frame["action"] for frame in net.sockets[0].sent], ["hello"])
        await hub.close()

    @in_time()
    async def test_check_finds_a_dead_peer_and_dials_at_once(self, net: virtual.Network) -> None:
        hub = await connect(URL, session="alice", history=False, backoff_base=20)
        await asyncio.sleep(10)
        net.last.mute = True
        hub.check()
        await asyncio.sleep(10.1)
        self.assertEqual((hub.state.name, hub.state.reason), ("waiting", "the hub does not answer"))
        hub.check()
        await asyncio.sleep(0.1)
        self.assertEqual((hub.state.name, len(net.sockets)), ("open", 2))
        await hub.close()


class Tokens(unittest.TestCase):
    @in_time()
    async def test_a_function_may_be_async_and_take_the_request(self, net: virtual.Network) -> None:
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
    async def test_in_the_address(self, net: virtual.Network) -> None:
        async with connect(f"{URL}?token=old", session="alice", token="a b+c", token_in="query"):
            self.assertEqual(net.attempts, [(f"{URL}?session_id=alice&token=a%20b%2Bc", [])])

    @in_time()
    async def test_final_states(self, net: virtual.Network) -> None:
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
    async def test_a_function_that_fails_is_called_again(self, net: virtual.Network) -> None:
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
    async def test_a_function_that_takes_for_ever_is_cancelled(self, net: virtual.Network) -> None:
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
        there = Hub()
        there.on(net)
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


class Programs(unittest.TestCase):
    @in_time()
    async def test_send_receive_and_subscribe(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        async with connect(URL, session="alice") as alice, connect(URL, session="bob") as bob:
            inbox = bob.messages()
            async with bob.subscribe("room-7") as room:
                receipt = await alice.send(["bob", "room-7"], {"hello": 1})
                self.assertEqual((receipt.delivered, receipt.reached_all, receipt.sessions[1].position), (2, True, Position("epoch", 1)))
                message = await anext(aiter(room))
                self.assertEqual((message.sender, message.session, message.data, message.missed), ("alice", "room-7", {"hello": 1}, False))
                self.assertEqual(
                    (message.sent_at and message.sent_at.isoformat(), room.position()), ("2030-01-01T00:00:00+00:00", Position("epoch", 1))
                )
                self.assertEqual((await room.send("again")).delivered, 1)
                self.assertEqual([message.data for message in (await room.history(last=1)).messages], ["again"])
            self.assertEqual([(await anext(inbox)).session for _ in range(3)], ["bob", "room-7", "room-7"])
            await asyncio.sleep(2)
            self.assertEqual((await alice.send("room-7", 1)).delivered, 0)

    @in_time()
    async def test_a_loop_that_is_left_by_break_unsubscribes(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        async with connect(URL, session="bob") as bob:
            room = bob.session("room")

            async def first() -> Any:
                async for message in room.messages():
                    return message.data

            waiting = asyncio.ensure_future(first())
            await asyncio.sleep(0.1)
            there.deliver(None, "room", {"id": "1", "message": "x"})
            self.assertEqual(await waiting, "x")
            del waiting
            gc.collect()
            await asyncio.sleep(2)
            self.assertEqual([connection.subscriptions for connection in there.connections], [set()])

    @in_time()
    async def test_a_refused_session_raises_where_it_is_entered_and_where_it_is_read(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        refused: list[str] = []

        def refuse(connection: Any, frame: Any) -> bool:
            bad = frame["action"] == "subscribe" and bool(set(frame["sessions"]) & set(refused))
            if bad:
                connection.say(type="error", code="forbidden", message="not yours", id=frame["id"])
            return bad

        there.intercept = refuse
        async with connect(URL, session="bob") as bob:
            async with bob.subscribe("room") as room:
                refused.append("room")
                with self.assertRaises(HubError) as caught:
                    async with bob.subscribe("other"), bob.subscribe("room"):
                        net.last.cut()
                        async for _ in room:
                            self.fail("nothing was sent")
                self.assertEqual((caught.exception.code, caught.exception.session), ("forbidden", "room"))
                self.assertIs(room.error, caught.exception)
            refused.append("third")
            with self.assertRaises(HubError):
                async with bob.subscribe("third"):
                    self.fail("it was refused")
            await asyncio.sleep(2)
            self.assertEqual([connection.subscriptions for connection in there.connections], [set()])

    @in_time()
    async def test_what_is_refused_without_asking_the_hub_raises_too(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        async with connect(URL, session="bob") as bob:
            inboxes = [bob.session(f"room-{number}").messages() for number in range(100)]
            await asyncio.gather(*(bob.session(f"room-{number}").ready() for number in range(100)))
            with self.assertRaises(HubError) as caught:
                await asyncio.wait_for(bob.session("one-more").ready(), 1)
            self.assertEqual(caught.exception.code, "too_many_subscriptions")
            await inboxes[0].aclose()
            # A session's place is free as soon as another needs it.
            await asyncio.wait_for(bob.session("one-more").ready(), 0.1)
            self.assertEqual(bob.session("bob").is_ready, True)

        def has_none(connection: Any, frame: Any) -> bool:
            if frame["action"] in ("ping", "sendMessage", "history"):
                return False
            connection.say(type="error", code="unknown_action", message="no such action")
            return True

        there.intercept = has_none
        async with connect(URL, session="bob") as bob:
            for _ in range(2):
                with self.assertRaises(HubError) as caught:
                    await asyncio.wait_for(bob.session("room").ready(), 1)
                self.assertEqual((caught.exception.code, caught.exception.session), ("unknown_action", "room"))

    @in_time()
    async def test_a_slow_loop_drops_the_oldest_and_says_so(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        async with connect(URL, session="bob", buffer_limit=3) as bob:
            inbox = bob.messages()
            errors: list[HubError] = []
            bob.on("error", errors.append)
            for number in range(5):
                there.deliver(None, "bob", {"id": str(number), "message": number})
            await asyncio.sleep(0.1)
            self.assertEqual([(await anext(inbox)).data for _ in range(3)], [2, 3, 4])
            self.assertEqual([error.code for error in errors], ["overflow"])
        with self.assertRaises(StopAsyncIteration):
            await anext(inbox)

    @in_time()
    async def test_a_thousand_messages_wait_and_more_are_fetched(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        there.loses = lambda: len(there.logs["bob"]) == 1
        async with connect(URL, session="bob") as bob:
            got: list[Message] = []
            bob.on("message", got.append)
            await asyncio.sleep(6)
            there.intercept = lambda connection, frame: frame["action"] == "history"
            for number in range(1_200):
                there.deliver(None, "bob", {"id": str(number), "message": number})
            await asyncio.sleep(1)
            self.assertEqual(got, [])
            there.intercept = lambda connection, frame: False
            await asyncio.sleep(5)
            self.assertEqual((texts(got), sum(message.missed for message in got)), (list(range(1_200)), 200))

    @in_time()
    async def test_a_program_that_was_stopped_gives_the_hub_time_to_answer(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        there.loses = lambda: len(there.logs["bob"]) == 1
        async with connect(URL, session="bob") as bob:
            got: list[Message] = []
            missing: list[Any] = []
            bob.on("message", got.append)
            bob.on("gap", missing.append)
            await asyncio.sleep(10)
            for number in range(2):
                there.deliver(None, "bob", {"id": str(number), "message": number})
            await asyncio.sleep(0.1)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, virtual.Loop)
            loop.idle.now += 20
            await asyncio.sleep(5)
            self.assertEqual((texts(got), missing), ([0, 1], []))

    @in_time()
    async def test_a_session_stays_ready_while_its_connection_is_replaced(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        async with connect(URL, session="bob", handover_after=60) as bob, bob.subscribe("room") as room:
            there.intercept = lambda connection, frame: frame["action"] == "subscribe"
            await asyncio.sleep(62)
            self.assertEqual((bob.stats.handovers, room.is_ready), (1, True))
            there.connections[-1].wire.say({"type": "error", "code": "not_connected", "message": "again"})
            await asyncio.sleep(0.1)
            net.sockets[0].cut()
            await asyncio.sleep(1)
            self.assertEqual((bob.state.name, room.is_ready), ("open", False))

    @in_time()
    async def test_a_listeners_fault_is_reported_and_harms_nothing(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
        async with connect(URL, session="bob") as bob:
            got: list[Message] = []
            bob.on("message", lambda message: 1 // 0)
            off = bob.on("message", got.append)
            there.deliver(None, "bob", {"id": "1", "message": 1})
            await asyncio.sleep(0.1)
            off()
            there.deliver(None, "bob", {"id": "2", "message": 2})
            net.last.say({"type": "history", "id": 5})
            await asyncio.sleep(0.1)
            self.assertEqual((texts(got), [type(fault) for fault in faults], bob.state.name), ([1], [ZeroDivisionError] * 2, "open"))

            async def listener(message: Message) -> None: ...

            for event, call in (("message", listener), ("unheard of", got.append), ("message", None)):
                with self.assertRaises(TypeError):
                    bob.on(event, call)  # type: ignore[call-overload]

    @in_time()
    async def test_what_cannot_be_sent_is_refused_at_once(self, net: virtual.Network) -> None:
        async with connect(URL, session="bob", history=False, queue_limit=1) as bob:
            for message, options, code in (
                (object(), {}, "bad_request"),
                (float("nan"), {}, "bad_request"),
                ("\ud800", {}, "bad_request"),
                ("☃" * 11_000, {}, "message_too_large"),
                (1, {"id": ""}, "bad_request"),
                (1, {"id": "x" * 129}, "bad_request"),
            ):
                with self.subTest(code), self.assertRaises(HubError) as caught:
                    await bob.send("alice", message, **options)  # type: ignore[arg-type]
                self.assertEqual((caught.exception.code, caught.exception.may_have_arrived), (code, False))
            with self.assertRaises(ValueError):
                await bob.send("alice", 1, ttl=0)
            waiting = asyncio.ensure_future(bob.send("alice", 1))
            await asyncio.sleep(0)
            with self.assertRaises(HubError) as caught:
                await bob.send("alice", 1)
            self.assertEqual((caught.exception.code, caught.exception.retryable), ("queue_full", True))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            self.assertEqual(bob.unanswered, 0)
            with self.assertRaises(HubError) as caught:
                await bob.history(last=1)
            self.assertEqual(caught.exception.code, "unknown_action")

    @in_time()
    async def test_a_backlog_goes_out_ten_at_a_time_and_fifty_unanswered(self, net: virtual.Network) -> None:
        bob = connect(URL, session="bob", history=False)
        sends = [asyncio.ensure_future(bob.send("alice", number)) for number in range(70)]
        await asyncio.sleep(0)
        async with bob:
            await asyncio.sleep(0.05)
            self.assertEqual(len(net.last.sent), 10)
            await asyncio.sleep(2)
            self.assertEqual([frame["message"] for frame in net.last.sent], list(range(50)))
            for frame in net.last.sent[:5]:
                net.last.say({"type": "receipt", "id": frame["id"], "delivered": 0, "gone": 0, "failed": 0, "sessions": []})
            await asyncio.sleep(1)
            self.assertEqual((len(net.last.sent), sum(send.done() for send in sends)), (55, 5))
            await bob.close()
            ends = await asyncio.gather(*sends[5:], return_exceptions=True)
            self.assertEqual({getattr(end, "code", None) for end in ends}, {"closed"})

    @in_time()
    async def test_posts_are_sent_only_while_open(self, net: virtual.Network) -> None:
        hub = connect(URL, session="bob", history=False)
        self.assertFalse(hub.post("alice", 1))
        async with hub:
            self.assertTrue(hub.post("alice", None))
            await asyncio.sleep(0.1)
            expected = {"action": "sendMessage", "sessions": ["alice"], "message": None, "receipt": False, "store": False}
            self.assertEqual(net.last.sent, [expected])
        self.assertEqual(hub.stats.dropped, 1)

    @in_time()
    async def test_leaving_waits_for_what_is_unanswered_but_not_after_an_error(self, net: virtual.Network) -> None:
        there = Hub()
        there.on(net)
        hub = connect(URL, session="bob")
        async with hub:
            sending = asyncio.ensure_future(hub.send("alice", 1))
            await asyncio.sleep(0)
        self.assertEqual((await sending).delivered, 0)
        net.opened = lambda socket: None
        begin = now()
        with self.assertRaises(KeyError):
            async with connect(URL, session="bob", history=False) as hub:
                sending = asyncio.ensure_future(hub.send("alice", 1))
                await asyncio.sleep(0)
                raise KeyError
        self.assertEqual(now(), begin)
        with self.assertRaises(HubError):
            await sending
        with self.assertRaises(HubError):
            await hub


class Chance(unittest.TestCase):
    def test_every_listener_hears_every_message_of_its_time_once_and_in_order(self) -> None:
        for seed in range(40):
            with self.subTest(seed=seed), virtual.network() as net:
                chance = random.Random(seed)
                virtual.run(lambda net=net, chance=chance: self.life(net, chance))  # type: ignore[misc]

    async def life(self, net: virtual.Network, chance: random.Random) -> None:
        there = Hub()
        there.on(net)
        there.loses = lambda: chance.random() < 0.2
        sessions = ["bob", "room-1", "room-2"]
        heard: dict[str, list[int]] = {session: [] for session in sessions}
        missing: list[Any] = []
        hub = connect(URL, session="bob", handover_after=60)
        hub.on("gap", missing.append)
        hub.on("lost", missing.append)
        await hub
        for session in sessions:
            hub.session(session).on("message", lambda message: heard[message.session or ""].append(message.data))
        await asyncio.gather(*(hub.session(session).ready() for session in sessions))
        await asyncio.sleep(1)
        sent = dict.fromkeys(sessions, 0)
        sessions.append("room-3")
        sent["room-3"] = 0

        async def come_and_go() -> None:
            """No message in between is missing, though the last lost ones may not have arrived yet."""
            while True:
                async with hub.subscribe("room-3") as room:
                    # Within a second, messages that the previous listener did not receive come to this one.
                    begin = place.offset if (place := room.position()) else 0
                    await asyncio.sleep(chance.random() * 30)
                    got = texts(list(aiter(room)._waiting))
                    self.assertEqual(got, list(range(begin + 1, begin + 1 + len(got))))
                    visits.append(len(got))
                await asyncio.sleep(chance.random() * 3)

        visits: list[int] = []
        visiting = asyncio.ensure_future(come_and_go())
        for _ in range(200):
            session = chance.choice(sessions)
            if chance.random() < 0.05:
                chance.choice(net.sockets).cut()
            if chance.random() < 0.03:
                there.connections[:] = []
            sent[session] += 1
            there.deliver(None, session, {"id": f"{sent[session]}", "message": sent[session]})
            await asyncio.sleep(chance.random() * 3)
        there.loses = lambda: False
        visiting.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await visiting
        self.assertGreater(sum(visits), 10)
        del sent["room-3"]
        # The last ones are found by the next hello at the latest.
        await asyncio.sleep(1100)
        self.assertEqual((missing, heard), ([], {session: list(range(1, count + 1)) for session, count in sent.items()}))
        await hub.close()


class Clients(unittest.TestCase):
    def test_one_can_be_made_without_a_loop(self) -> None:
        hub = connect(URL, session="bob")
        self.assertIsInstance(hub, HubClient)
        self.assertEqual((hub.name, hub.state.name, hub.position()), ("bob", "connecting", None))


if __name__ == "__main__":
    unittest.main()
