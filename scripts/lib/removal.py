"""Prints the name of the hub that a state holds: removal.py STATE PLAN ENVIRONMENT.

STATE and PLAN are outputs of `terraform show -json`: of the state, and of a plan to destroy it. The name comes from the state,
because a plan's outputs come from today's configuration, which may have been edited. What an interrupted deploy or removal has left
has no API: it goes by the name of its environment. The script fails if the state holds no hub or more than one, and if a table is
protected from deletion: Terraform removes tables last, and would fail only when everything else is gone, with the address.
"""

import json
import sys


def resources(module: dict) -> list[dict]:
    return module.get("resources", []) + [one for child in module.get("child_modules", []) for one in resources(child)]


def removal(state: dict, plan: dict, environment: str) -> str:
    held, seen = (resources((one.get("values") or {}).get("root_module", {})) for one in (state, plan.get("prior_state", {})))
    if not held:
        sys.exit("this state holds no hub: there is nothing to remove")
    # The plan has read AWS, where protection may have been set since.
    for table in (one["values"] for one in held + seen if one["type"] == "aws_dynamodb_table"):
        if table.get("deletion_protection_enabled"):
            sys.exit(
                f"table {table.get('name')} is protected from deletion, so nothing is removed. To remove this hub all the same, "
                "set deletion_protection = false, deploy that, and run this again"
            )
    names = sorted(one["values"]["name"] for one in held if one["type"] == "aws_apigatewayv2_api")
    if len(names) > 1:
        sys.exit(f"this state holds {len(names)} hubs ({', '.join(names)}): remove one with terraform destroy -target")
    return names[0] if names else environment


if __name__ == "__main__":
    state, plan = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    print(removal(state, plan, sys.argv[3]))
