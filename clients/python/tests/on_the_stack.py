"""The client against a real hub: the one of HUB_URL, with history and subscriptions, and without tokens."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import pathlib
import unittest
import uuid
from typing import Any

from websocket_hub import HubClient, HubError, Messages, Position, Traffic, connect

clients = itertools.count(1_000, 1_000)


def hub(name: str, **options: Any) -> HubClient:
    # The hub is on this machine.
    client = connect(os.environ["HUB_URL"], session=name, socket_options={"proxy": None}, **options)
    if folder := os.environ.get("HUB_FRAMES"):
        client.on("frame", functools.partial(write_down, pathlib.Path(folder), next(clients)))
    return client


def write_down(folder: pathlib.Path, client: int, frame: Traffic) -> None:
    """For the test that holds all frames against the protocol as documented."""
    folder.mkdir(parents=True, exist_ok=True)
    by = "client" if frame.direction == "out" else "hub"
    line = {"channel": "socket", "connection": client + frame.connection, "by": by, "text": frame.data}
    with (folder / f"python-{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


async def following(messages: Messages, count: int) -> list[object]:
    return [(await asyncio.wait_for(anext(messages), 30)).data for _ in range(count)]


class OnTheStack(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.alice, self.bob, self.room = (f"{name}-{uuid.uuid4()}" for name in ("alice", "bob", "room"))

    async def test_sends_have_receipts_and_subscriptions_hear_every_later_message(self) -> None:
        async with hub(self.alice) as alice, hub(self.bob) as bob, bob.subscribe(self.room) as room:
            receipt = await alice.send(self.room, {"hello": "é ☃"})
            self.assertEqual((receipt.delivered, receipt.reached_all), (1, True))
            message = await asyncio.wait_for(anext(aiter(room)), 30)
            self.assertEqual((message.sender, message.session, message.data), (self.alice, self.room, {"hello": "é ☃"}))
            self.assertEqual((message.position, room.position), (receipt.sessions[0].position,) * 2)
            self.assertEqual([one.data for one in (await room.history(last=5)).messages], [{"hello": "é ☃"}])
            with self.assertRaises(HubError) as caught:
                await alice.history(self.room)
            self.assertEqual(caught.exception.code, "forbidden")

    async def test_what_is_left_is_no_longer_heard(self) -> None:
        async with hub(self.alice) as alice, hub(self.bob) as bob:
            async with bob.subscribe(self.room):
                self.assertEqual((await alice.send(self.room, 1)).delivered, 1)
            for _ in range(100):
                if (await alice.send(self.room, 2)).delivered == 0:
                    return
                await asyncio.sleep(0.1)
            self.fail("it is still subscribed")

    async def test_a_lost_connection_resumes_all_sessions(self) -> None:
        async with hub(self.alice) as alice, hub(self.bob, backoff_base=2) as bob, bob.subscribe(self.room) as room:
            own = bob.session(self.bob).messages()
            await alice.send([self.bob, self.room], 1)
            self.assertEqual((await following(own, 1), await following(aiter(room), 1)), ([1], [1]))
            assert bob._link and bob._link._socket
            bob._link._socket.transport.abort()
            for number in (2, 3):
                await alice.send([self.bob, self.room], number)
            self.assertEqual((await following(own, 2), await following(aiter(room), 2)), ([2, 3], [2, 3]))
            self.assertEqual((bob.stats.connections, bob.state.name), (2, "open"))

    async def test_another_client_goes_on_from_its_positions(self) -> None:
        positions: dict[str, Position | None] = {}
        async with hub(self.alice) as alice:
            async with hub(self.bob) as bob, bob.subscribe(self.room) as room:
                await alice.send([self.bob, self.room], "heard")
                await following(aiter(room), 1)
                while not (position := bob.position()) or position.offset < 1:
                    await asyncio.sleep(0.1)
                positions = {self.bob: bob.position(), self.room: room.position}
            for number in (1, 2):
                await alice.send([self.bob, self.room], number)
            bob = hub(self.bob, positions=positions)
            own = bob.session(self.bob).messages()
            async with bob, bob.subscribe(self.room) as room:
                self.assertEqual((await following(own, 2), await following(aiter(room), 2)), ([1, 2], [1, 2]))

    async def test_many_sessions_in_one_connection_and_one_too_many(self) -> None:
        names = [f"{self.room}-{number}" for number in range(101)]
        async with hub(self.alice) as alice, hub(self.bob) as bob:
            inboxes = [bob.session(name).messages() for name in names[:100]]
            await asyncio.wait_for(asyncio.gather(*(bob.session(name).ready() for name in names[:100])), 60)
            await alice.send(names[:100], "all")
            for inbox in inboxes:
                self.assertEqual(await following(inbox, 1), ["all"])
            with self.assertRaises(HubError) as caught:
                await bob.session(names[100]).ready()
            self.assertEqual((caught.exception.code, caught.exception.session), ("too_many_subscriptions", names[100]))


if __name__ == "__main__":
    unittest.main()
