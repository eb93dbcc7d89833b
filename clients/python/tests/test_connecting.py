"""How a client connects, finds a dead connection, and backs off. In virtual time."""

from __future__ import annotations

import asyncio
import time
import unittest

from websockets.exceptions import InvalidURI

from websocket_hub import HubError, State, connect

from . import virtual
from .virtual import URL, in_time


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
    async def test_awaiting_a_client_connects_it_too(self, net: virtual.Network) -> None:
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
    async def test_five_seconds_of_connection_reset_the_backoff(self, net: virtual.Network) -> None:
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
    async def test_an_invalid_address_ends_the_client(self, net: virtual.Network) -> None:
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
