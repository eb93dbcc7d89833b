"""The timelines of tests/vectors, which the JavaScript client runs too. Its README says how they are written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import unittest
from collections import deque
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from websocket_hub import HubClient, HubError, Message, Missing, connect

from . import virtual

VECTORS = pathlib.Path(__file__).parents[3] / "tests/vectors"

# How much later than its time a step may come: clocks are not exact.
SLACK = 0.01

MISSING: tuple[Literal["gap", "lost"], ...] = ("gap", "lost")

CHANCES = (0.0, 0.5, 0.999)


class Timeline:
    def __init__(self, options: dict[str, Any], steps: list[Any], net: virtual.Network) -> None:
        self.steps = steps
        self.options = options
        self.net = net
        self.mute = False
        self.since = 0.0
        self.seen: dict[str, deque[Any]] = {"connects": deque(), "sent": deque(), "told": deque()}
        self.ids: dict[str, str] = {}
        self.offs: dict[str, Any] = {}
        self.noted = asyncio.Event()
        self.calls: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def note(self, kind: str, what: Any) -> None:
        self.seen[kind].append((self.now, what))
        self.noted.set()

    def opened(self, socket: virtual.Socket) -> None:
        number = len(self.net.sockets)
        socket.mute = self.mute
        socket.received = lambda frame: self.note("sent", (number, frame))
        session = parse_qs(urlsplit(socket.url).query).get("session_id", [None])[0]
        self.note("connects", (number, session))

    async def run(self) -> None:
        self.net.opened = self.opened
        hub = connect("ws://hub.invalid/live", **{"token": None, **self.options})
        hub.on("message", lambda message: self.note("told", ("message", read_message(message))))
        hub.on("duplicate", lambda message: self.note("told", ("duplicate", read_message(message))))
        for event in MISSING:
            hub.on(event, lambda missing, event=event: self.note("told", (event, read_missing(missing, hub))))
        hub.on("error", lambda error: self.note("told", ("error", {"code": error.code, "session": error.session, "id": error.id})))
        starting = asyncio.ensure_future(hub.__aenter__())
        try:
            for number, step in enumerate(self.steps):
                try:
                    await self.step(hub, step)
                except Exception as error:
                    raise AssertionError(f"step {number}, {json.dumps(step)}: {error}") from error
            await asyncio.sleep(SLACK)
            self.quiet()
            self.seen["told"].clear()
        finally:
            for call in self.calls:
                call.cancel()
            starting.cancel()
            await asyncio.gather(starting, *self.calls, return_exceptions=True)
            await hub.close()

    async def step(self, hub: HubClient, step: dict[str, Any]) -> None:
        expected = next((kind for kind in self.seen if kind in step), None)
        if expected:
            await self.expect(expected, step)
            return
        await asyncio.sleep(0.001)
        self.quiet()
        if "wait" in step:
            end = self.since + step["wait"]
            await asyncio.sleep(end - self.now)
            self.quiet()
        elif "hub" in step:
            for frame in step["hub"] if isinstance(step["hub"], list) else [step["hub"]]:
                self.socket(step).say(self.fill(frame))
        elif "cut" in step:
            self.net.sockets[step["cut"] - 1].cut(step.get("code"))
        elif "closed" in step:
            assert not self.net.sockets[step["closed"] - 1].open, "it is open"
        elif "open" in step:
            assert self.net.sockets[step["open"] - 1].open, "it is closed"
        elif "mute" in step:
            self.mute = step["mute"]
            for socket in self.net.sockets:
                socket.mute = self.mute
        elif "position" in step:
            position = hub.position(step.get("of"))
            assert (list(position) if position else None) == step["position"], position
        else:
            self.do(hub, step)
        self.since = self.now

    def socket(self, step: dict[str, Any]) -> virtual.Socket:
        return self.net.sockets[step["on"] - 1] if "on" in step else self.net.last

    def quiet(self) -> None:
        for kind, seen in self.seen.items():
            assert not seen, f"unexpected: {kind} {seen[0]}"

    async def expect(self, kind: str, step: dict[str, Any]) -> None:
        earliest, latest = step.get("within", [0, 0])
        seen = self.seen[kind]
        while not seen and self.now < self.since + latest + SLACK:
            self.noted.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.noted.wait(), self.since + latest + SLACK - self.now)
        assert seen, f"none came within {latest} s; there is {self.seen}"
        at, (first, what) = seen.popleft()
        assert self.since + earliest - SLACK <= at <= self.since + latest + SLACK, f"{at - self.since} s later"
        if kind == "connects":
            assert first == step["connects"] and what == step.get("as", what), (first, what)
        elif kind == "sent":
            assert first == step.get("on", len(self.net.sockets)), f"on connection {first}"
            self.match(what, step["sent"])
        else:
            wanted, rest = step["told"]
            assert first == wanted, (first, what)
            self.match({key: what.get(key) for key in rest}, rest)
        # If a step may come within a range, time counts from when it came.
        self.since = at if latest > 0 else max(self.since, at)

    def match(self, is_: Any, expected: Any) -> None:
        bound = dict(self.ids)
        id = expected.get("id") if isinstance(expected, dict) else None
        if isinstance(id, str) and id.startswith("$") and id not in bound:
            assert isinstance(is_.get("id"), str) and is_["id"] not in bound.values(), f"the id is not new: {is_}"
            self.ids[id] = is_["id"]
        assert is_ == self.fill(expected), f"{is_} is not {self.fill(expected)}"

    def fill(self, frame: Any) -> Any:
        if isinstance(frame, dict) and isinstance(frame.get("id"), str) and frame["id"].startswith("$"):
            frame = {**frame, "id": self.ids[frame["id"]]}
        return frame

    def do(self, hub: HubClient, step: dict[str, Any]) -> None:
        name, arguments = step["do"], {key: value for key, value in step.items() if key != "do"}
        given = arguments.get("session", [])
        names: list[str] = given if isinstance(given, list) else [given]
        if name == "listen":
            for session in names:
                self.offs[session] = hub.session(session).on("message", lambda message: None)
        elif name == "leave":
            for session in names:
                self.offs.pop(session)()
        elif name == "close":
            self.call(hub.close())
        elif name == "send":
            self.call(self.outcome(hub.send(arguments.pop("to"), arguments.pop("message"), **arguments)))
        elif name == "history":
            self.call(self.outcome(hub.history(**arguments)))
        else:
            raise AssertionError(f"there is no {name}")

    def call(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)

    async def outcome(self, coroutine: Any) -> None:
        try:
            result = await coroutine
        except HubError as error:
            self.note("told", ("failed", {"code": error.code, "may_have_arrived": error.may_have_arrived, "id": error.id}))
        else:
            messages = [message.data for message in getattr(result, "messages", ())]
            what = {"messages": messages, "delivered": getattr(result, "delivered", None), "complete": result.complete}
            self.note("told", ("answer", what))


def read_message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "from": message.sender,
        "session": message.session,
        "message": message.data,
        "position": list(message.position) if message.position else None,
        "missed": message.missed,
    }


def read_missing(missing: Missing, hub: HubClient) -> dict[str, Any]:
    position = hub.position(missing.session)
    return {
        "at": list(position) if position else None,
        "session": missing.session,
        "from": list(missing.start) if missing.start else None,
        "to": list(missing.end),
    }


class Vectors(unittest.TestCase):
    def test_each(self) -> None:
        count = 0
        for path in sorted(VECTORS.glob("*.json")):
            content = json.loads(path.read_text())
            for timeline in content["timelines"]:
                setup = content.get("setups", {}).get(
                    timeline.get("after"), {"options": {} if "token" in timeline.get("options", {}) else {"session": "bob"}, "steps": []}
                )
                steps = [*setup["steps"], *timeline["steps"]]
                options = {**setup["options"], **timeline.get("options", {})}
                for chance in timeline.get("chances", CHANCES):
                    if os.environ.get("ONLY", "") not in timeline["name"]:
                        continue
                    with self.subTest(f"{path.stem}: {timeline['name']}", chance=chance), virtual.network() as net:
                        virtual.run(Timeline(options, steps, net).run, chance=chance)
                    count += 1
        self.assertGreater(count, 50)
