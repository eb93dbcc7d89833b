"""A hub by hand: each line of the input is sent as a frame, each frame that comes is printed as a line.

    python -m websocket_hub URL [--room SESSION]...      (with a token, where the hub asks for one, in HUB_TOKEN)

Rooms are subscribed to before the first line is sent. In a terminal it ends with the input. After a pipe or a file it waits for
answers, until none has come for two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import threading

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ._credentials import protocols_of
from ._frames import to_json
from ._link import open_socket

PATIENCE = 2  # seconds
TYPED = os.isatty(0)
SHOWN = os.isatty(1)
PROMPT = "> " if TYPED and SHOWN else ""


def show(text: str) -> None:
    print(text, end="", flush=True)


def printable(text: str) -> str:
    """What a message holds must not steer the terminal."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def send_lines(socket: ClientConnection, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    """In a thread, since a file cannot be waited for otherwise. That the connection has ended is noticed where frames come in."""
    with contextlib.suppress(Exception):
        for line in sys.stdin.buffer:
            if text := line.decode(errors="replace").strip():
                asyncio.run_coroutine_threadsafe(socket.send(text), loop).result()
            show(PROMPT)
    with contextlib.suppress(RuntimeError):  # The loop has ended first.
        loop.call_soon_threadsafe(ended.set_result, None)


def show_frame(text: str | bytes) -> None:
    # Between the parts of JSON a line may break, and an empty frame is no answer.
    if frame := str(text).replace("\r", " ").replace("\n", " "):
        show(f"\r\x1b[K< {printable(frame)}\n{PROMPT}" if SHOWN else f"{frame}\n")


async def subscribe(socket: ClientConnection, rooms: list[str]) -> str:
    """Why that is refused, if it is."""
    await socket.send(to_json({"action": "subscribe", "sessions": rooms, "id": "rooms"}))
    while True:
        text = await socket.recv(decode=True)
        show_frame(text)
        answer = json.loads(text or "{}")
        # A hub without subscriptions reads no id.
        if answer.get("id") == "rooms" or answer.get("code") == "unknown_action":
            return f"cannot subscribe to {' '.join(rooms)}: {answer['message']}" if answer["type"] == "error" else ""


async def talk(socket: ClientConnection) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    show(PROMPT)
    threading.Thread(target=send_lines, args=(socket, loop, ended), daemon=True).start()
    while True:
        receiving = asyncio.ensure_future(socket.recv(decode=True))
        try:
            await asyncio.wait({receiving, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done() and not TYPED:
                await asyncio.wait({receiving}, timeout=PATIENCE)
            if not receiving.done():
                return
        finally:
            receiving.cancel()
        show_frame(receiving.result())


async def main(url: str, rooms: list[str]) -> str:
    """What has gone wrong, if anything."""
    try:
        # A terminal on this machine needs no proxy, and a proxy could not reach this machine.
        socket = await open_socket(url, protocols_of(os.environ.get("HUB_TOKEN")), {"proxy": None})
    except (OSError, InvalidHandshake, InvalidURI) as error:
        return f"cannot connect to {url}: {error}"
    try:
        if rooms and (refused := await subscribe(socket, rooms)):
            return refused
        await talk(socket)
    except ConnectionClosed as error:
        return f"the connection has ended: {error}"
    except BrokenPipeError:  # The output has been closed, as `head` does.
        pass
    finally:
        await socket.close()
        show(PROMPT and "\n")
    return ""


def run() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m websocket_hub", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="the hub's address, with ?session_id=")
    parser.add_argument("--room", action="append", default=[], metavar="SESSION", help="subscribe to this session too")
    options = parser.parse_args()
    try:
        wrong = asyncio.run(main(options.url, options.room))
        code = 1 if wrong else 0
        print(wrong, end="\n" if wrong else "", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    # The thread may still wait for input, and an orderly exit for the thread.
    os._exit(code)


if __name__ == "__main__":
    run()
