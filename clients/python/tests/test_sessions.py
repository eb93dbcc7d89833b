"""Sessions that a program listens to: subscribing, leaving, and refusals. In virtual time."""

from __future__ import annotations

import asyncio
import gc
import unittest
from typing import Any

from websocket_hub import HubError, Position, connect

from . import virtual
from .fake_hub import Hub
from .virtual import URL, in_time


class Sessions(unittest.TestCase):
    @in_time()
    async def test_a_message_reaches_its_session_and_a_subscriber(self, net: virtual.Network) -> None:
        Hub(net)
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
        there = Hub(net)
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
        there = Hub(net)
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
    async def test_a_session_beyond_the_limit_or_on_a_hub_without_subscriptions_raises(self, net: virtual.Network) -> None:
        there = Hub(net)
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
    async def test_a_session_stays_ready_while_its_connection_is_replaced(self, net: virtual.Network) -> None:
        there = Hub(net)
        async with connect(URL, session="bob", handover_after=60) as bob, bob.subscribe("room") as room:
            there.intercept = lambda connection, frame: frame["action"] == "subscribe"
            await asyncio.sleep(62)
            self.assertEqual((bob.stats.handovers, room.is_ready), (1, True))
            there.connections[-1].wire.say({"type": "error", "code": "not_connected", "message": "again"})
            await asyncio.sleep(0.1)
            net.sockets[0].cut()
            await asyncio.sleep(1)
            self.assertEqual((bob.state.name, room.is_ready), ("open", False))
