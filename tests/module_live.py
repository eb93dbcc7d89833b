"""Applies the hub's module from a root elsewhere to the local stack, then replaces its resources one by one.

    module_live.py      (in the environment of scripts/local.sh env)
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator

import botocore.session

from test_module import ROOT, initialise, terraform, write

sys.path.insert(0, f"{ROOT}/scripts/lib")
from removal import resources  # noqa: E402


@contextlib.contextmanager
def tokens() -> "Iterator[tuple[str, Callable[[str], str]]]":
    """The address of an issuer, and what makes its token for a session."""
    script = [sys.executable, f"{ROOT}/scripts/lib/issuer.py"]
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    address = f"http://127.0.0.1:{port}"

    def token(session: str) -> str:
        return subprocess.check_output([*script, "token", key, address, "--session", session], text=True).strip()

    with tempfile.TemporaryDirectory() as folder:
        key = f"{folder}/key"
        with subprocess.Popen([*script, "serve", key, str(port)], stderr=subprocess.DEVNULL) as process:
            try:
                for _ in range(100):
                    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/keys"):
                        break
                    time.sleep(0.1)
                yield address, token
            finally:
                process.terminate()


def live() -> None:
    assert os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"), 'this is not the local stack\'s environment: eval "$(scripts/local.sh env)"'
    hub = f"module{os.getpid()}"
    # The emulator takes the API's id from the first.
    tags = {"ms-custom-id": hub, "team": "strangers"}
    with tempfile.TemporaryDirectory() as folder, tokens() as (issuer, token):
        variables = {"name": hub, "region": os.environ["AWS_REGION"], "artifacts_dir": f"{ROOT}/target/lambda-local", "issuer": issuer, "tags": tags}
        write(f"{folder}/terraform.tfvars.json", json.dumps(variables))
        initialise(folder, "live")
        try:
            applied(folder, tags, token)
        finally:
            terraform(folder, "destroy", "-auto-approve", "-input=false", "-no-color")
    print("ok - destroyed")


def deliver_has_a_part(groups: "dict[str, str]", since: int) -> bool:
    """A message would arrive without deliver too, so this reads the logs."""
    logs = botocore.session.get_session().create_client("logs")

    def said(function: str, message: str) -> bool:
        events = logs.filter_log_events(logGroupName=groups[function], startTime=since)["events"]
        return any(f'"message":"{message}"' in event["message"] for event in events)

    for _ in range(100):
        if said("deliver", "delivered") or said("send-message", "chunks failed"):
            break
        time.sleep(0.1)
    return said("deliver", "delivered")


def applied(folder: str, tags: "dict[str, str]", token: "Callable[[str], str]") -> None:
    def apply(*arguments: str) -> None:
        terraform(folder, "apply", "-auto-approve", "-input=false", "-no-color", *arguments)

    def works() -> None:
        hub = json.loads(terraform(folder, "output", "-json", "hub"))
        address, began = hub["websocket_url"], int(time.time() * 1000)
        assert tags["ms-custom-id"] in address, address
        done = subprocess.run(
            [f"{ROOT}/scripts/smoke.sh", address, "--asks-for-token"],
            env={**os.environ, "HUB_TOKEN": token("auth0|smoke+test"), "HUB_SESSION": "auth0|smoke+test"}, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, f"scripts/smoke.sh: {done.stdout}{done.stderr}"
        assert deliver_has_a_part(hub["log_group_names"], began), "send-message handed over nothing, and delivered by itself"

    apply()
    works()
    print("ok - applied, and the smoke test passes")

    state = json.loads(terraform(folder, "show", "-json"))["values"]
    own = [one for one in resources(state["root_module"]) if one["address"].startswith("module.")]
    tagged = [one for one in own if "tags" in one["values"]]
    expected = {**tags, "websocket-hub": tags["ms-custom-id"]}
    wrong = {one["address"]: one["values"]["tags"] for one in tagged if one["values"]["tags"] != expected}
    assert len(tagged) > 20 and not wrong, f"other tags than {expected}: {wrong}"
    print(f"ok - the {len(tagged)} of {len(own)} resources that can carry tags carry those given, and the hub's name")

    terraform(folder, "plan", "-var=revision=2", "-out=changed", "-input=false", "-no-color")
    plan = json.loads(terraform(folder, "show", "-json", "changed"))
    changes = {change["address"]: change["change"]["actions"] for change in plan["resource_changes"]}
    inside = {address: actions for address, actions in changes.items() if address.startswith("module.")}
    outside = {address: actions for address, actions in changes.items() if address not in inside}
    # The module's deployment depends on the second and is created before its old one is destroyed, so the second is too.
    assert outside == {"aws_sns_topic.alarms": ["update"], "terraform_data.before": ["create", "delete"]}, outside
    touched = {address: actions for address, actions in inside.items() if actions != ["no-op"]}
    assert len(inside) == len(own) and not touched, f"a change in what the module depends on changes the module: {touched}"
    apply("changed")
    print(f"ok - what the module depends on changes, and none of its {len(inside)} resources")

    for address in (
        'module.function["connect"].aws_lambda_function.this',
        'module.function["authorizer"].aws_lambda_function.this',
        'module.function["deliver"].aws_lambda_function.this',
        "module.connections_table.aws_dynamodb_table.this",
        "module.messages_table[0].aws_dynamodb_table.this",
        "module.subscriptions_table[0].aws_dynamodb_table.this",
        'module.websocket_api.aws_apigatewayv2_authorizer.this["$connect"]',
    ):
        apply("-var=revision=2", f"-replace=module.hub.{address}")
        works()
        # Exit code 2 would mean that the plan is not empty.
        terraform(folder, "plan", "-var=revision=2", "-detailed-exitcode", "-input=false", "-no-color")
        print(f"ok - {address} replaced, the smoke test passes, the next plan is empty")


if __name__ == "__main__":
    live()
