"""Says in words what a plan changes: changes.py < the output of `terraform show -json PLAN`."""

import json
import sys

NAMES = {
    "aws_apigatewayv2_api": "the API",
    "aws_apigatewayv2_stage": "the API's stage",
    "aws_cloudwatch_log_group": "log group",
    "aws_dynamodb_table": "the table of connections",
    "aws_iam_role": "role",
    "aws_iam_role_policy": "rights of role",
    "aws_lambda_alias": "alias of function",
    "aws_lambda_function": "function",
}
# What clients notice when it goes: the one thing to read before saying yes.
COSTS = {
    "aws_apigatewayv2_api": "every socket is closed, and the address changes",
    "aws_apigatewayv2_stage": "every socket is closed",
    "aws_dynamodb_table": "the hub forgets who is connected, until they connect again",
}
# What AWS fills in by itself, version numbers and digests: the cause of such a change is another argument, said anyway.
DERIVED = {"source_code_hash", "version", "qualified_arn", "qualified_invoke_arn", "last_modified", "code_sha256"}


def shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def details(change: dict) -> list[str]:
    before, after, unknown = change["before"] or {}, change["after"] or {}, change["after_unknown"]
    hidden = {**(change["before_sensitive"] or {}), **(change["after_sensitive"] or {})}
    said = []
    if before.get("source_code_hash") != after.get("source_code_hash"):
        said.append("new code")
    for key in sorted(after):
        if key in DERIVED or unknown.get(key) is True or before.get(key) == after[key]:
            continue
        # Nested blocks by their innermost change alone would be words for a machine: say that they change.
        simple = not isinstance(after[key], (dict, list)) and not hidden.get(key)
        said.append(f"{key} {shown(before.get(key))} → {shown(after[key])}" if simple else key)
    return said


def main() -> None:
    verbs: dict[str, dict[str, list[str]]] = {"create": {}, "update": {}, "replace": {}, "delete": {}}
    costs = []
    for resource in json.load(sys.stdin).get("resource_changes", []):
        change = resource["change"]
        actions = set(change["actions"])
        verb = "replace" if actions == {"create", "delete"} else next(iter(actions))
        if verb not in verbs:
            continue
        values = change["after"] or change["before"] or {}
        kind = NAMES.get(resource["type"], resource["type"].removeprefix("aws_").replace("_", " "))
        name = next((values[key] for key in ("function_name", "role", "name", "alarm_name", "dashboard_name", "route_key") if values.get(key)), resource.get("index", ""))
        if verb == "update" and (said := details(change)):
            name += ": " + ", ".join(said)
        verbs[verb].setdefault(kind, []).append(name)
        if verb in ("replace", "delete") and resource["type"] in COSTS:
            costs.append(f"to {verb} {kind} {name} means: {COSTS[resource['type']]}")
    if not any(verbs.values()):
        print("Nothing changes.")
    for verb, kinds in verbs.items():
        for kind, names in sorted(kinds.items()):
            # Each update has something to say; of the rest, the names will do.
            for said in sorted(names) if verb == "update" else [", ".join(sorted(names))]:
                print(f"- {verb} {kind} {said}".rstrip())
    for cost in costs:
        print(f"\n**Careful: {cost}.**")


if __name__ == "__main__":
    main()
