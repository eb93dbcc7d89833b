"""What scripts/rollback.sh asks of Lambda.

    rollback.py plan NAME STEPS FUNCTION...    prints one line a function: NAME-FUNCTION: FROM -> TO, published …
    rollback.py apply < such lines             points the aliases there

A deploy publishes a version of those functions only that it changes. So the versions of all functions, in the order of
their time, are taken together into deploys, and what goes back is the functions of the last one.
"""

import datetime
import re
import sys

import botocore.exceptions
import botocore.session

ALIAS = "live"
# Terraform updates the functions side by side: what lies further apart was another deploy.
APART = datetime.timedelta(seconds=30)


def versions(client, name: str) -> dict[int, datetime.datetime]:
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return {
        int(version["Version"]): datetime.datetime.strptime(version["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z")
        for page in pages
        for version in page["Versions"]
        if version["Version"] != "$LATEST"
    }


def plan(client, name: str, steps: str, *functions: str) -> None:
    live, published = {}, {}
    for function in functions:
        full = f"{name}-{function}"
        try:
            live[full] = int(client.get_alias(FunctionName=full, Name=ALIAS)["FunctionVersion"])
        except client.exceptions.ResourceNotFoundException:
            continue  # the authorizer of a hub without `auth`
        published[full] = versions(client, full)
    if not live:
        sys.exit(f"no function of a hub named {name} has an alias {ALIAS} in this account and region: name it with --name")
    goal = dict(live)
    for _ in range(int(steps)):
        newest = max(published[full][version] for full, version in goal.items())
        last = {full for full, version in goal.items() if newest - published[full][version] <= APART}
        for full in last:
            goal[full] = max((v for v in published[full] if v < goal[full]), default=None)
        if all(goal[full] is None for full in last):
            sys.exit(f"{name} has no deploy before that one: there is nothing to go back to")
        # A function that this deploy brought along has no version before, and stays.
        goal = {full: version for full, version in goal.items() if version}
    for full, version in sorted(goal.items()):
        if version != live[full]:
            print(f"{full}: {live[full]} -> {version}, published {published[full][version]:%Y-%m-%d %H:%M:%S} UTC")


def apply(client) -> None:
    for line in sys.stdin:
        full, version = re.match(r"(\S+): \d+ -> (\d+),", line).groups()
        client.update_alias(FunctionName=full, Name=ALIAS, FunctionVersion=version)
        print(f"{full} is at version {version}", file=sys.stderr)


if __name__ == "__main__":
    try:
        {"plan": plan, "apply": apply}[sys.argv[1]](botocore.session.get_session().create_client("lambda"), *sys.argv[2:])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        sys.exit(f"Lambda refused: {error}")
