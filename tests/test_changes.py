"""Tests of the summary of a plan: which changes it warns of, and which it only lists.

    cd tests && python3 -m unittest test_changes
"""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../scripts/lib"))
from changes import relived, summary  # noqa: E402

TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/chat-connections-with-a-name-that-fills-the-line"


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]})


def plan(kind: str, actions: list[str], before: "dict | None", after: "dict | None", unknown: "dict | None" = None) -> str:
    change = {"actions": actions, "before": before, "after": after, "after_unknown": unknown or {}, "before_sensitive": {}, "after_sensitive": {}}
    return summary({"resource_changes": [{"type": kind, "change": change}]})


def role_policy(before: str, after: str) -> str:
    return plan("aws_iam_role_policy", ["update"], {"role": "chat-connect", "policy": before}, {"role": "chat-connect", "policy": after})


class Changes(unittest.TestCase):
    def test_nothing(self) -> None:
        self.assertEqual(summary({}), "Nothing changes.")
        self.assertEqual(plan("aws_lambda_function", ["no-op"], {"function_name": "a"}, {"function_name": "a"}), "Nothing changes.")

    def test_a_policy_on_more_resources(self) -> None:
        said = role_policy(policy({"Action": ["dynamodb:PutItem"], "Resource": [TABLE]}), policy({"Action": ["dynamodb:PutItem"], "Resource": "*"}))
        self.assertTrue(said.startswith("**Careful: policy of role chat-connect allows more than before.**"), said)
        self.assertIn('"Resource": "*"', said)
        self.assertIn(TABLE, said)

    def test_a_policy_with_one_action_more(self) -> None:
        few, more = {"Action": "dynamodb:PutItem", "Resource": TABLE}, {"Action": ["dynamodb:PutItem", "dynamodb:Scan"], "Resource": TABLE}
        self.assertIn("allows more", role_policy(policy(few), policy(more)))
        self.assertNotIn("Careful", role_policy(policy(more), policy(few)))

    def test_a_policy_that_loses_its_condition_or_a_deny(self) -> None:
        grant = {"Action": "s3:*", "Resource": "*"}
        self.assertIn("allows more", role_policy(policy({**grant, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}), policy(grant)))
        self.assertIn("allows more", role_policy(policy(grant, {**grant, "Effect": "Deny"}), policy(grant)))

    def test_a_policy_narrowed_from_wildcards(self) -> None:
        wide, narrow = {"Action": "dynamodb:*", "Resource": "*"}, {"Action": ["dynamodb:PutItem"], "Resource": [TABLE]}
        self.assertNotIn("Careful", role_policy(policy(wide), policy(narrow)))
        self.assertIn("allows more", role_policy(policy(narrow), policy(wide)))
        bound = {**narrow, "Condition": {"StringEquals": {"aws:PrincipalTag/a": "b"}}}
        self.assertNotIn("Careful", role_policy(policy(narrow), policy(bound)))

    def test_a_policy_that_excepts_less(self) -> None:
        more, less = {"NotAction": ["iam:*", "s3:*"], "Resource": "*"}, {"NotAction": ["iam:*"], "Resource": "*"}
        self.assertIn("allows more", role_policy(policy(more), policy(less)))

    def test_one_more_policy_for_an_existing_role(self) -> None:
        added = {"type": "aws_iam_role_policy", "change": {"actions": ["create"], "before": None, "after": {"role": "r", "policy": policy()}, "after_unknown": {}}}
        role = {"type": "aws_iam_role", "change": {"actions": ["create"], "before": None, "after": {"name": "r"}, "after_unknown": {}}}
        self.assertIn("allows more", summary({"resource_changes": [added]}))
        self.assertNotIn("Careful", summary({"resource_changes": [added, role]}))

    def test_a_role_that_loses_its_boundary(self) -> None:
        before, after = {"name": "r", "permissions_boundary": "arn:b"}, {"name": "r", "permissions_boundary": None}
        self.assertIn("gets no permissions boundary", plan("aws_iam_role", ["update"], before, after))
        self.assertNotIn("Careful", plan("aws_iam_role", ["update"], after, before))

    def test_a_function_with_another_caller(self) -> None:
        api = {"function_name": "f", "principal": "apigateway.amazonaws.com", "source_arn": "arn:api/*/$connect"}
        for before, after in ((api, {**api, "source_arn": None}), (api, {**api, "principal": "*"}), (None, api)):
            actions = ["delete", "create"] if before else ["create"]
            self.assertIn("function f may be invoked by", plan("aws_lambda_permission", actions, before, after))
        self.assertNotIn("Careful", plan("aws_lambda_permission", ["delete", "create"], api, api))

    def test_a_policy_written_in_another_order(self) -> None:
        one, other = {"Action": ["a:B", "c:D"], "Resource": ["x", "y"]}, {"Resource": ["y", "x"], "Action": ["c:D", "a:B"]}
        self.assertNotIn("Careful", role_policy(policy(one), policy(other)))

    def test_a_policy_that_is_known_only_later(self) -> None:
        said = plan("aws_iam_role_policy", ["update"], {"role": "r", "policy": policy()}, {"role": "r"}, {"policy": True})
        self.assertIn("known only after the apply", said)

    def test_a_role_that_another_principal_may_assume(self) -> None:
        trust = lambda service: policy({"Action": "sts:AssumeRole", "Principal": service})
        before, after = trust({"Service": "lambda.amazonaws.com"}), trust({"AWS": "*"})
        said = plan("aws_iam_role", ["update"], {"name": "r", "assume_role_policy": before}, {"name": "r", "assume_role_policy": after})
        self.assertIn("role r allows more than before", said)

    def test_a_lost_authorizer(self) -> None:
        guarded, open_ = {"route_key": "$connect", "authorization_type": "CUSTOM"}, {"route_key": "$connect", "authorization_type": "NONE"}
        for actions in (["update"], ["delete", "create"]):
            self.assertIn("OPEN TO EVERYONE", plan("aws_apigatewayv2_route", actions, guarded, open_))
        self.assertNotIn("Careful", plan("aws_apigatewayv2_route", ["update"], open_, guarded))

    def test_a_deleted_authorizer(self) -> None:
        self.assertIn("tokens are no longer checked", plan("aws_apigatewayv2_authorizer", ["delete"], {"name": "chat-authorizer"}, None))

    def test_resources_of_other_case(self) -> None:
        one, other = ({"Action": action, "Resource": resource} for action, resource in (("dynamodb:PutItem", "table/chat"), ("dynamodb:putitem", "table/Chat")))
        self.assertIn("allows more", role_policy(policy(one), policy(other)))
        self.assertNotIn("Careful", role_policy(policy(one), policy({**other, "Resource": "table/chat"})))

    def test_a_first_deploy(self) -> None:
        """Values that are known only after the apply are missing in `after`, and cause no warning."""
        permission = {"type": "aws_lambda_permission", "change": {"actions": ["create"], "before": None, "after": {"principal": "apigateway.amazonaws.com"}, "after_unknown": {"function_name": True, "source_arn": True}}}
        alias = {"type": "aws_lambda_alias", "address": 'module.hub.module.function["connect"].aws_lambda_alias.this', "change": {"actions": ["create"], "before": None, "after": {"name": "live"}, "after_unknown": {"function_name": True}}}
        said = summary({"resource_changes": [permission, alias]})
        self.assertNotIn("Careful", said)
        self.assertIn("create alias of function connect", said)

    def test_a_changed_environment_is_named_by_its_variables(self) -> None:
        before, after = ({"function_name": "f", "environment": [{"variables": variables}]} for variables in ({"A": "1", "REQUIRE_GRANT": "true"}, {"A": "1", "RELEASE": "v2"}))
        self.assertEqual(plan("aws_lambda_function", ["update"], before, after), "- update function f: environment RELEASE, REQUIRE_GRANT")

    def test_a_plan_with_required_fields_only(self) -> None:
        bare = {"resource_changes": [{"type": "aws_dynamodb_table", "change": {"actions": ["delete", "create"], "before": {"name": "t"}, "after": {"name": "t"}}}, {"type": "aws_dynamodb_table", "change": {"actions": ["forget"], "before": {"name": "u"}, "after": None}}]}
        self.assertIn("forgets who is connected", summary(bare))
        self.assertIn("forget the table of connections u", summary(bare))

    def test_a_replaced_api_and_table(self) -> None:
        for actions in (["delete", "create"], ["create", "delete"]):
            self.assertIn("the address changes", plan("aws_apigatewayv2_api", actions, {"name": "chat"}, {"name": "chat"}))
            self.assertIn("forgets who is connected", plan("aws_dynamodb_table", actions, {"name": "t"}, {"name": "t"}))
        self.assertIn("the address changes", plan("aws_apigatewayv2_api", ["delete"], {"name": "chat"}, None))
        self.assertIn("clients cannot connect", plan("aws_apigatewayv2_domain_name", ["delete"], {"domain_name": "d"}, None))
        self.assertNotIn("Careful", plan("aws_apigatewayv2_api", ["create"], None, {"name": "chat"}))

    def test_a_history_that_is_switched_off(self) -> None:
        said = plan("aws_dynamodb_table", ["delete"], {"name": "chat-messages", "hash_key": "session_id", "range_key": "offset"}, None)
        self.assertIn("to delete the table of messages chat-messages means: the messages in it are gone", said)
        self.assertNotIn("forgets who is connected", said)
        self.assertIn("can no longer use this route", plan("aws_apigatewayv2_route", ["delete"], {"route_key": "history"}, None))

    def test_subscriptions_that_are_switched_off(self) -> None:
        said = plan("aws_dynamodb_table", ["delete"], {"name": "chat-subscriptions", "hash_key": "session_id", "range_key": "connection_id"}, None)
        self.assertIn("to delete the table of subscriptions chat-subscriptions means: no connection hears other sessions than its own", said)
        self.assertNotIn("forgets who is connected", said)

    def alias(self, description: str, release: str, before: str = "6", after: "str | None" = "7") -> dict:
        """A plan for one function and its alias. With `after` None, the version is known only after the apply."""
        function = {"function_name": "chat-connect", "environment": [{"variables": {"RELEASE": release}}]}
        was = {"function_name": "chat-connect", "description": description, "function_version": before}
        becomes = {key: value for key, value in {**was, "function_version": after}.items() if value}
        rest = {"before_sensitive": {}, "after_sensitive": {}}
        return {
            "resource_changes": [
                {"type": "aws_lambda_function", "change": {"actions": ["no-op"], "before": function, "after": function, "after_unknown": {}, **rest}},
                {
                    "type": "aws_lambda_alias",
                    "change": {"actions": ["update"], "before": was, "after": becomes, "after_unknown": {} if after else {"function_version": True}, **rest},
                },
            ]
        }

    def test_a_release_that_was_rolled_back(self) -> None:
        for after in ("7", None):
            plan_ = self.alias("rolled back: v3, v2", "v2", after=after)
            self.assertEqual(relived(plan_), ["v2"])
            self.assertTrue(summary(plan_).startswith("**v2 was rolled back: this puts it live again.**"), summary(plan_))

    def test_a_release_that_was_not_rolled_back(self) -> None:
        for description in ("What the hub runs.", "rolled back: v3", "rolled back: v22, v3", "v2", ""):
            self.assertEqual(relived(self.alias(description, "v2")), [], description)
        self.assertEqual(relived(self.alias("rolled back: v2", "v2", "7", "7")), [])

    def test_a_hub_that_is_open(self) -> None:
        for before in (None, {"route_key": "$connect", "authorization_type": "NONE", "target": "x"}):
            actions = ["update"] if before else ["create"]
            said = plan("aws_apigatewayv2_route", actions, before, {"route_key": "$connect", "authorization_type": "NONE", "target": "y"})
            self.assertIn("This hub is OPEN TO EVERYONE", said)
            self.assertNotIn("Careful", said)
        self.assertNotIn("OPEN", plan("aws_apigatewayv2_route", ["create"], None, {"route_key": "ping", "authorization_type": "NONE"}))

    def test_an_ordinary_update(self) -> None:
        said = plan("aws_cloudwatch_log_group", ["update"], {"name": "/a", "retention_in_days": 30}, {"name": "/a", "retention_in_days": 7})
        self.assertEqual(said, "- update log group /a: retention_in_days 30 → 7")


if __name__ == "__main__":
    unittest.main()
