"""Runs unittest as `python -m unittest` does, and reports in TAP.

    tap.py [NAME...]
"""

import sys
import unittest


class Tap(unittest.TextTestResult):
    def addSuccess(self, test):
        super().addSuccess(test)
        print("ok -", test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print("ok -", test.id(), "# SKIP", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print("not ok -", test.id(), f"\n{self.failures[-1][1]}")

    def addError(self, test, err):
        super().addError(test, err)
        print("not ok -", test.id(), f"\n{self.errors[-1][1]}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print("not ok -", subtest.id(), f"\n{(self.failures + self.errors)[-1][1]}")

    def printErrors(self):
        """They have been printed."""


if __name__ == "__main__":
    sys.path.insert(0, "")
    unittest.main(module=None, testRunner=unittest.TextTestRunner(resultclass=Tap, verbosity=0))
