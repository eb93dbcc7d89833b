"""The client against a real hub, the one of HUB_URL, with history and subscriptions: without tokens, or with those of local.sh."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import pathlib
import subprocess
import unittest
import uuid
from typing import Any

from websocket_hub import HubClient, HubError, Messages, Position, TokenRequest, Traffic, connect

LOCAL = pathlib.Path(__file__).parents[3] / "scripts/local.sh"

clients = itertools.count(1_000, 1_000)


def hub(name: str | None, **options: Any) -> HubClient:
    # The hub is on this machine.
    client = connect(os.environ["HUB_URL"], session=name, socket_options={"proxy": None}, **options)
    if folder := os.environ.get("HUB_FRAMES"):
        client.on("frame", functools.partial(write_down, pathlib.Path(folder), next(clients)))
    return client


def write_down(folder: pathlib.Path, client: int, frame: Traffic) -> None:
    """Records frames for the test that compares them with the documented protocol."""
    folder.mkdir(parents=True, exist_ok=True)
    by = "client" if frame.direction == "out" else "hub"
    line = {"channel": "socket", "connection": client + frame.connection, "by": by, "text": frame.data}
    with (folder / f"python-{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


async def following(messages: Messages, count: int) -> list[object]:
    return [(await asyncio.wait_for(anext(messages), 30)).data for _ in range(count)]


class WithoutTokens(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.alice, self.bob, self.room = (f"{name}-{uuid.uuid4()}" for name in ("alice", "bob", "room"))

    async def test_a_subscriber_receives_a_message_and_the_sender_its_receipt(self) -> None:
        async with hub(self.alice) as alice, hub(self.bob) as bob, bob.subscribe(self.room) as room:
            receipt = await alice.send(self.room, {"hello": "é ☃"})
            self.assertEqual((receipt.delivered, receipt.reached_all), (1, True))
            message = await asyncio.wait_for(anext(aiter(room)), 30)
            self.assertEqual((message.sender, message.session, message.data), (self.alice, self.room, {"hello": "é ☃"}))
            self.assertEqual((message.position, room.position()), (receipt.sessions[0].position,) * 2)
            self.assertEqual([one.data for one in (await room.history(last=5)).messages], [{"hello": "é ☃"}])
            with self.assertRaises(HubError) as caught:
                await alice.history(self.room)
            self.assertEqual(caught.exception.code, "forbidden")

    async def test_after_leaving_a_session_none_of_its_messages_is_delivered(self) -> None:
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

    async def test_another_client_continues_from_the_stored_positions(self) -> None:
        positions: dict[str, Position | None] = {}
        async with hub(self.alice) as alice:
            async with hub(self.bob) as bob, bob.subscribe(self.room) as room:
                await alice.send([self.bob, self.room], "heard")
                await following(aiter(room), 1)
                while not (position := bob.position()) or position.offset < 1:
                    await asyncio.sleep(0.1)
                positions = {self.bob: bob.position(), self.room: room.position()}
            for number in (1, 2):
                await alice.send([self.bob, self.room], number)
            bob = hub(self.bob, positions=positions)
            own = bob.session(self.bob).messages()
            async with bob, bob.subscribe(self.room) as room:
                self.assertEqual((await following(own, 2), await following(aiter(room), 2)), ([1, 2], [1, 2]))

    async def test_one_connection_has_a_hundred_sessions_and_no_more(self) -> None:
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


async def token(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(LOCAL, "token", *arguments, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode().strip()


class WithTokens(unittest.IsolatedAsyncioTestCase):
    async def test_a_client_learns_its_session_from_the_hub_and_may_do_what_its_token_allows(self) -> None:
        name, room = f"alice-{uuid.uuid4()}", f"room-{uuid.uuid4()}"
        given: list[int] = []

        async def get(request: TokenRequest) -> str:
            given.append(request.refused)
            return await token("--session", name, "--subscribe-to", "room-*", "--send-to", "room-*")

        async with hub(None, token=get) as alice, alice.subscribe(room) as joined:
            self.assertEqual((alice.name, given), (name, [0]))
            assert alice.state.expires_at
            self.assertEqual((await joined.send("hello")).delivered, 1)
            message = await asyncio.wait_for(anext(aiter(joined)), 30)
            self.assertEqual((message.sender, message.session, message.data), (name, room, "hello"))
            for refused in (alice.session("elsewhere").ready(), alice.send("elsewhere", 1)):
                with self.assertRaises(HubError) as caught:
                    await refused
                self.assertEqual(caught.exception.code, "forbidden")

    async def test_a_refused_token_is_counted_and_named_in_the_state(self) -> None:
        client = hub("alice", token="a.b.c", backoff_base=0.1)
        entering = asyncio.ensure_future(client.__aenter__())
        while client.state.refused < 2:
            await asyncio.sleep(0.1)
        self.assertIn("403", client.state.reason or "")
        await client.close()
        await asyncio.gather(entering, return_exceptions=True)


if __name__ == "__main__":
    unittest.main()
