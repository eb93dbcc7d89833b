"""What scripts/local.sh client runs: each line of the input is sent as a frame, each frame that comes is printed as a line.

    client.py URL      (with a token, where the hub asks for one, in HUB_TOKEN)

In a terminal it ends with the input. After a pipe or a file it waits for answers, until none has come for two seconds.
"""

import asyncio
import contextlib
import os
import sys
import threading

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PATIENCE = 2  # seconds
TYPED = os.isatty(0)
SHOWN = os.isatty(1)
PROMPT = "> " if TYPED and SHOWN else ""


def show(text: str) -> None:
    print(text, end="", flush=True)


def printable(text: str) -> str:
    """What a message holds must not steer the terminal."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def send_lines(socket: ClientConnection, loop: asyncio.AbstractEventLoop, ended: asyncio.Future) -> None:
    """In a thread, since a file cannot be waited for otherwise. That the connection has ended is noticed where frames come in."""
    with contextlib.suppress(Exception):
        for line in sys.stdin.buffer:
            if text := line.decode(errors="replace").strip():
                asyncio.run_coroutine_threadsafe(socket.send(text), loop).result()
            show(PROMPT)
    with contextlib.suppress(RuntimeError):  # The loop has ended first.
        loop.call_soon_threadsafe(ended.set_result, None)


async def talk(socket: ClientConnection) -> None:
    ended = asyncio.get_running_loop().create_future()
    show(PROMPT)
    threading.Thread(target=send_lines, args=(socket, asyncio.get_running_loop(), ended), daemon=True).start()
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
        # Between the parts of JSON a line may break, and an empty frame is no answer.
        if frame := receiving.result().replace("\r", " ").replace("\n", " "):
            show(f"\r\x1b[K< {printable(frame)}\n{PROMPT}" if SHOWN else f"{frame}\n")


async def main(url: str) -> str:
    """What has gone wrong, if anything."""
    token = os.environ.get("HUB_TOKEN")
    try:
        # No proxy: the address is this machine's.
        socket = await connect(url, subprotocols=["hub.v1", f"bearer.{token}"] if token else None, proxy=None, close_timeout=1)
    except (OSError, InvalidHandshake) as error:
        return f"cannot connect to {url}: {error}"
    try:
        await talk(socket)
    except ConnectionClosed as error:
        return f"the connection has ended: {error}"
    except BrokenPipeError:  # The output has been closed, as `head` does.
        pass
    finally:
        await socket.close()
        show(PROMPT and "\n")
    return ""


if __name__ == "__main__":
    try:
        wrong = asyncio.run(main(sys.argv[1]))
        code = 1 if wrong else 0
        print(wrong, end="\n" if wrong else "", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    # The thread may still wait for input, and an orderly exit for the thread.
    os._exit(code)
