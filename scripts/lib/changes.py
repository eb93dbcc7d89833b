"""Summarises a plan, the costs first: changes.py < the output of `terraform show -json PLAN`.

Exit code 3: the plan makes a release live again that was rolled back.
"""

import json
import re
import sys
from fnmatch import fnmatchcase

from notes import noted

NAMES = {
    "aws_apigatewayv2_api": "the API",
    "aws_apigatewayv2_stage": "the API's stage",
    "aws_cloudwatch_log_group": "log group",
    "aws_dynamodb_table": "the table of connections",
    "messages": "the table of messages",
    "subscriptions": "the table of subscriptions",
    "aws_iam_role": "role",
    "aws_iam_role_policy": "policy of role",
    "aws_lambda_alias": "alias of function",
    "aws_lambda_function": "function",
}
# What clients notice when one of these is removed.
COSTS = {
    "aws_apigatewayv2_api": "every socket is closed, and the address changes",
    "aws_apigatewayv2_stage": "every socket is closed, and the address changes if the stage's name does",
    "aws_apigatewayv2_domain_name": "clients cannot connect by this name, and its DNS record needs a new target",
    "aws_apigatewayv2_api_mapping": "clients cannot connect by the custom domain",
    "aws_apigatewayv2_authorizer": "tokens are no longer checked, unless another one takes its place",
    "aws_apigatewayv2_route": "clients can no longer use this route",
    "aws_dynamodb_table": "the hub forgets who is connected, until they connect again",
    "messages": "the messages in it are gone, and clients cannot fetch what they missed",
    "subscriptions": "no connection hears other sessions than its own, until it connects and subscribes again",
}
OPEN = "OPEN TO EVERYONE: whoever knows the address can join any session, and subscribe and send to any"
# Attributes that hold an IAM policy.
POLICIES = ("policy", "assume_role_policy")
# AWS fills these in. They change because another argument does, which is listed.
DERIVED = {"source_code_hash", "version", "qualified_arn", "qualified_invoke_arn", "last_modified", "code_sha256"}


def kind_of(resource: dict) -> str:
    """The type of a resource; the optional tables have their own kinds."""
    values = resource["change"].get("after") or resource["change"].get("before") or {}
    return {"offset": "messages", "connection_id": "subscriptions"}.get(values.get("range_key"), resource["type"])


def shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def listed(value: object) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]


def statements(policy: object) -> list[dict]:
    """Text that is not a policy becomes one statement that equals no other."""
    try:
        found = listed(json.loads(policy or "{}").get("Statement"))
    except (AttributeError, TypeError, ValueError):
        found = [policy]
    return [one if isinstance(one, dict) else {"Effect": "Allow", "Principal": str(one)} for one in found]


def line(statement: dict) -> str:
    """A statement with its lists sorted, so that the order in which a policy is written does not matter."""
    return json.dumps({key: sorted(value, key=str) if isinstance(value, list) else value for key, value in statement.items()}, sort_keys=True)


def grants(policy: object) -> set[tuple]:
    """A policy, taken apart into one grant for each principal, action and resource."""
    found = set()
    for one in statements(policy):
        # NotAction and NotResource only mean something as whole lists.
        what = [("Action", value) for value in listed(one.get("Action"))] or [("NotAction", str(one.get("NotAction")))]
        where = [("Resource", value) for value in listed(one.get("Resource"))] or [("NotResource", str(one.get("NotResource")))]
        who = json.dumps([one.get("Principal"), one.get("NotPrincipal")], sort_keys=True)
        condition = json.dumps(one.get("Condition"), sort_keys=True)
        found |= {(one.get("Effect"), who, condition, action, resource) for action in what for resource in where}
    return found


def cased(grant: tuple[str, str]) -> str:
    """Actions are case-insensitive, resources are not."""
    return grant[1].lower() if grant[0] == "Action" else grant[1]


def covers(wide: tuple, narrow: tuple) -> bool:
    """Whether one grant includes another: by its wildcards, or because it lacks a condition."""
    return (
        wide[:2] == narrow[:2]
        and wide[2] in ("null", narrow[2])
        and all(a[0] == b[0] and (a[1] == b[1] or ("Not" not in a[0] and fnmatchcase(cased(b), cased(a)))) for a, b in zip(wide[3:], narrow[3:]))
    )


def widened(before: object, after: object) -> bool:
    old, new = grants(before), grants(after)
    allowed = [grant for grant in new if grant[0] != "Deny" and not any(covers(one, grant) for one in old)]
    # A removed Deny widens a policy, like an added Allow.
    denied = [grant for grant in old if grant[0] == "Deny" and not any(covers(one, grant) for one in new)]
    return bool(allowed or denied)


def policy_lines(before: object, after: object) -> list[str]:
    old, new = ([line(one) for one in statements(policy)] for policy in (before, after))
    return [f"  - no longer: `{one}`" for one in old if one not in new] + [f"  - new: `{one}`" for one in new if one not in old]


def details(change: dict) -> tuple[list[str], list[str]]:
    """The attributes that an update changes, and the changed statements of its policies."""
    before, after, unknown = (change.get(key) or {} for key in ("before", "after", "after_unknown"))
    hidden = {**(change.get("before_sensitive") or {}), **(change.get("after_sensitive") or {})}
    said, lines = [], []
    if before.get("source_code_hash") != after.get("source_code_hash"):
        said.append("new code")
    for key in sorted(after):
        if key in DERIVED or unknown.get(key) is True or before.get(key) == after[key]:
            continue
        if key in POLICIES:
            said.append(key)
            lines += policy_lines(before.get(key), after[key])
            continue
        if key == "environment":
            old, new = ((value or [{}])[0].get("variables") or {} for value in (before.get(key), after[key]))
            said.append("environment " + ", ".join(sorted(name for name in {**old, **new} if old.get(name) != new.get(name))))
            continue
        simple = not isinstance(after[key], (dict, list)) and not hidden.get(key)
        old, new = shown(before.get(key)), shown(after[key])
        said.append(f"{key} {old} → {new}" if simple and old != new else key)
    return said, lines


