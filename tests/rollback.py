"""Rolls back small functions, and deletes their old versions, on the local stack with scripts/lib/releases.py, while some calls fail.

    rollback.py ZIP      (in the environment of scripts/local.sh env)
"""

import json
import os
import subprocess
import sys
import tempfile

import botocore.exceptions
import botocore.session

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts/lib/releases.py")
sys.path.insert(0, os.path.dirname(SCRIPT))
import releases  # noqa: E402

NAME = f"undo{os.getpid()}"
HUB = {
    "name": NAME,
    "region": os.environ["AWS_REGION"],
    "alias": "live",
    "release": "now",
    # An interrupted first apply leaves a function like the last one: without an alias, or missing.
    "function_names": {function: f"{NAME}-{function}" for function in ("connect", "disconnect", "send-message", "unborn")},
}
FUNCTIONS = list(HUB["function_names"].values())[:3]

client = botocore.session.get_session().create_client("lambda")


def script(verb: str, what: dict) -> subprocess.CompletedProcess:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(what, file)
        file.flush()
        return subprocess.run([sys.executable, SCRIPT, verb, file.name], capture_output=True, text=True, check=False)


def planned() -> dict:
    run = script("plan", HUB)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def rollback() -> str:
    run = script("apply", planned())
    assert run.returncode == 0, run.stderr
    return run.stdout


def interrupted(lambdas: object) -> str:
    try:
        releases.apply(lambdas, planned())
    except SystemExit as end:
        return str(end)
    raise AssertionError("the failure was ignored")


def deploy(release: str, *only: str) -> None:
    for name in only or FUNCTIONS:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {"RELEASE": release, "TABLE_NAME": "t"}})
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=client.publish_version(FunctionName=name)["Version"])


def aliases() -> tuple[list[str], set[str]]:
    found = [client.get_alias(FunctionName=name, Name="live") for name in FUNCTIONS]
    return [alias["FunctionVersion"] for alias in found], {alias["Description"] for alias in found}


def versions(name: str) -> list[int]:
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return [int(one["Version"]) for page in pages for one in page["Versions"] if one["Version"] != "$LATEST"]


class Failing:
    """A client whose nth call to move an alias fails, before it arrives or with its answer lost."""

    def __init__(self, nth: int, arrives: bool = False, reads: bool = True) -> None:
        self.left, self.arrives, self.reads = nth, arrives, reads

    def __getattr__(self, name: str) -> object:
        return getattr(client, name)

    def update_alias(self, **what: str) -> None:
        self.left -= 1
        if self.left or self.arrives:
            client.update_alias(**what)
        if not self.left:
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="https://lambda")

    def get_alias(self, **what: str) -> dict:
        if not self.reads:
            raise botocore.exceptions.EndpointConnectionError(endpoint_url="https://lambda")
        return client.get_alias(**what)


def rolls_back() -> None:
    run = script("plan", HUB)
    assert run.returncode != 0 and "no other release was deployed" in run.stderr, run
    deploy("r2")
    assert rollback() == f"{NAME} runs release r1\n"
    assert aliases() == (["1", "1", "1"], {"rolled back: r2"}), aliases()
    deploy("r3")
    rollback()
    assert aliases() == (["1", "1", "1"], {"rolled back: r3, r2"}), aliases()
    run = script("plan", HUB)
    assert run.returncode != 0 and run.stdout == "" and "r3 was rolled back" in run.stderr and "revert the commit and deploy" in run.stderr, run


