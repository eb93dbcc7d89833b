"""What a client sends, when, and what it refuses to send. In virtual time."""

from __future__ import annotations

import asyncio
import unittest

from websocket_hub import HubError, connect

from . import virtual
from .fake_hub import Hub
from .virtual import URL, in_time, now


class Sending(unittest.TestCase):
    @in_time()
    async def test_a_message_that_cannot_be_sent_is_refused_at_once(self, net: virtual.Network) -> None:
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
    async def test_a_backlog_is_sent_ten_at_a_time_with_at_most_fifty_unanswered(self, net: virtual.Network) -> None:
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
    async def test_leaving_waits_for_unanswered_sends_but_not_after_an_error(self, net: virtual.Network) -> None:
        Hub(net)
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
