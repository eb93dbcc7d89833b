"""Tests of what the scripts that work on AWS share: no apply without a yes.

    cd tests && python3 -m unittest test_deployment
"""

import os
import subprocess
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))


class Confirm(unittest.TestCase):
    def confirmed(self, script: str = "", **stdin) -> bool:
        script = f'. "$1/scripts/lib/deployment.sh"; {script} confirm "Apply this? "; echo applied'
        done = subprocess.run(["bash", "-c", script, "test", ROOT], capture_output=True, text=True, **stdin)
        self.assertEqual(done.returncode, 0 if done.stdout else 1, done.stderr)
        if not done.stdout:
            self.assertIn("the answer is not yes: nothing is changed", done.stderr)
        return done.stdout == "applied\n"

    def test_only_a_yes_is_one(self) -> None:
        self.assertTrue(self.confirmed(input="yes\n"))
        for text in ("", "\n", "no\n", "y\n", "YES\n", "yes"):
            self.assertEqual(self.confirmed(input=text), text == "yes", text)
        self.assertTrue(self.confirmed("yes=1;", stdin=subprocess.DEVNULL))

    def test_an_answer_that_cannot_be_read_is_none(self) -> None:
        self.assertFalse(self.confirmed("exec <&-;", stdin=subprocess.DEVNULL))
        folder = os.open("/", os.O_RDONLY)
        self.addCleanup(os.close, folder)
        self.assertFalse(self.confirmed(stdin=folder))


if __name__ == "__main__":
    unittest.main()
