"""Forty random runs with lost messages, cuts, hand-overs and listeners that come and go. In virtual time."""

from __future__ import annotations

import asyncio
import random
import unittest
from typing import Any

from websocket_hub import connect

from . import virtual
from .fake_hub import Hub
from .virtual import URL


class Chance(unittest.TestCase):
    def test_every_listener_receives_every_message_of_its_time_once_and_in_order(self) -> None:
        for seed in range(40):
            with self.subTest(seed=seed), virtual.network() as net:
                chance = random.Random(seed)
                virtual.run(lambda net=net, chance=chance: self.life(net, chance))  # type: ignore[misc]

    async def life(self, net: virtual.Network, chance: random.Random) -> None:
        there = Hub(net)
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
                    got = [message.data for message in aiter(room)._waiting]
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
