"""Checks of scripts/invoke-local.sh on the local stack: its output, its failures, and that each function has its own role's
permissions and no others. Then of scripts/local.sh client.

    invoke.py      (in the environment of scripts/local.sh env, without --auth)
"""

import copy
import json
import os
import subprocess
import tempfile

import botocore.session
import client
import permissions

HUB = os.environ["TABLE_NAME"].removesuffix("-connections")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")

session = botocore.session.get_session()
iam = session.create_client("iam")
table = session.create_client("dynamodb")


def invoke(*arguments: str) -> subprocess.CompletedProcess:
    script = os.path.join(ROOT, "scripts/invoke-local.sh")
    return subprocess.run([script, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def answer(function: str, event: str) -> dict:
    run = invoke(function, f"events/{event}.json")
    assert (run.returncode, run.stderr) == (0, ""), run
    return json.loads(run.stdout)


def stored(connection: str) -> bool:
    return "Item" in table.get_item(TableName=os.environ["TABLE_NAME"], Key={"connection_id": {"S": connection}}, ConsistentRead=True)


def subscribed(connection: str) -> set[str]:
    """The rows of a connection's subscriptions."""
    rows = table.scan(TableName=f"{HUB}-subscriptions", ConsistentRead=True)["Items"]
    return {row["session_id"]["S"] for row in rows if row["connection_id"]["S"] == connection}


def a_connection_comes_sends_and_goes(connection: str) -> None:
    assert answer("connect", "connect") == {"statusCode": 200} and stored(connection)
    receipt = json.loads(answer("send-message", "send-message")["body"])
    assert (receipt["type"], receipt["id"], receipt["gone"]) == ("receipt", "m-1", 1), receipt
    assert answer("publish", "publish")["type"] == "receipt"
    history = json.loads(answer("history", "history")["body"])
    assert (history["type"], history["id"], history["session"]) == ("history", "h-1", "alice") and history["messages"], history
    frames = {event: json.loads(answer("membership", event)["body"]) for event in ("subscribe", "hello")}
    assert [one["session"] for one in frames["subscribe"]["sessions"]] == frames["hello"]["subscriptions"][::-1] == ["room-7", "news"], frames
    assert subscribed(connection) == {"room-7", "news"}
    assert json.loads(answer("membership", "unsubscribe")["body"])["sessions"] == ["news"] and subscribed(connection) == {"room-7"}
    # What she did not hear has no socket either, and a row of the year 2100 is too young to be pruned.
    counts = answer("deliver", "deliver")
    assert (counts["delivered"], counts["gone"], counts["failed"], counts["pruned"]) == (0, 1, 0, 0) and stored(connection), counts
    assert answer("disconnect", "disconnect") == {"statusCode": 200} and not stored(connection) and not subscribed(connection)


def a_refusal_fails_and_shows_answer_and_log() -> None:
    for function, event, expected in (
        ("connect", "connect-empty-session", {"statusCode": 400}),
        ("send-message", "send-message-not-json", {"statusCode": 200}),
        ("publish", "publish-sqs", {"errorType": "bad_request"}),
    ):
        run = invoke(function, f"events/{event}.json")
        assert run.returncode == 1 and expected.items() <= json.loads(run.stdout).items(), run
        assert '"message":"refused"' in run.stderr and f"{function} refused the event" in run.stderr, run


def a_failure_fails_and_shows_answer_and_log() -> None:
    run = invoke("deliver", "events/deliver-another-version.json")
    assert run.returncode == 1 and json.loads(run.stdout)["errorType"] == "internal", run
    assert '"cause":"event"' in run.stderr and "deliver failed" in run.stderr, run


def a_function_has_its_own_permissions_only(connection: str) -> None:
    permissions.functions(HUB)
    function = session.create_client("lambda").get_function_configuration(FunctionName=f"{HUB}-connect", Qualifier="live")
    role = function["Role"].rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    reduced = copy.deepcopy(document)
    reduced["Statement"] = [statement for statement in document["Statement"] if "dynamodb:PutItem" not in statement["Action"]]
    assert len(reduced["Statement"]) == len(document["Statement"]) - 1, document
    try:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(reduced))
        run = invoke("connect")
        assert run.returncode == 1 and "AccessDenied" in run.stderr and "connect failed" in run.stderr, run
        assert not stored(connection), "the role cannot store, yet the row is there"
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def what_cannot_be_run_is_explained() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as text:
        text.write("{")
        text.flush()
        for arguments, message in (
            (("nobody",), "there is no function nobody"),
            (("connect", "events/nothing.json"), "there is no file events/nothing.json"),
            (("connect", text.name), "is not JSON"),
            (("authorizer",), "scripts/local.sh up --auth"),
        ):
            run = invoke(*arguments)
            assert run.returncode == 1 and run.stdout == "" and message in run.stderr, run


def main() -> None:
    with open(os.path.join(ROOT, "events/connect.json"), encoding="utf-8") as file:
        connection = json.load(file)["requestContext"]["connectionId"]
    a_connection_comes_sends_and_goes(connection)
    a_refusal_fails_and_shows_answer_and_log()
    a_failure_fails_and_shows_answer_and_log()
    a_function_has_its_own_permissions_only(connection)
    a_connection_comes_sends_and_goes(connection)
    what_cannot_be_run_is_explained()
    print("invoke-local.sh runs the stack's functions, each under its own role")
    client.check_against_a_scripted_hub()
    client.check_on_the_stack()
    print("local.sh client sends what it is given and prints what comes")


if __name__ == "__main__":
    main()
