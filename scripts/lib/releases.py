"""Chooses the release that a rollback returns to, moves the aliases, and deletes old versions.

    releases.py plan HUB     prints what a rollback would do: as JSON, and for people on stderr
    releases.py apply PLAN   does what that JSON says
    releases.py tidy HUB     after a deploy: takes its release out of the aliases' notes, and deletes old versions

HUB is a file with the output of `terraform output -json hub`, PLAN a file with the JSON that `plan` printed.

Every deploy publishes a version of every function, with the release in the variable RELEASE. Terraform points the alias at
it and ignores the alias's description, in which a rollback notes the releases that were rolled back.
"""

import json
import re
import signal
import sys
from typing import NamedTuple

import botocore.config
import botocore.exceptions
import botocore.session

import notes

# A rollback may change these: they name no resource and no rule.
TUNING = {
    "CONNECTION_TTL_SECONDS",
    "FANOUT_CONCURRENCY",
    "FANOUT_RATE",
    "FANOUT_SPLIT",
    "FANOUT_WORKERS",
    "MAX_MESSAGE_BYTES",
    "STRAGGLER_SECONDS",
}
KEPT = 10
FORWARD = "revert the commit and deploy (scripts/deploy.sh)"
AWS_ERRORS = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


class Version(NamedTuple):
    release: str | None
    variables: dict[str, str]
    published: str  # ISO 8601 in UTC; never below that of a lower version


class Function(NamedTuple):
    live: int
    versions: dict[int, Version]  # Up to the live one: an apply that was interrupted, or a rollback, leaves others above it.
    description: str = ""
    revision: str = ""


Functions = dict[str, Function]


class Refusal(Exception):
    pass


def newest(functions: Functions, release: str) -> dict[str, int]:
    """The newest version of the release, for each function that has one."""
    found = {name: [n for n, version in function.versions.items() if version.release == release] for name, function in functions.items()}
    return {name: max(numbers) for name, numbers in found.items() if numbers}


def age(functions: Functions, release: str) -> tuple:
    """A key that puts a newer release above an older one.

    Time and number both rise with the versions of a function, so a release that has the higher version of each function has
    the higher key. An interrupted apply may leave a new version of only some functions: the earliest time counts, so that one
    new version does not make a release new.
    """
    found = newest(functions, release)
    return min(functions[name].versions[n].published for name, n in found.items()), max(found.values()), release


def noted(functions: Functions) -> list[str]:
    """The releases that the aliases' descriptions say were rolled back."""
    return list(dict.fromkeys(name for function in functions.values() for name in notes.noted(function.description)))


def obstacle(functions: Functions, release: str) -> str | None:
    """Why a rollback cannot go to this release."""
    if release in noted(functions):
        return "was rolled back"
    versions = newest(functions, release)
    for name, function in functions.items():
        if name not in versions:
            return f"has no version of {name}"
    for name, function in functions.items():
        old, new = function.versions[versions[name]].variables, function.versions[function.live].variables
        different = sorted(key for key in (old.keys() | new.keys()) - TUNING - {"RELEASE"} if old.get(key) != new.get(key))
        if different:
            return f"has another {', '.join(different)} in {name}"
    return None


def plan(functions: Functions) -> dict:
    """The release to return to, and for each function the version to point its alias at, in the order to do it."""
    if not functions:
        raise Refusal(f"no function of this hub is live: {FORWARD}")
    for name, function in functions.items():
        if function.live not in function.versions or not function.versions[function.live].release:
            raise Refusal(f"what {name} runs is not a version that names its release, or its environment cannot be read: {FORWARD}")
    running = {name: function.versions[function.live].release for name, function in functions.items()}
    everywhere = {name: function.live for name, function in functions.items()}
    releases = {version.release for function in functions.values() for version in function.versions.values() if version.release}
    newest_first = sorted(releases, key=lambda release: age(functions, release), reverse=True)
    others = [release for release in newest_first if newest(functions, release) != everywhere]
    possible = [release for release in others if not obstacle(functions, release)]
    if not possible:
        lines = [f"  {release} {obstacle(functions, release)}" for release in dict.fromkeys([*noted(functions), *others])]
        raise Refusal("\n".join(["there is no release to return to:", *(lines[:5] or ["  no other release was deployed"]), FORWARD]))
    # If some functions run another release, an apply or a rollback was interrupted.
    target = next((release for release in possible if release in running.values()), possible[0])
    versions = newest(functions, target)
    left = [release for release in newest_first if any(running[name] == release and n != functions[name].live for name, n in versions.items())]
    return {
        "release": target,
        "description": notes.note(list(dict.fromkeys([*left, *noted(functions)]))),
        # Functions that only get the note come first. So until the last call some function has yet to move, and a second run
        # goes on with this rollback instead of starting another one.
        "steps": [
            {"function": name, "from": functions[name].live, "leaves": running[name], "to": n, "revision": functions[name].revision}
            for name, n in sorted(versions.items(), key=lambda item: (item[1] != functions[item[0]].live, item[0]))
        ],
    }


