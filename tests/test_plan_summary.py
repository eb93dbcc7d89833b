"""Tests of the summary of a plan: which changes it warns of, and which it only lists.

    cd tests && python3 -m unittest test_plan_summary
"""

import os
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.path.join(ROOT, "scripts/lib"))
from plan_summary import COSTS, summary  # noqa: E402


def change(address: str, actions: list[str], before: "dict | None", after: "dict | None", unknown: "dict | None" = None) -> dict:
    kind = address.split(".")[-2]
    return {"type": kind, "address": address, "change": {"actions": actions, "before": before, "after": after, "after_unknown": unknown or {}}}


def plan(*arguments) -> str:
    return summary({"resource_changes": [change(*arguments)]})


def route(actions: list[str], before: "str | None", after: str, key: str = "$connect") -> str:
    was, becomes = ({"route_key": key, "authorization_type": kind, "target": str(kind)} if kind else None for kind in (before, after))
    return plan(f'module.api.aws_apigatewayv2_route.this["{key}"]', actions, was, {**becomes, "target": "x"})


class Changes(unittest.TestCase):
    def test_nothing(self) -> None:
        self.assertEqual(summary({}), "Nothing changes.")
        self.assertEqual(plan("aws_lambda_function.a", ["no-op"], {"function_name": "a"}, {"function_name": "a"}), "Nothing changes.")
        self.assertEqual(plan("data.aws_region.a", ["read"], None, {}), "Nothing changes.")

    def test_a_changed_policy(self) -> None:
        for key in ("policy", "assume_role_policy", "permissions_boundary"):
            for after in ("{}", None):
                said = plan("aws_iam_role_policy.a", ["update"], {"role": "r", key: "[]"}, {"role": "r", key: after})
                self.assertTrue(said.startswith(f"**Careful: aws_iam_role_policy.a changes who may do what: {key}.**"), said)
        self.assertNotIn("Careful", plan("aws_iam_role.a", ["update"], {"policy": "[]", "tags": {}}, {"policy": "[]", "tags": {"a": "b"}}))

    def test_a_policy_that_is_known_only_later(self) -> None:
        for before in ({"role": "r", "policy": "{}"}, {"role": "r", "policy": None}):
            self.assertIn("who may do what: policy", plan("aws_iam_role_policy.a", ["update"], before, {"role": "r"}, {"policy": True}))

    def test_one_more_policy_for_an_existing_role(self) -> None:
        added = change("aws_iam_role_policy.a", ["create"], None, {"role": "r", "policy": "{}"})
        role = change("aws_iam_role.r", ["create"], None, {"name": "r", "assume_role_policy": "{}"})
        self.assertIn("who may do what: policy", summary({"resource_changes": [added]}))
        self.assertNotIn("Careful", summary({"resource_changes": [added, role]}))

    def test_a_function_with_another_caller(self) -> None:
        api = {"function_name": "f", "principal": "apigateway.amazonaws.com", "source_arn": "arn:api/*/$connect"}
        for before, after in ((api, {**api, "source_arn": None}), (api, {**api, "principal": "*"}), (None, api)):
            actions = ["delete", "create"] if before else ["create"]
            self.assertIn("who may do what", plan("aws_lambda_permission.a", actions, before, after))
        self.assertNotIn("Careful", plan("aws_lambda_permission.a", ["delete", "create"], api, {**api, "statement_id": "b"}))

    def test_a_first_deploy(self) -> None:
        """Values that are known only after the apply are missing in `after`, and cause no warning."""
        permission = change("aws_lambda_permission.a", ["create"], None, {"principal": "apigateway.amazonaws.com"}, {"function_name": True, "source_arn": True})
        functions = [change(f"aws_lambda_function.{name}", ["create"], None, {"function_name": name}) for name in "ab"]
        self.assertEqual(summary({"resource_changes": [permission, *functions]}), "- create 2 aws_lambda_function\n- create 1 aws_lambda_permission")

    def test_a_hub_that_becomes_open(self) -> None:
        for actions in (["update"], ["delete", "create"]):
            self.assertTrue(route(actions, "CUSTOM", "NONE").startswith("**Careful: the hub becomes OPEN TO EVERYONE"))

    def test_a_hub_that_is_open(self) -> None:
        for actions, before in ((["create"], None), (["update"], "NONE")):
            said = route(actions, before, "NONE")
            self.assertIn("This hub is OPEN TO EVERYONE", said)
            self.assertNotIn("Careful", said)
        unchanged = change("aws_apigatewayv2_route.a", ["no-op"], *[{"route_key": "$connect", "authorization_type": "NONE"}] * 2)
        other = change("aws_sns_topic.a", ["create"], None, {"name": "a"})
        self.assertIn("This hub is OPEN TO EVERYONE", summary({"resource_changes": [unchanged, other]}))
        self.assertNotIn("OPEN", route(["create"], None, "NONE", "ping"))
        self.assertNotIn("OPEN", route(["update"], "NONE", "CUSTOM"))

    def test_what_clients_lose(self) -> None:
        for address, cost in (
            ("module.hub.module.websocket_api.aws_apigatewayv2_api.this", "every socket is closed, and the address changes"),
            ("module.hub.module.connections_table.aws_dynamodb_table.this", "the hub forgets who is connected"),
            ("module.hub.module.messages_table[0].aws_dynamodb_table.this", "the messages in it are gone"),
            ("module.hub.module.subscriptions_table[0].aws_dynamodb_table.this", "no connection hears other sessions than its own"),
            ("module.hub.module.custom_domain[0].aws_apigatewayv2_domain_name.this", "clients cannot connect by this name"),
            ('module.hub.module.websocket_api.aws_apigatewayv2_authorizer.this["jwt"]', "tokens are no longer checked"),
        ):
            for verb, actions, after in (("replace", ["delete", "create"], {}), ("replace", ["create", "delete"], {}), ("delete", ["delete"], None)):
                said = plan(address, actions, {"name": "a"}, after)
                self.assertIn(f"**Careful: to {verb} {address} means: {cost}", said)
                self.assertEqual(said.count("Careful"), 1)
                self.assertIn(f"\n- {verb} {address}", said)
            self.assertNotIn("Careful", plan(address, ["create"], None, {"name": "a"}))

    def test_each_cost_belongs_to_a_part_of_the_module(self) -> None:
        text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "infra").glob("**/*.tf"))
        for part in COSTS:
            name = part.strip(".").removeprefix("module.")
            self.assertRegex(text, rf'(?m)^(resource|module) "{re.escape(name)}"', part)

    def test_a_table_that_the_state_forgets(self) -> None:
        self.assertEqual(plan("aws_dynamodb_table.a", ["forget"], {"name": "u"}, None), "- forget aws_dynamodb_table.a")

    def test_an_update_names_its_attributes(self) -> None:
        before, after = {"retention_in_days": 30, "tags": None, "version": "1"}, {"retention_in_days": 7, "tags": None}
        self.assertEqual(plan("aws_cloudwatch_log_group.a", ["update"], before, after, {"version": True}), "- update aws_cloudwatch_log_group.a: retention_in_days")
        self.assertEqual(plan("aws_lambda_alias.a", ["update"], {"function_version": "1"}, {}, {"function_version": True}), "- update aws_lambda_alias.a")

    def released(self, release: str, description: str, actions: list[str]) -> str:
        alias = change("aws_lambda_alias.a", actions, {"description": description, "function_version": "6"}, {"description": description})
        other = change("aws_sns_topic.a", ["create"], None, {})
        return summary({"resource_changes": [alias, other], "output_changes": {"hub": {"actions": ["no-op"], "after": {"release": release}}}})

    def test_a_release_that_was_rolled_back(self) -> None:
        said = self.released("v2", "rolled back: v3, v2", ["update"])
        self.assertTrue(said.startswith("**v2 was rolled back: this puts it live again.**"), said)

    def test_a_release_that_was_not_rolled_back(self) -> None:
        for description in ("What the hub runs.", "rolled back: v3", "rolled back: v22, v3", "v2", ""):
            self.assertNotIn("was rolled back", self.released("v2", description, ["update"]), description)
        # It runs already.
        self.assertNotIn("was rolled back", self.released("v2", "rolled back: v2", ["no-op"]))
        self.assertNotIn("was rolled back", plan("aws_lambda_alias.a", ["create"], None, {"description": "What the hub runs."}))


if __name__ == "__main__":
    unittest.main()
