"""The smoke test: connects twice, sends once, and checks what arrives. scripts/smoke.sh runs it."""

import asyncio
import json
import os
import sys
import time
import uuid
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

PATIENCE = 20  # seconds for one step, cold starts included
SESSION = os.environ.get("HUB_SESSION") or "smoke-test"


async def expect(socket, kind: str) -> dict:
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))
        if frame["type"] == kind:
            return frame
        if frame["type"] == "error":
            sys.exit(f"the hub answered {frame} where a {kind} was expected")


async def deliver(url: str, session: str) -> None:
    token = os.environ.get("HUB_TOKEN")
    # Not in the address, which is logged and limited in length.
    options = {"open_timeout": PATIENCE, "subprotocols": ["hub.v1", f"bearer.{token}"] if token else None}
    address = f"{url}?session_id={quote(session, safe='')}"
    async with connect(address, **options) as sender, connect(address, **options) as receiver:
        await sender.send('{"action":"ping"}')
        await expect(sender, "pong")
        # The index of connections lags behind the table.
        for _ in range(10):
            message = {"action": "sendMessage", "sessions": [session], "message": {"text": "é ☃"}, "id": str(uuid.uuid4())}
            start = time.monotonic()
            await sender.send(json.dumps(message))
            receipt = await expect(sender, "receipt")
            if receipt["delivered"] >= 2:
                break
            await asyncio.sleep(0.5)
        else:
            sys.exit(f"both clients are connected, but the hub delivered to {receipt['delivered']}: see its log")
        while (delivery := await expect(receiver, "message"))["id"] != message["id"]:
            pass
        if delivery["message"] != message["message"] or delivery["from"] != session or receipt["failed"]:
            sys.exit(f"what arrived is not what was sent: {delivery}, {receipt}")
        print(f"a message reached both clients; the receipt came after {1000 * (time.monotonic() - start):.0f} ms", file=sys.stderr)


async def refused(url: str) -> None:
    try:
        async with connect(f"{url}?session_id={quote(SESSION, safe='')}", open_timeout=PATIENCE):
            sys.exit("expected the handshake to be rejected without a token, but it was accepted")
    except InvalidStatus as refusal:
        if refusal.response.status_code not in (401, 403):
            raise
        print("handshake without a token was rejected", file=sys.stderr)


async def main(url: str, *options: str) -> None:
    asks = "--asks-for-token" in options
    try:
        if asks:
            await refused(url)
        if asks and not os.environ.get("HUB_TOKEN"):
            # With this mark GitHub shows a warning on the run's page.
            mark = "::warning title=Smoke test::" if "GITHUB_ACTIONS" in os.environ else ""
            print(f"{mark}delivery was not tested: there is no token, in HUB_TOKEN or from the environment's smoke-token", file=sys.stderr)
        else:
            await deliver(url, SESSION if asks else f"{SESSION}-{uuid.uuid4()}")
    except (OSError, InvalidStatus, asyncio.TimeoutError) as error:
        sys.exit(f"the hub at {url} does not work: {error or 'no answer'}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