def goes_on_where_it_was_cut() -> None:
    deploy("r4")
    deploy("r5", FUNCTIONS[1])
    # Only one function has to move, and it moves last.
    why = interrupted(Failing(3))
    assert f"Done: {FUNCTIONS[0]}, {FUNCTIONS[2]}. Run this again" in why, why
    assert aliases()[0] == ["4", "5", "4"], aliases()
    rollback()
    assert aliases() == (["4", "4", "4"], {"rolled back: r5, r3, r2"}), aliases()

    deploy("r6")
    why = interrupted(Failing(2))
    assert f"Done: {FUNCTIONS[0]}. Run this again once the cause is gone: it finishes the return to r4" in why, why
    versions_now, descriptions = aliases()
    assert versions_now == ["4", "6", "5"] and descriptions == {"rolled back: r6, r5, r3, r2", "rolled back: r5, r3, r2"}, aliases()
    assert f"Done: {FUNCTIONS[0]}, {FUNCTIONS[1]}." in interrupted(Failing(3))
    assert aliases()[0] == ["4", "4", "5"], aliases()
    rollback()
    assert aliases() == (["4", "4", "4"], {"rolled back: r6, r5, r3, r2"}), aliases()


def a_lost_answer_counts() -> None:
    deploy("r7")
    releases.apply(Failing(3, arrives=True), planned())
    assert aliases() == (["4", "4", "4"], {"rolled back: r7, r6, r5, r3, r2"}), aliases()
    deploy("r8")
    why = interrupted(Failing(2, arrives=True, reads=False))
    assert "Run this again once" in why, why
    rollback()
    assert aliases() == (["4", "4", "4"], {"rolled back: r8, r7, r6, r5, r3"}), aliases()
    deploy("r9")
    # When it is unknown whether the last call arrived, another run could go back too far.
    why = interrupted(Failing(3, arrives=True, reads=False))
    assert f"Whether {FUNCTIONS[2]} is done is not known" in why and "Run this again once" not in why, why
    assert aliases()[0] == ["4", "4", "4"], aliases()


def a_deploy_in_between_is_not_undone() -> None:
    deploy("r10")
    what = planned()
    deploy("r11")
    before = aliases()
    run = script("apply", what)
    assert run.returncode != 0 and "Done: nothing." in run.stderr and aliases() == before, run


def tidies() -> None:
    one, two, three = FUNCTIONS
    while len(versions(one)) < 14:
        deploy(f"p{len(versions(one))}", one)
    while len(versions(two)) < 120:  # two and a half pages
        deploy(f"p{len(versions(two))}", two)
    client.create_alias(FunctionName=two, Name="mine", FunctionVersion="3")
    while len(versions(three)) < 14:
        deploy(f"p{len(versions(three))}", three)
    client.update_alias(FunctionName=three, Name="live", FunctionVersion="3")
    newest = versions(one)[-1], versions(two)[-1]
    client.update_alias(FunctionName=one, Name="live", Description="rolled back: r10, now, r8")
    run = script("tidy", HUB)
    assert (run.returncode, run.stderr) == (0, ""), run
    assert client.get_alias(FunctionName=one, Name="live")["Description"] == "rolled back: r10, r8"
    assert versions(one) == list(range(newest[0] - 9, newest[0] + 1)), versions(one)
    assert versions(two) == [3, *range(newest[1] - 9, newest[1] + 1)], versions(two)
    assert versions(three) == list(range(1, 15)), versions(three)



def main(path: str) -> None:
    role = client.get_paginator("list_functions").paginate().build_full_result()["Functions"][0]["Role"]
    with open(path, "rb") as file:
        code = {"ZipFile": file.read()}
    created = []
    try:
        for name in FUNCTIONS:
            variables = {"Variables": {"RELEASE": "r1", "TABLE_NAME": "t"}}
            client.create_function(
                FunctionName=name, Role=role, Runtime="provided.al2023", Handler="bootstrap", Code=code, Environment=variables, Publish=True
            )
            created.append(name)
            client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        rolls_back()
        goes_on_where_it_was_cut()
        a_lost_answer_counts()
        a_deploy_in_between_is_not_undone()
        tidies()
    finally:
        for name in created:
            client.delete_function(FunctionName=name)


if __name__ == "__main__":
    main(*sys.argv[1:])