def costs_of(resource: dict, verb: str, label: str, created: set[str]) -> list[str]:
    """What the approver must know first. `created` holds the names of new roles and functions."""
    kind = kind_of(resource)
    before, after, unknown = (resource["change"].get(key) or {} for key in ("before", "after", "after_unknown"))
    costs = []
    if verb in ("replace", "delete") and kind in COSTS:
        costs.append(f"to {verb} {label} means: {COSTS[kind]}")
    guarded = before.get("authorization_type", "NONE") != "NONE"
    if kind == "aws_apigatewayv2_route" and verb != "delete" and guarded and after.get("authorization_type", "NONE") == "NONE":
        costs.append(f"the hub becomes {OPEN}")
    if verb in ("update", "replace"):
        for key in POLICIES:
            if unknown.get(key) is True and key in before:
                costs.append(f"{label}: what it will allow is known only after the apply")
            elif key in after and widened(before.get(key), after[key]):
                costs.append(f"{label} allows more than before")
        if before.get("permissions_boundary") and after.get("permissions_boundary") != before["permissions_boundary"]:
            costs.append(f"{label} gets {'another' if after.get('permissions_boundary') else 'no'} permissions boundary")
    # A new policy for an existing role, and then a new caller of an existing function.
    if kind in ("aws_iam_role_policy", "aws_iam_role_policy_attachment") and verb == "create" and after.get("role") not in created:
        costs.append(f"{label} allows more than before")
    # A function name that is known only after the apply is that of a new function.
    if kind == "aws_lambda_permission" and verb in ("create", "replace") and after.get("function_name", before.get("function_name")) not in (*created, None):
        caller = [key for key in ("principal", "source_arn", "source_account") if unknown.get(key) is not True]
        if any(after.get(key) != before.get(key) for key in caller):
            source = "a source that is known only after the apply" if unknown.get("source_arn") is True else after.get("source_arn") or "any source"
            costs.append(f"function {after.get('function_name') or before['function_name']} may be invoked by {after.get('principal')} for {source}")
    return costs


def relived(plan: dict) -> list[str]:
    """The releases that a plan makes live again although the aliases' descriptions note them as rolled back."""
    resources = [resource for resource in plan.get("resource_changes", []) if resource["change"].get("after")]
    releases = {}
    for resource in resources:
        after = resource["change"]["after"]
        if resource["type"] == "aws_lambda_function" and after.get("environment"):
            releases[after["function_name"]] = (after["environment"][0].get("variables") or {}).get("RELEASE")
    found = set()
    for resource in resources:
        before, after = resource["change"].get("before") or {}, resource["change"]["after"]
        if resource["type"] != "aws_lambda_alias" or before.get("function_version") == after.get("function_version"):
            continue
        release = releases.get(after.get("function_name") or before.get("function_name"))
        if release in noted(before.get("description") or ""):
            found.add(release)
    return sorted(found)


def summary(plan: dict) -> str:
    verbs: dict[str, dict[str, list[str]]] = {"create": {}, "update": {}, "replace": {}, "delete": {}, "forget": {}}
    costs = []
    is_open = False
    created = {
        str((resource["change"].get("after") or {}).get(key))
        for resource in plan.get("resource_changes", [])
        for kind, key in (("aws_iam_role", "name"), ("aws_lambda_function", "function_name"))
        if resource["type"] == kind and list(resource["change"]["actions"]) == ["create"]
    }
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        actions = set(change["actions"])
        after = change.get("after") or {}
        is_open |= after.get("route_key") == "$connect" and after.get("authorization_type") == "NONE"
        verb = "replace" if actions == {"create", "delete"} else next(iter(actions))
        if verb not in verbs:
            continue
        values = after or change.get("before") or {}
        kind = NAMES.get(kind_of(resource), resource["type"].removeprefix("aws_").replace("_", " "))
        keys = ("function_name", "role", "name", "alarm_name", "dashboard_name", "route_key", "rule")
        name = str(next((values[key] for key in keys if values.get(key)), resource.get("index", "")))
        if resource["type"] == "aws_lambda_alias" and not values.get("function_name"):
            name = next(iter(re.findall(r'function\["(.+?)"\]', resource.get("address", ""))), name)
        costs += costs_of(resource, verb, f"{kind} {name}".strip(), created)
        if verb == "update":
            said, lines = details(change)
            name = "\n".join([name + (": " + ", ".join(said) if said else ""), *lines])
        verbs[verb].setdefault(kind, []).append(name)
    if not any(verbs.values()):
        return "Nothing changes."
    out = [f"**{release} was rolled back: this puts it live again.** scripts/deploy.sh refuses that without --again." for release in relived(plan)]
    out += [f"**Careful: {cost}.**" for cost in costs]
    if is_open and not any(OPEN in line for line in out):
        out.append(f"**This hub is {OPEN}.**")
    if out:
        out.append("")
    for verb, kinds in verbs.items():
        for kind, names in sorted(kinds.items()):
            # Updates have details; for the rest, names suffice.
            for said in sorted(names) if verb == "update" else [", ".join(sorted(filter(None, names)))]:
                out.append(f"- {verb} {kind} {said}".rstrip())
    return "\n".join(out)


if __name__ == "__main__":
    document = json.load(sys.stdin)
    print(summary(document))
    sys.exit(3 if relived(document) else 0)
