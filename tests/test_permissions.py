"""Tests of the comparison between the calls that Terraform made and the permissions that its roles have.

    cd tests && python3 -m unittest test_permissions
"""

import unittest

from permissions import compare

GRANTED = {"r": [{"Action": ["a:One", "a:Two"], "Resource": "arn:x-*"}]}


def call(action: str, resource: str, role: str = "r", allowed: bool = True) -> dict:
    return {"role": role, "action": action, "resource": resource, "allowed": allowed}


ONE, TWO = call("a:One", "arn:x-1"), call("a:Two", "arn:x-2")


class Compare(unittest.TestCase):
    def test_permissions_that_were_all_used_or_excused_are_accepted(self) -> None:
        self.assertEqual(compare([ONE, TWO], GRANTED, {}), [])
        self.assertEqual(compare([ONE], GRANTED, {"a:Two": "why"}), [])

    def test_refused_calls_and_other_roles_do_not_count(self) -> None:
        others = [call("a:Three", "arn:y", allowed=False), call("a:Three", "arn:y", role="s")]
        self.assertEqual(compare([ONE, TWO, *others], GRANTED, {}), [])

    def test_each_difference_is_named(self) -> None:
        for calls, reasons, text in [
            ([ONE], {}, "a:Two is granted"),
            ([ONE, TWO, call("a:Two", "arn:y")], {}, "was allowed a:Two on arn:y"),
            ([ONE, TWO], {"a:Two": "why"}, "a:Two is listed as not called, and was called"),
            ([ONE, TWO], {"a:Four": "why"}, "a:Four is listed as not called, and is not granted"),
        ]:
            wrong = compare(calls, GRANTED, reasons)
            self.assertEqual(len(wrong), 1, wrong)
            self.assertIn(text, wrong[0])


if __name__ == "__main__":
    unittest.main()
