"""A hub in memory, with history and subscriptions: the parts of the protocol that a client uses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from . import virtual

Frame = dict[str, Any]


class Wire(Protocol):
    def say(self, frame: Any) -> None: ...


class Connection:
    def __init__(self, session: str, wire: Wire) -> None:
        self.session = session
        self.wire = wire
        self.subscriptions: set[str] = set()

    def say(self, **frame: Any) -> None:
        self.wire.say(frame)


class Hub:
    def __init__(self, net: virtual.Network | None = None) -> None:
        """With `net`, clients in that network connect to this hub."""
        self.connections: list[Connection] = []
        self.logs: dict[str, list[Frame]] = {}
        self.frames: list[Frame] = []
        self.loses: Callable[[], bool] = lambda: False  # Whether the next delivery is lost.
        self.intercept: Callable[[Connection, Frame], bool] = lambda connection, frame: False
        if net:
            net.opened = self.opened

    def connect(self, session: str, wire: Wire) -> Connection:
        connection = Connection(session, wire)
        self.connections.append(connection)
        return connection

    def received(self, connection: Connection, frame: Frame) -> None:
        self.frames.append(frame)
        if self.intercept(connection, frame):
            return
        id = frame.get("id")
        if frame["action"] == "ping":
            connection.say(type="pong")
        elif connection not in self.connections:
            connection.say(type="error", code="not_connected", message="connect again", id=id)
        elif frame["action"] == "sendMessage":
            places = [self.deliver(connection.session, session, frame) for session in frame["sessions"]]
            if frame.get("receipt", True):
                total = sum(place["delivered"] for place in places)
                connection.say(type="receipt", id=id, delivered=total, gone=0, failed=0, sessions=places)
        elif frame["action"] == "history":
            self.answer(connection, frame)
        elif frame["action"] == "subscribe":
            connection.subscriptions.update(name for name in frame["sessions"] if name != connection.session)
            connection.say(type="subscribed", id=id, sessions=[self.head(name) for name in frame["sessions"]])
        elif frame["action"] == "unsubscribe":
            connection.subscriptions.difference_update(frame["sessions"])
            connection.say(type="unsubscribed", id=id, sessions=frame["sessions"])
        elif frame["action"] == "hello":
            names = sorted(connection.subscriptions)
            positions = [self.head(name) for name in [connection.session, *names]]
            connection.say(
                type="hello", id=id, session=connection.session, expires_at=0, expires_in=9000, subscriptions=names, positions=positions
            )

    def head(self, session: str) -> Frame:
        return {"session": session, "epoch": "epoch", "offset": len(self.logs.get(session, []))}

    def deliver(self, sender: str | None, session: str, frame: Frame) -> Frame:
        message = {"type": "message", "id": frame.get("id", "made up"), "from": sender, "session": session, "message": frame["message"]}
        message["sent_at"] = "2030-01-01T00:00:00.000Z"
        place = {}
        if frame.get("store", True):
            log = self.logs.setdefault(session, [])
            place = {"epoch": "epoch", "offset": len(log) + 1}
            log.append({**message, **place})
        reached = [one for one in self.connections if session == one.session or session in one.subscriptions]
        for connection in reached:
            if not self.loses():
                connection.wire.say({**message, **place})
        return {"session": session, "delivered": len(reached), "gone": 0, "failed": 0, **place}

    def answer(self, connection: Connection, frame: Frame) -> None:
        session, log = frame["session"], self.logs.get(frame["session"], [])
        if session != connection.session and session not in connection.subscriptions:
            connection.say(type="error", code="forbidden", message="another's history", id=frame["id"])
            return
        begin = max(0, len(log) - frame["last"]) if "last" in frame else frame.get("after", len(log))
        messages = log[begin : begin + frame.get("limit", 20 if "after" in frame else 100)]
        more = begin + len(messages) < len(log)
        complete = {"complete": True} if "after" in frame else {}
        connection.say(type="history", id=frame["id"], **self.head(session), more=more, messages=messages, **complete)

    def opened(self, socket: virtual.Socket) -> None:
        connection = self.connect(session_of(socket.url), socket)
        socket.received = lambda frame: self.received(connection, frame)
        socket.ended = lambda: self.connections.remove(connection) if connection in self.connections else None


def select(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("hub.v1") if "hub.v1" in offered else None


def session_of(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("session_id", ["anonymous"])[0]


class Served(Hub):
    """The same over real sockets, on a port of this machine's."""

    server: Server
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.handshakes: list[tuple[str, str | None]] = []
        self.refuse: int | None = None
        self.sockets: list[ServerConnection] = []

    async def __aenter__(self) -> Served:
        self.server = await serve(self.serve, "127.0.0.1", 0, process_request=self.request, select_subprotocol=select)
        self.url = f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}/live"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    def request(self, socket: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append((request.path, request.headers.get("Sec-WebSocket-Protocol")))
        return socket.respond(self.refuse, "no") if self.refuse else None

    async def serve(self, socket: ServerConnection) -> None:
        tasks: set[asyncio.Task[None]] = set()

        class Real:
            def say(self, frame: Any) -> None:
                task = asyncio.ensure_future(socket.send(frame if isinstance(frame, str) else json.dumps(frame)))
                tasks.add(task)
                task.add_done_callback(lambda task: task.exception())

        assert socket.request
        connection = self.connect(session_of(socket.request.path), Real())
        self.sockets.append(socket)
        try:
            async for text in socket:
                self.received(connection, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.connections.remove(connection)
