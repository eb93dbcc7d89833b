"""Corrects MiniStack, as it is imported, where something would notice a difference from AWS:

- Terraform: the endpoint of a WebSocket API, changed tags, all fields of alarms, saved queries, and requests that come twice
- clients: the chosen subprotocol, the status of a refusal, the close after a binary frame, and frames that overtake each other
- functions: reserved concurrency behind an alias, and the last log lines
- IAM: see emulator_iam.py
"""

import asyncio
import contextlib
import contextvars
import fcntl
import json
import struct
import termios
import time
import uuid
from collections.abc import Callable, Coroutine
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import emulator_iam  # noqa: F401  (patches IAM as it is imported)
import ministack.app
from ministack.core.lambda_runtime import ProvidedWorker
from ministack.core.responses import AccountRegionScopedDict, json_response
from ministack.services import apigateway, cloudwatch, cloudwatch_logs, lambda_svc

app = ministack.app.app
answers: "dict[bytes, asyncio.Future]" = {}
create_api = apigateway._create_api
handle_websocket = apigateway.handle_websocket
invoke_ws_lambda = apigateway._invoke_ws_lambda
this_socket: "contextvars.ContextVar[Socket]" = contextvars.ContextVar("this_socket")
describe_alarms = cloudwatch._describe_alarms
logs_request = cloudwatch_logs.handle_request
query_definitions = AccountRegionScopedDict()
reserved_concurrency = lambda_svc._reserved_concurrency
collect_log = ProvidedWorker._drain_stderr_bounded


