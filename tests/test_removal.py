"""Tests of the check before a removal: which states it refuses, and how it names the others.

    cd tests && python3 -m unittest test_removal
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../scripts/lib"))
from removal import removal  # noqa: E402

API = {"type": "aws_apigatewayv2_api", "values": {"name": "chat"}}


def table(protected: bool) -> dict:
    return {"type": "aws_dynamodb_table", "values": {"name": "t", "deletion_protection_enabled": protected}}


def values(*found: dict) -> dict:
    # A state nests modules, and resources are at different depths.
    return {"root_module": {"child_modules": [{"resources": [one]} if one is API else {"child_modules": [{"resources": [one]}]} for one in found]}}


def plan(*found: dict) -> dict:
    # The outputs in a plan come from the configuration, so they must not count.
    return {"prior_state": {"values": {**values(*found), "outputs": {"hub": {"value": {"name": "edited"}}}}}}


class Removal(unittest.TestCase):
    def refused(self, state: dict, what: dict, why: str) -> None:
        with self.assertRaises(SystemExit) as refusal:
            removal(state, what, "staging")
        self.assertIn(why, str(refusal.exception))

    def test_the_name_is_the_one_in_the_state(self) -> None:
        self.assertEqual(removal({"values": values(API, table(False))}, plan(API, table(False)), "staging"), "chat")

    def test_an_interrupted_first_apply(self) -> None:
        self.assertEqual(removal({"values": values(API)}, plan(API), "staging"), "chat")

    def test_an_interrupted_removal(self) -> None:
        self.assertEqual(removal({"values": values(table(False))}, plan(table(False)), "staging"), "staging")
        self.refused({"values": values(table(True))}, plan(table(True)), "is protected")

    def test_nothing_there(self) -> None:
        self.refused({}, {}, "holds no hub")
        self.refused({"values": values()}, plan(), "holds no hub")

    def test_two_hubs(self) -> None:
        other = {"type": "aws_apigatewayv2_api", "values": {"name": "other"}}
        self.refused({"values": values(API, other)}, plan(API, other), "2 hubs (chat, other)")

    def test_a_protected_table(self) -> None:
        open_, closed = table(False), table(True)
        self.refused({"values": values(API, open_, closed)}, plan(API, open_, closed), "table t is protected")
        self.refused({"values": values(API, open_)}, plan(API, closed), "table t is protected")  # switched on in AWS
        self.refused({"values": values(API, closed)}, plan(API, open_), "table t is protected")  # switched off in AWS


if __name__ == "__main__":
    unittest.main()
