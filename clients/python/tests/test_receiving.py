"""How listeners and loops receive messages. In virtual time."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from websocket_hub import HubError, Message, connect

from . import virtual
from .fake_hub import Hub
from .virtual import URL, in_time


def texts(messages: list[Message]) -> list[Any]:
    return [message.data for message in messages]


class Receiving(unittest.TestCase):
    @in_time()
    async def test_a_slow_loop_drops_the_oldest_messages_and_reports_it(self, net: virtual.Network) -> None:
        there = Hub(net)
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
    async def test_a_thousand_messages_wait_for_a_missing_one_and_more_are_fetched(self, net: virtual.Network) -> None:
        there = Hub(net)
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
    async def test_a_program_that_was_stopped_for_a_while_reports_no_gap(self, net: virtual.Network) -> None:
        there = Hub(net)
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
    async def test_a_listener_that_raises_is_reported_and_harms_no_other(self, net: virtual.Network) -> None:
        there = Hub(net)
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
