"""Prints the name of the hub that a state holds, and what its removal does to its address: removal.py STATE PLAN ENVIRONMENT.

STATE and PLAN are outputs of `terraform show -json`: of the state, and of a plan to destroy it. The name comes from the state,
because a plan's outputs come from today's configuration, which may have been edited. The rest of an interrupted removal or first
deploy has the name of its environment. It fails if the state holds no hub or more than one, and if a table is protected
from deletion: Terraform removes tables last, and would fail only when everything else is gone, with the address.
"""

import json
import sys


def resources(values: dict) -> list[dict]:
    def within(module: dict) -> list[dict]:
        return module.get("resources", []) + [found for child in module.get("child_modules", []) for found in within(child)]

    return within(values.get("root_module", {}))


def removal(state: dict, plan: dict, environment: str) -> tuple[str, str]:
    held = resources(state.get("values") or {})
    if not held:
        sys.exit("this state holds no hub: there is nothing to remove")
    # The plan has read AWS, where protection may have been set since.
    seen = resources(plan.get("prior_state", {}).get("values") or {})
    for table in (resource["values"] for resource in held + seen if resource["type"] == "aws_dynamodb_table"):
        if table.get("deletion_protection_enabled"):
            sys.exit(
                f"table {table.get('name')} is protected from deletion, so nothing is removed. To remove this hub all the same, "
                "set deletion_protection = false, deploy that, and run this again"
            )
    names = {resource["values"].get("name") for resource in held if resource["type"] == "aws_apigatewayv2_api"}
    if not names:
        return environment, "It is a part of a hub, without an API and so without an address. It has the environment's name here."
    if len(names) > 1:
        sys.exit(f"this state holds {len(names)} hubs ({', '.join(sorted(map(str, names)))}): remove one with terraform destroy -target")
    domains = [resource["values"]["domain_name"] for resource in held if resource["type"] == "aws_apigatewayv2_domain_name"]
    if domains:
        return names.pop(), f"A hub that is deployed again can take the domain {domains[0]} again, once its DNS record follows."
    url = ((state["values"].get("outputs", {}).get("hub") or {}).get("value") or {}).get("websocket_url")
    return names.pop(), f"Its address{f' {url}' if url else ''} does not come back: a hub that is deployed again gets another one."


if __name__ == "__main__":
    documents = []
    for path in sys.argv[1:3]:
        with open(path, encoding="utf-8") as file:
            documents.append(json.load(file))
    print(*removal(*documents, sys.argv[3]), sep="\n")
