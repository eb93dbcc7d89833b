"""Checks of what scripts/lib/emulator.py adds to MiniStack. A repeated request gets the first answer, as Terraform needs. A
socket's frames are handled at once, or in the order that a test chooses. Reserved concurrency also limits invocations through an
alias. An invocation's log has the lines that are read late.

    emulator.py      (in the environment of scripts/local.sh env)
"""

import asyncio
import json
import os
import queue
import sys
import threading
import uuid
from pathlib import Path
from types import SimpleNamespace

import botocore.config
import botocore.session
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts/lib"))
from emulator import ProvidedWorker  # noqa: E402

NAME = f"twice-{uuid.uuid4().hex[:8]}"
TABLE = {
    "TableName": NAME,
    "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def client(user_agent: str, invocation: str):
    config = botocore.config.Config(user_agent=user_agent, retries={"total_max_attempts": 1})
    new = botocore.session.get_session().create_client("dynamodb", config=config)
    new.meta.events.register("before-send", lambda request, **_: request.headers.__setitem__("amz-sdk-invocation-id", invocation))
    return new


def outcome(user_agent: str, invocation: str, call: str, **arguments: object) -> str:
    dynamodb = client(user_agent, invocation)
    try:
        return getattr(dynamodb, call)(**arguments)["TableDescription"]["TableName"]
    except dynamodb.exceptions.ClientError as error:
        return error.response["Error"]["Code"]


terraform = "APN/1.0 HashiCorp/1.0 Terraform/1.11.4"
assert outcome(terraform, "one", "create_table", **TABLE) == NAME
assert outcome(terraform, "one", "create_table", **TABLE) == NAME, "a repeated request meets its own first attempt"
assert outcome(terraform, "two", "create_table", **TABLE) == "ResourceInUseException", "another request counts as a repeated one"
assert outcome("another", "one", "create_table", **TABLE) == "ResourceInUseException", "clients other than Terraform get the first answer again"
# A request that failed is carried out again.
assert outcome(terraform, "three", "delete_table", TableName=f"{NAME}-none") == "ResourceNotFoundException"
assert outcome(terraform, "three", "delete_table", TableName=NAME) == NAME, "a failure is repeated instead of the request"


async def answers(order: str, *frames: dict) -> list[str]:
    """The types of the answers to frames that are sent without a pause."""
    async with connect(f"{os.environ['HUB_URL']}?session_id=order-{NAME}{order}") as socket:
        for frame in frames:
            await socket.send(json.dumps(frame))
        return [json.loads(await asyncio.wait_for(socket.recv(), 30))["type"] for _ in frames]


# A ping is answered at once, a message by a function.
ping, message = {"action": "ping"}, {"action": "sendMessage", "sessions": [NAME], "message": 1}
for order, frames, expected in (
    ("", (message, ping), ["pong", "receipt"]),
    ("&emulator_order=sent", (message, ping, message), ["receipt", "pong", "receipt"]),
    ("&emulator_order=reversed", (ping, message, ping, message), ["receipt", "pong", "receipt", "pong"]),
):
    found = asyncio.run(answers(order, *frames))
    assert found == expected, f"frames{order} are answered as {found}"

lambdas = botocore.session.get_session().create_client("lambda", config=botocore.config.Config(retries={"total_max_attempts": 1}))
function = f"{os.environ['TABLE_NAME'].removesuffix('-connections')}-deliver"


def invoked() -> str:
    try:
        return lambdas.invoke(FunctionName=f"{function}:live", Payload=b"{}").get("FunctionError", "done")
    except lambdas.exceptions.TooManyRequestsException as error:
        return error.response["Reason"]


assert invoked() == "Unhandled", "deliver accepted an event that is no chunk"
lambdas.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
try:
    assert invoked() == "ReservedFunctionConcurrentInvocationLimitExceeded", "an alias leads past the function's reserved concurrency"
finally:
    lambdas.delete_function_concurrency(FunctionName=function)
assert invoked() == "Unhandled", "a function stays throttled"

output, pipe = os.pipe()
os.write(pipe, b"late")
worker = SimpleNamespace(_proc=SimpleNamespace(stdout=output), _stderr_queue=queue.Queue())
worker._stderr_queue.put("early")
threading.Timer(0.1, lambda: worker._stderr_queue.put(os.read(output, 100).decode())).start()
found = ProvidedWorker._drain_stderr_bounded(worker)
assert found == "early\nlate", f"the log of an invocation is {found!r}"