def xml(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{xml(item)}</{key}>" for key, item in value.items() if item not in (None, "", []))
    if isinstance(value, list):
        return "".join(f"<member>{xml(item)}</member>" for item in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


async def app_that_repeats_answers(scope, receive, send) -> None:
    """Terraform's provider repeats a request when it missed the answer. It gets the first answer again instead of a conflict."""
    headers = dict(scope.get("headers") or [])
    key = headers.get(b"amz-sdk-invocation-id")
    if not key or b"Terraform" not in headers.get(b"user-agent", b""):
        return await app(scope, receive, send)
    first = await answers[key] if key in answers else []
    if first and first[0]["status"] < 400 and not first[-1].get("more_body"):
        for message in first:
            await send(message)
        return None
    answers[key] = answer = asyncio.get_running_loop().create_future()
    sent: list[dict] = []
    if len(answers) > 200:
        del answers[next(iter(answers))]

    async def keep(message: dict) -> None:
        sent.append(message)
        await send(message)

    try:
        await app(scope, receive, keep)
    finally:
        answer.set_result(sent)


def create_api_with_an_endpoint_that_works(data: dict) -> tuple:
    """With /{stage} after it, a WebSocket API's endpoint is the clients' address, and with http that of @connections."""
    answer = create_api(data)
    if answer[0] != 201 or data.get("protocolType") != "WEBSOCKET":
        return answer
    # Every later answer shows what is stored here.
    api = apigateway._apis[json.loads(answer[2])["apiId"]]
    api["apiEndpoint"] = f"ws://127.0.0.1:{apigateway._PORT}/_aws/execute-api/{api['apiId']}"
    return apigateway._apigw_response(api, 201)


def with_tags_shown(change: Callable) -> Callable:
    """A changed tag of an API or a stage shows in the API's or the stage's description."""

    def changed(arn: str, what: object) -> tuple:
        answer = change(arn, what)
        api, _, stage = arn.partition("/apis/")[2].partition("/stages/")
        record = apigateway._stages.get(api, {}).get(stage) if stage else apigateway._apis.get(api)
        if record and answer[0] < 300:
            record["tags"] = dict(apigateway._api_tags.get(arn, {}))
        return answer

    return changed


class Socket:
    """The answer to a handshake names the subprotocol that $connect has chosen, without which a browser that offers some closes the
    socket, or has the status of the refusal. A binary frame closes the socket.

    API Gateway handles the frames of a socket at the same time, so a later one may finish first. A test that needs an order adds
    emulator_order to the address: with `sent` each frame waits for the one before, with `reversed` for the one after.
    """

    def __init__(self, scope: dict, receive: Callable, send: Callable) -> None:
        self.order = parse_qs(scope.get("query_string", b"").decode()).get("emulator_order", [""])[0]
        self.scope, self.receive, self.send = scope, receive, send
        self.subprotocol: str | None = None
        self.is_closed = False
        self.tasks: set[asyncio.Task] = set()
        # The task of the frame after the last one, once there is one.
        self.next_task: asyncio.Future = asyncio.get_running_loop().create_future()

    async def receive_text(self) -> dict:
        message = await self.receive()
        if message["type"] != "websocket.receive" or message.get("bytes") is None:
            return message
        await self.send({"type": "websocket.close", "code": 1003})
        self.is_closed = True
        return {"type": "websocket.disconnect", "code": 1003}

    async def send_unless_closed(self, message: dict) -> None:
        if self.is_closed:
            return
        if message["type"] == "websocket.accept" and self.subprotocol:
            message = {**message, "subprotocol": self.subprotocol}
        await self.send(message)

    async def connect(self, answer: dict, connection_id: str, request_id: str) -> None:
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        self.subprotocol = headers.get("sec-websocket-protocol")
        status = int(answer.get("statusCode", 200))
        if not 200 <= status < 300:
            await apigateway._refuse_ws_handshake(self.scope, self.send, status, "Refused", connection_id, request_id)
            self.is_closed = True

    async def invoke(self, kind: str, invocation: Coroutine, *ids: str) -> "dict | None":
        if kind != "MESSAGE" or self.order == "sent":
            answer = await invocation
            if kind == "CONNECT":
                await self.connect(answer or {}, *ids)
            return answer
        before, self.next_task = self.next_task, asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self.answer(invocation, self.next_task))
        before.set_result(task)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return None

    async def answer(self, invocation: Coroutine, next_task: asyncio.Future) -> None:
        if self.order == "reversed" and (await asyncio.wait({next_task}, timeout=0.5))[0]:
            await asyncio.wait({next_task.result()})
        body = (await invocation or {}).get("body")
        # The socket may have closed meanwhile.
        with contextlib.suppress(Exception):
            if body:
                await self.send({"type": "websocket.send", "text": body if isinstance(body, str) else json.dumps(body)})


async def invoke_for_this_socket(*arguments: object, **named: object) -> "dict | None":
    connection_id, kind, request_id = map(str, arguments[5:8])
    return await this_socket.get().invoke(kind, invoke_ws_lambda(*arguments, **named), connection_id, request_id)


async def handle_websocket_with_corrections(scope, receive, send, *arguments: object, **named: object) -> None:
    socket = Socket(scope, receive, send)
    this_socket.set(socket)
    await handle_websocket(scope, socket.receive_text, socket.send_unless_closed, *arguments, **named)


def describe_alarms_in_full(params: dict, data: dict, is_cbor: bool, is_json: bool = False) -> tuple:
    """Alarms have all their fields in XML, which the provider reads."""
    if is_cbor or is_json:
        return describe_alarms(params, data, is_cbor, is_json)
    names = [values[0] for key, values in params.items() if key.startswith("AlarmNames.member.")]
    answer = json.loads(describe_alarms(params, {"AlarmNames": names}, False, True)[2])
    for alarm in answer["MetricAlarms"]:
        for field in list(alarm):
            # An alarm on an expression has no metric of its own. Times are numbers in JSON, and no caller reads them.
            if field.endswith("Timestamp") or (not alarm["MetricName"] and field in ("Period", "Statistic", "Dimensions")):
                del alarm[field]
    return cloudwatch._xml(200, "DescribeAlarmsResponse", f"<DescribeAlarmsResult>{xml(answer)}</DescribeAlarmsResult>")


async def logs_request_with_saved_queries(method, path, headers, body, query_params) -> tuple:
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if not action.endswith(("QueryDefinition", "QueryDefinitions")):
        return await logs_request(method, path, headers, body, query_params)
    data = json.loads(body or "{}")
    key = data.get("queryDefinitionId")
    if action == "PutQueryDefinition":
        key = key or str(uuid.uuid4())
        query_definitions[key] = {**data, "queryDefinitionId": key}
        return json_response({"queryDefinitionId": key})
    if action == "DeleteQueryDefinition":
        return json_response({"success": query_definitions.pop(key, None) is not None})
    prefix = data.get("queryDefinitionNamePrefix", "")
    found = [query for query in query_definitions.values() if query["name"].startswith(prefix)]
    return json_response({"queryDefinitions": found})


def reserved_concurrency_of_all_versions(function: dict, config: dict) -> "int | None":
    """A function's reserved concurrency holds for every version that an alias names: 0 throttles each invocation."""
    return reserved_concurrency(lambda_svc._functions.get(config.get("FunctionName"), function), config)


def collect_whole_log(worker: ProvidedWorker, **waits: float) -> str:
    """MiniStack ends an invocation's log when no line has come for 5 ms. Under load some are still unread in the pipe by then."""
    deadline = time.monotonic() + 5
    with contextlib.suppress(AttributeError, OSError, ValueError):  # The process may have ended.
        while struct.unpack("i", fcntl.ioctl(worker._proc.stdout, termios.FIONREAD, bytes(4)))[0] and time.monotonic() < deadline:
            time.sleep(0.001)
    return collect_log(worker, **waits)


apigateway._create_api = create_api_with_an_endpoint_that_works
apigateway._invoke_ws_lambda = invoke_for_this_socket
apigateway.handle_websocket = handle_websocket_with_corrections
apigateway._tag_resource = with_tags_shown(apigateway._tag_resource)
apigateway._untag_resource = with_tags_shown(apigateway._untag_resource)
ministack.app.app = app_that_repeats_answers
cloudwatch._describe_alarms = describe_alarms_in_full
cloudwatch_logs.handle_request = logs_request_with_saved_queries
lambda_svc._reserved_concurrency = reserved_concurrency_of_all_versions
ProvidedWorker._drain_stderr_bounded = collect_whole_log
