"""The same client over real sockets, where only the network's own behaviour counts."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import subprocess
import sys
import unittest

from websocket_hub import HubError, connect

from .fake_hub import Served

SOURCE = pathlib.Path(__file__).parents[1] / "src"


class Sockets(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        # A busy machine is slow, and a connection that is cut is meant to be.
        for name in ("asyncio", "websockets"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def test_a_message_arrives_and_the_token_is_sent_as_a_subprotocol(self) -> None:
        async with Served() as there, connect(there.url, session="alice", token="a.b-c") as alice, alice.subscribe("room") as room:
            self.assertEqual(there.handshakes, [("/live?session_id=alice", "hub.v1, bearer.a.b-c")])
            self.assertEqual((await alice.send(["room"], {"text": "é ☃\n"})).delivered, 1)
            self.assertEqual((await anext(aiter(room))).data, {"text": "é ☃\n"})

    async def test_a_cut_connection_is_replaced_and_nothing_is_missed(self) -> None:
        async with Served() as there, connect(there.url, session="bob", backoff_base=0.1) as bob, bob.subscribe("room") as room:
            own = bob.messages()
            there.deliver(None, "room", {"id": "1", "message": 1})
            self.assertEqual((await anext(aiter(room))).data, 1)
            # Until the message is sent, the client stays away.
            there.refuse = 503
            there.sockets[-1].transport.abort()
            while there.connections:
                await asyncio.sleep(0.01)
            for number in (2, 3):
                there.deliver(None, "room", {"id": str(number), "message": number})
            there.deliver(None, "bob", {"id": "x", "message": "own"})
            there.refuse = None
            missed = [await anext(aiter(room)) for _ in range(2)]
            self.assertEqual([(message.data, message.missed) for message in missed], [(2, True), (3, True)])
            heard = [(await anext(own)).data for _ in range(4)]
            self.assertEqual(sorted(map(str, heard)), ["1", "2", "3", "own"])

    async def test_an_unanswered_send_is_sent_again_on_the_next_connection(self) -> None:
        async with Served() as there, connect(there.url, session="bob", backoff_base=0.1) as bob:
            there.intercept = lambda connection, frame: frame["action"] == "sendMessage"
            sending = asyncio.ensure_future(bob.send("carol", 1))
            while not any(frame["action"] == "sendMessage" for frame in there.frames):
                await asyncio.sleep(0.01)
            there.intercept = lambda connection, frame: False
            there.sockets[-1].transport.abort()
            await asyncio.wait_for(sending, 10)
            ids = [frame["id"] for frame in there.frames if frame["action"] == "sendMessage"]
            self.assertEqual((len(ids), len(set(ids)), bob.stats.resent), (2, 1, 1))

    async def test_a_refused_handshake_is_reported_with_its_status(self) -> None:
        async with Served() as there:
            there.refuse = 403
            hub = connect(there.url, session="bob", token="t", backoff_base=0.1)
            errors: list[HubError] = []
            hub.on("error", errors.append)
            entering = asyncio.ensure_future(hub.__aenter__())
            while hub.state.refused < 2:
                await asyncio.sleep(0.01)
            self.assertEqual(errors[0].code, "connect_failed")
            self.assertIn("403", str(errors[0]))
            there.refuse = None
            await asyncio.wait_for(entering, 10)
            await hub.close()

    async def test_a_closed_port_and_a_server_that_is_no_hub_are_reported(self) -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"SSH-2.0-none\r\n")
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for url in (f"ws://127.0.0.1:{port}", "ws://127.0.0.1:1"):
            hub = connect(url, session="bob", backoff_base=0.1)
            errors: list[HubError] = []
            hub.on("error", errors.append)
            entering = asyncio.ensure_future(hub.__aenter__())
            while len(errors) < 2:
                await asyncio.sleep(0.01)
            self.assertEqual({error.code for error in errors}, {"connect_failed"})
            await hub.close()
            with self.assertRaises(HubError):
                await entering
        server.close()

    async def test_posts_are_written_before_the_connection_closes(self) -> None:
        async with Served() as there:
            hub = await connect(there.url, session="bob", history=False)
            for number in range(100):
                self.assertTrue(hub.post("carol", number))
            await hub.close()
            sent = [frame["message"] for frame in there.frames if frame["action"] == "sendMessage"]
            self.assertEqual(sent, list(range(100)))

    async def test_closing_does_not_wait_for_a_hub_that_stopped_reading(self) -> None:
        async with Served() as there:
            hub = await connect(there.url, session="bob")
            there.sockets[-1].transport.pause_reading()
            await asyncio.wait_for(hub.close(), 5)
            self.assertEqual(hub.state.name, "closed")
            there.sockets[-1].transport.abort()

    async def test_posts_are_refused_while_the_network_is_backed_up(self) -> None:
        async with Served() as there:
            hub = await connect(there.url, session="bob", history=False)
            there.sockets[-1].transport.pause_reading()
            posted = 0
            while hub.post("carol", os.urandom(15_000).hex()) and posted < 2_000:
                posted += 1
                await asyncio.sleep(0)
            self.assertLess(posted, 2_000)
            there.sockets[-1].transport.abort()
            await hub.close()

    async def test_a_program_ends_when_its_client_is_closed(self) -> None:
        program = (
            "import asyncio, sys, websocket_hub\n"
            "async def main():\n"
            "    async with websocket_hub.connect(sys.argv[1], session='bob') as hub:\n"
            "        print((await hub.send('bob', 'hello')).delivered)\n"
            "asyncio.run(main())\n"
        )
        async with Served() as there:
            command = [sys.executable, "-W", "error", "-c", program, there.url]
            environment = {"PYTHONPATH": str(SOURCE)}
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            out, err = await asyncio.wait_for(process.communicate(), 30)
            self.assertEqual((process.returncode, out, err), (0, b"1\n", b""))
