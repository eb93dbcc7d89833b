"""Runs a command while messages go from one socket to another. Each message must arrive once, with a correct receipt, over the
sockets that were open before. A socket that opens afterwards must receive messages too.

    traffic.py WEBSOCKET_URL COMMAND...      (exit code: the command's, or 1 where a message was lost)
"""

import asyncio
import json
import sys
import uuid

from websockets.asyncio.client import connect

PATIENCE = 30  # seconds


async def frame(socket) -> dict:
    return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))


async def main(url: str, *command: str) -> int:
    tag = uuid.uuid4().hex[:8]
    sent, heard, done = [], [], asyncio.Event()
    async with connect(f"{url}?session_id=from-{tag}") as sender, connect(f"{url}?session_id=to-{tag}") as receiver:

        async def send() -> None:
            while not done.is_set():
                sent.append(f"{tag}-{len(sent)}")
                await sender.send(json.dumps({"action": "sendMessage", "sessions": [f"to-{tag}"], "message": len(sent), "id": sent[-1]}))
                receipt = await frame(sender)
                assert (receipt["type"], receipt["id"], receipt["failed"]) == ("receipt", sent[-1], 0) and receipt["delivered"] >= 1, receipt

        # Reads all the time: a socket that is not read does not answer pings either.
        async def receive() -> None:
            async for text in receiver:
                heard.append(json.loads(text)["id"])

        receiving = asyncio.create_task(receive())
        sending = asyncio.create_task(send())
        try:
            process = await asyncio.create_subprocess_exec(*command)
            code = await process.wait()
            async with connect(f"{url}?session_id=to-{tag}") as newcomer:
                await frame(newcomer)
        finally:
            done.set()
            await sending
        for _ in range(10 * PATIENCE):
            if len(heard) >= len(sent):
                break
            await asyncio.sleep(0.1)
        receiving.cancel()
    assert heard == sent, f"{len(sent)} were sent, and {len(set(sent) - set(heard))} of them were not received"
    print(f"{len(sent)} messages were sent meanwhile, and each arrived once", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
