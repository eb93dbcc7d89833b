"""Summarises a plan, what it costs first: plan_summary.py < the output of `terraform show -json PLAN`."""

import json
import sys
from collections import Counter

from notes import noted

OPEN = "OPEN TO EVERYONE: whoever knows the address can join any session, and subscribe and send to any"
# What clients notice when a resource is removed, by a part of its address.
COSTS = {
    "aws_apigatewayv2_api.": "every socket is closed, and the address changes",
    "aws_apigatewayv2_stage.": "every socket is closed, and the address changes if the stage's name does",
    "aws_apigatewayv2_domain_name.": "clients cannot connect by this name, and its DNS record needs a new target",
    "aws_apigatewayv2_api_mapping.": "clients cannot connect by the custom domain",
    "aws_apigatewayv2_authorizer.": "tokens are no longer checked, unless another one takes its place",
    "aws_apigatewayv2_route.": "clients can no longer use this route",
    "module.connections_table.": "the hub forgets who is connected, until they connect again",
    "module.messages_table": "the messages in it are gone, and clients cannot fetch what they missed",
    "module.subscriptions_table": "no connection hears other sessions than its own, until it connects and subscribes again",
}
# Attributes that decide who may do what.
PERMISSIONS = ("assume_role_policy", "permissions_boundary", "policy", "policy_arn", "principal", "source_account", "source_arn")

# The attribute with the name of what a permission is given to.
NAMES = {"aws_iam_role": "name", "aws_lambda_function": "function_name"}


def verb_of(resource: dict) -> str:
    actions = resource["change"]["actions"]
    return "replace" if len(actions) == 2 else actions[0]


def is_open(values: "dict | None") -> bool:
    return bool(values) and values.get("route_key") == "$connect" and values.get("authorization_type", "NONE") == "NONE"


def warnings(resource: dict, created: set) -> list[str]:
    """What to know before approving this change. `created` holds the names of new roles and functions."""
    before, after, unknown = (resource["change"].get(key) or {} for key in ("before", "after", "after_unknown"))
    verb, address = verb_of(resource), resource["address"]
    found = [f"to {verb} {address} means: {cost}" for part, cost in COSTS.items() if part in address and verb in ("replace", "delete")]
    # A role or function whose name is not known yet is a new one.
    extended = verb == "create" and (after.get("role") or after.get("function_name")) not in (*created, None)
    if extended or verb in ("update", "replace"):
        changed = [key for key in PERMISSIONS if before.get(key) != after.get(key) or unknown.get(key) is True]
        found += [f"{address} changes who may do what: {', '.join(changed)}"] if changed else []
    return found


def updated(resource: dict) -> str:
    """The attributes that an update changes, without those that only AWS knows."""
    before, after, unknown = (resource["change"].get(key) or {} for key in ("before", "after", "after_unknown"))
    return ", ".join(key for key in sorted(after) if before.get(key) != after[key] and unknown.get(key) is not True)


def summary(plan: dict) -> str:
    resources = plan.get("resource_changes", [])
    changes = [one for one in resources if verb_of(one) not in ("no-op", "read")]
    if not changes:
        return "Nothing changes."
    out = []
    release = ((plan.get("output_changes", {}).get("hub") or {}).get("after") or {}).get("release")
    aliases = [one["change"].get("before") or {} for one in changes if one["type"] == "aws_lambda_alias"]
    if any(release in noted(alias.get("description") or "") for alias in aliases):
        out.append(f"**{release} was rolled back: this puts it live again.** scripts/deploy.sh refuses that without --again.")
    for change in (one["change"] for one in resources if is_open(one["change"].get("after"))):
        was_closed = change.get("before") and not is_open(change["before"])
        out.append(f"**{'Careful: the hub becomes' if was_closed else 'This hub is'} {OPEN}.**")
    new = [one for one in changes if verb_of(one) == "create"]
    created = {one["change"]["after"].get(NAMES[one["type"]]) for one in new if one["type"] in NAMES}
    out += [f"**Careful: {warning}.**" for one in changes for warning in warnings(one, created)]
    out += [""] if out else []
    out += [f"- create {number} {kind}" for kind, number in sorted(Counter(one["type"] for one in new).items())]
    for one in (one for one in changes if one not in new):
        names = updated(one) if verb_of(one) == "update" else ""
        out.append(f"- {verb_of(one)} {one['address']}{': ' if names else ''}{names}")
    return "\n".join(out)


if __name__ == "__main__":
    print(summary(json.load(sys.stdin)))
