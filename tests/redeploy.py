"""Replaces the functions of the local stack's hub and puts them back while two sockets are open and messages go on:
each must come, with a true receipt, over the sockets that were there before.

    redeploy.py      (in the environment of scripts/local.sh env)
"""

import asyncio
import json
import os
import uuid

import botocore.session
from websockets.asyncio.client import connect

HUB = os.environ["TABLE_NAME"].removesuffix("-connections")
URL = os.environ["HUB_URL"]
FUNCTIONS = ("connect", "disconnect", "send-message")
PATIENCE = 30  # seconds

client = botocore.session.get_session().create_client("lambda")


def point(function: str, version: str) -> str:
    """Has the alias lead to that version, and says which it led to."""
    name = f"{HUB}-{function}"
    before = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    return before


def replace(function: str) -> str:
    name = f"{HUB}-{function}"
    client.update_function_configuration(FunctionName=name, Description=f"redeployed {uuid.uuid4()}")
    return point(function, client.publish_version(FunctionName=name)["Version"])


async def frame(socket) -> dict:
    return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))


async def main() -> None:
    tag = uuid.uuid4().hex[:8]
    async with connect(f"{URL}?session_id=from-{tag}") as sender, connect(f"{URL}?session_id=to-{tag}") as receiver:
        done = asyncio.Event()

        async def send() -> list[str]:
            sent = []
            while not done.is_set():
                sent.append(f"{tag}-{len(sent)}")
                await sender.send(json.dumps({"action": "sendMessage", "sessions": [f"to-{tag}"], "message": len(sent), "id": sent[-1]}))
                receipt = await frame(sender)
                assert (receipt["type"], receipt["id"], receipt["failed"]) == ("receipt", sent[-1], 0) and receipt["delivered"] >= 1, receipt
            return sent

        async def deploy() -> None:
            try:
                await asyncio.sleep(2)
                before = {function: await asyncio.to_thread(replace, function) for function in FUNCTIONS}
                await asyncio.sleep(3)
                # Whoever comes now meets the new functions, and is found by the old ones after the way back.
                async with connect(f"{URL}?session_id=to-{tag}") as newcomer:
                    await frame(newcomer)
                for function, version in before.items():
                    after = await asyncio.to_thread(point, function, version)
                    assert after != version, f"{function} was not replaced"
                await asyncio.sleep(3)
            finally:
                done.set()

        sending = asyncio.create_task(send())
        await deploy()
        sent = await sending
        heard = [(await frame(receiver))["id"] for _ in sent]
        assert heard == sent, f"{len(sent)} were sent, and {len(set(sent) - set(heard))} of them were not heard"
        print(f"{len(sent)} messages, sent while the functions were replaced and put back: each came once")


if __name__ == "__main__":
    asyncio.run(main())
