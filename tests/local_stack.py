"""Holds scripts/local.sh to what it promises of a stack that is up.

    local_stack.py plan | logs | again | crash | down      (HUB_STATE_DIR names the stack)
"""

import contextlib
import glob
import json
import os
import platform
import signal
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
STATE = os.environ["HUB_STATE_DIR"]


def local(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([f"{ROOT}/scripts/local.sh", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == code, f"local.sh {' '.join(arguments)} ended with {done.returncode} instead of {code}:\n{done.stdout}"
    return done.stdout


def plan() -> None:
    """A plan straight after the apply is empty."""
    addresses = dict(line.split() for line in local("status").splitlines())
    variables = {"architecture": platform.machine().replace("aarch64", "arm64"), "artifacts_dir": f"{ROOT}/target/lambda-local"}
    variables |= {name: addresses[name] for name in addresses if name == "issuer"}
    command = ["terraform", f"-chdir={ROOT}/infra/environments/local", "plan", "-input=false", "-detailed-exitcode", "-no-color"]
    command += [f"-var={name}={value}" for name, value in variables.items()]
    subprocess.run(command, env={**os.environ, "TF_DATA_DIR": f"{STATE}/terraform"}, check=True)


def logs() -> None:
    """Log lines are JSON, with the messages and metrics that a hub in use has."""
    lines = [json.loads(line) for line in local("logs").splitlines()]
    messages, names = {line.get("message") for line in lines}, {name for line in lines for name in line}
    assert {"connected", "sent", "disconnected"} <= messages, messages
    assert {"ConnectionsOpened", "Messages", "ConnectionsClosed"} <= names, names


def again() -> None:
    output = local("up")
    assert "nothing has changed" in output, output


def crash() -> None:
    """A crash is reported, and `up` repairs it at the same address."""
    url = local("url")
    with open(f"{STATE}/pid", encoding="utf-8") as file:
        os.kill(int(file.read()), signal.SIGKILL)
    local("status", code=1)
    local("up")
    assert local("url") == url, f"{url} became {local('url')}"


def down() -> None:
    """Leaves neither files nor processes."""
    local("down")
    local("status", code=3)
    assert not os.path.exists(STATE), f"{STATE} is still here"
    # Each process of a stack has this variable, and so have its functions.
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            assert f"HUB_STACK={STATE}\0".encode() not in file.read(), f"a process is left: {path}"


if __name__ == "__main__":
    {"plan": plan, "logs": logs, "again": again, "crash": crash, "down": down}[sys.argv[1]]()
