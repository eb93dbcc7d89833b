"""Deploys two small functions twice on the local stack, the second time one of them only, and has rollback.sh undo it.

    rollback.py ZIP      (in the environment of scripts/local.sh env)
"""

import os
import subprocess
import sys
import time

import botocore.session

HUB = f"undo{os.getpid()}"
FUNCTIONS = ("connect", "send-message")
SCRIPT = os.path.join(os.path.dirname(__file__), "../scripts/rollback.sh")

client = botocore.session.get_session().create_client("lambda")


def rollback(*arguments: str) -> int:
    return subprocess.run([SCRIPT, "--yes", "--name", HUB, *arguments], check=False).returncode


def live() -> list[str]:
    return [client.get_alias(FunctionName=f"{HUB}-{function}", Name="live")["FunctionVersion"] for function in FUNCTIONS]


def deploy(description: str, *functions: str) -> None:
    for function in functions:
        name = f"{HUB}-{function}"
        client.update_function_configuration(FunctionName=name, Description=description)
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=client.publish_version(FunctionName=name)["Version"])


def main(path: str) -> None:
    assert rollback() != 0, "there is no such hub"
    role = client.get_paginator("list_functions").paginate().build_full_result()["Functions"][0]["Role"]
    with open(path, "rb") as file:
        code = {"ZipFile": file.read()}
    for function in FUNCTIONS:
        name = f"{HUB}-{function}"
        client.create_function(FunctionName=name, Role=role, Runtime="provided.al2023", Handler="bootstrap", Code=code, Publish=True)
        client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    try:
        time.sleep(31)  # as far apart as two deploys are
        deploy("second", *FUNCTIONS)
        assert live() == ["2", "2"]
        assert rollback("2") != 0 and live() == ["2", "2"], "two deploys back was nothing yet"
        assert rollback() == 0 and live() == ["1", "1"], "each function goes back"
        time.sleep(31)
        deploy("third", "send-message")
        assert live() == ["1", "3"]
        assert rollback() == 0 and live() == ["1", "2"], "only what the last deploy changed goes back"
    finally:
        for function in FUNCTIONS:
            client.delete_function(FunctionName=f"{HUB}-{function}")


if __name__ == "__main__":
    main(*sys.argv[1:])