def live_functions(client, hub: dict) -> Functions:
    functions = {}
    for name in sorted(hub["function_names"].values()):
        try:
            alias = client.get_alias(FunctionName=name, Name=hub["alias"])
        except client.exceptions.ResourceNotFoundException:
            continue  # a first apply that was interrupted
        live = int(alias["FunctionVersion"]) if alias["FunctionVersion"].isdigit() else 0  # $LATEST, which no deploy makes live
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        found = {int(one["Version"]): one for page in pages for one in page["Versions"] if one["Version"] != "$LATEST"}
        versions, latest = {}, ""
        for n in sorted(n for n in found if n <= live):
            variables = found[n].get("Environment", {}).get("Variables", {})
            release = variables.get("RELEASE", "")
            # The clocks of AWS may disagree; the version numbers of a function do not.
            latest = max(latest, found[n]["LastModified"])
            versions[n] = Version(release if re.fullmatch(notes.RELEASE, release) else None, variables, latest)
        functions[name] = Function(live, versions, alias.get("Description", ""), alias["RevisionId"])
    return functions


def print_plan(client, hub: dict) -> None:
    try:
        what = plan(live_functions(client, hub))
    except Refusal as refusal:
        sys.exit(f"{hub['name']}: {refusal}")
    print(f"{hub['name']} in {hub['region']} would return to release {what['release']}:", file=sys.stderr)
    for step in what["steps"]:
        moves = f"version {step['from']} ({step['leaves']}) -> {step['to']}"
        print(f"  {step['function']}: {moves if step['from'] != step['to'] else 'stays at version ' + str(step['to'])}", file=sys.stderr)
    json.dump({"name": hub["name"], "region": hub["region"], "alias": hub["alias"], **what}, sys.stdout)


def apply(client, what: dict) -> None:
    alias, done = what["alias"], []
    for step in what["steps"]:
        name, goal = step["function"], {"FunctionVersion": str(step["to"]), "Description": what["description"]}
        try:
            # The revision of the plan: a deploy that has come between makes this call fail, and is not undone.
            client.update_alias(FunctionName=name, Name=alias, RevisionId=step["revision"], **goal)
        except AWS_ERRORS as error:
            again = f"Run this again once the cause is gone: it finishes the return to {what['release']}"
            try:
                # If only the answer was lost, the alias has moved.
                moved = goal.items() <= client.get_alias(FunctionName=name, Name=alias).items()
            except AWS_ERRORS:
                moved = False
                if step is what["steps"][-1]:
                    look = f"aws lambda get-alias --function-name {name} --name {alias}"
                    again = f"Whether {name} is done is not known. Look ({look}), and run this again unless it shows version {step['to']}"
            if not moved:
                sys.exit(f"{name}: {error}\nDone: {', '.join(done) or 'nothing'}. {again}")
        done.append(name)
        print(f"{name} runs version {step['to']}", file=sys.stderr)
    print(f"{what['name']} runs release {what['release']}")


def tidy(client, hub: dict) -> None:
    functions = live_functions(client, hub)
    for name, function in functions.items():
        names = notes.noted(function.description)
        if hub["release"] in names:
            rest = [other for other in names if other != hub["release"]]
            client.update_alias(FunctionName=name, Name=hub["alias"], RevisionId=function.revision, Description=notes.note(rest) if rest else "What the hub runs.")
    for name, function in functions.items():
        for n in sorted(function.versions)[:-KEPT]:
            try:
                client.delete_function(FunctionName=name, Qualifier=str(n))
            except client.exceptions.ResourceConflictException:
                pass  # an alias of the user's names it
            except AWS_ERRORS as error:
                print(f"warning: version {n} of {name} is not deleted: {error}", file=sys.stderr)


if __name__ == "__main__":
    # A rollback takes seconds: an interrupt must not leave it half done.
    signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[1] == "apply" else signal.SIG_DFL)
    with open(sys.argv[2], encoding="utf-8") as file:
        given = json.load(file)
    try:
        # A lost answer must not delay a rollback for minutes.
        config = botocore.config.Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard"})
        lambdas = botocore.session.get_session().create_client("lambda", region_name=given["region"], config=config)
        {"plan": print_plan, "apply": apply, "tidy": tidy}[sys.argv[1]](lambdas, given)
    except AWS_ERRORS as failure:
        sys.exit(f"Lambda cannot be asked: {failure}")
