"""Tests of scripts/lib/test: what counts as passed, failed or skipped, and that an interrupt leaves nothing.

    cd tests && python3 -m unittest test_runner
"""

import contextlib
import io
import os
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts/lib/test"))
from reports import Test, junit, tap  # noqa: E402
from runner import Runner, Step, is_alive  # noqa: E402

TAP = "printf 'ok 1 - a\\nnot ok 2 - b\\n    why\\nok - c # SKIP no d\\n'"
JUNIT = """cat >REPORT <<'XML'
<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure message="why"/></testcase>
<testcase name="c"><skipped message="no d"/></testcase></testsuite></testsuites>
XML
"""


class Running(unittest.TestCase):
    def setUp(self) -> None:
        logs = tempfile.TemporaryDirectory()
        self.addCleanup(logs.cleanup)
        self.runner = Runner(logs.name, {"a tool": "there is no tool"}, may_be_empty=False)
        self.output = io.StringIO()

    def counts(self, *steps: Step) -> str:
        """The last line for these steps."""
        with contextlib.redirect_stdout(self.output):
            self.runner.add(list(steps), dict(os.environ))
            self.runner.wait()
            well = self.runner.summary([])
        last = self.output.getvalue().splitlines()[-1]
        self.assertEqual(well, ", 0 failed, " in last)
        return last

    def test_a_check_is_its_exit_code(self) -> None:
        self.assertEqual(self.counts(Step("a", "true"), Step("b", "false"), Step("c", "no-such-tool")), "1 passed, 2 failed, 0 skipped")

    def test_a_report_counts_its_tests(self) -> None:
        steps = [Step("tap", f"{TAP}; false", report=tap), Step("junit", f"{JUNIT} false", report=junit)]
        self.assertEqual(self.counts(*steps), "2 passed, 2 failed, 2 skipped")
        self.assertEqual(steps[0].tests, [Test("a", "passed"), Test("b", "failed", "\n    why"), Test("c", "skipped", "no d")])
        self.assertEqual(self.output.getvalue().count("--- failed: b\nwhy"), 2)
        self.assertEqual(self.output.getvalue().count("skipped: c: no d"), 2)

    def test_a_command_that_fails_without_a_failed_test_has_failed(self) -> None:
        self.assertEqual(self.counts(Step("a", "echo ok - a; echo error: linker; exit 101", report=tap)), "1 passed, 1 failed, 0 skipped")
        self.assertIn("error: linker\n\nexit code 101", self.output.getvalue())

    def test_no_tests_and_no_report_are_failures(self) -> None:
        cut_off = Step("c", "printf '<testsuites>' >REPORT", report=junit)
        self.assertEqual(self.counts(Step("a", "true", report=tap), Step("b", ": REPORT", report=junit), cut_off), "0 passed, 3 failed, 0 skipped")

    def test_a_report_from_before_does_not_count(self) -> None:
        with tempfile.NamedTemporaryFile(mode="w", delete=False) as file:
            file.write('<testsuite><testcase name="old"/></testsuite>')
        self.assertEqual(self.counts(Step("a", "true", report=junit, file=file.name)), "0 passed, 1 failed, 0 skipped")

    def test_what_is_missing_skips_a_step(self) -> None:
        steps = [Step("a", "false"), Step("b", "true", ("a",)), Step("c", "true", ("b",)), Step("d", "true", ("a tool",)), Step("e", "true", ("not asked for",))]
        self.assertEqual(self.counts(*steps), "1 passed, 1 failed, 3 skipped")
        for line in ("b: 'a' did not pass", "c: 'b' did not pass", "d: there is no tool"):
            self.assertIn(f"skipped: {line}\n", self.output.getvalue())

    def test_a_list_waits_for_another_one(self) -> None:
        first = Step("first", "sleep 0.3; touch REPORT.done; false")
        self.runner.add([Step("second", "true", ("first",))], dict(os.environ))
        self.assertEqual(self.counts(first), "0 passed, 1 failed, 1 skipped")

    def test_a_step_that_cannot_run_has_failed_and_holds_up_no_other(self) -> None:
        def unreadable(_: str) -> "list[Test]":
            raise MemoryError("no room")

        os.mkdir(f"{self.runner.logs}/no-log.log")
        steps = [Step("a", "true", report=unreadable), Step("no log", "true"), Step("c", "true", ("no log",)), Step("d", "true")]
        self.assertEqual(self.counts(*steps), "1 passed, 2 failed, 1 skipped")
        for text in ("MemoryError: no room", "Is a directory: ", "skipped: c: 'no log' did not pass\n"):
            self.assertIn(text, self.output.getvalue())

    def test_a_step_that_hangs_is_ended_and_has_failed(self) -> None:
        self.runner.limit = 0.5
        # The second says that all is well.
        steps = [Step("a", f"echo $$ >{self.runner.logs}/group; sleep 60; true"), Step("b", "trap 'exit 0' INT; sleep 60"), Step("c", "true")]
        self.assertEqual(self.counts(*steps), "1 passed, 2 failed, 0 skipped")
        self.assertEqual(self.output.getvalue().count("\nIt had not ended after 0 s, and was stopped.\n\nexit code 1\n"), 2)
        with open(f"{self.runner.logs}/group", encoding="utf-8") as file:
            self.assertFalse(is_alive(int(file.read())))

    def test_an_interrupt_ends_what_runs_and_starts_nothing_more(self) -> None:
        place = self.runner.logs
        stopping = threading.Timer(0.5, self.runner.stop)
        stopping.start()
        steps = [Step("a", f"trap 'touch {place}/tidied; exit 1' INT; echo $$ >{place}/group; sleep 60"), Step("b", f"touch {place}/next")]
        self.assertEqual(self.counts(*steps), "0 passed, 2 failed, 0 skipped")
        stopping.join()
        self.assertTrue(os.path.exists(f"{place}/tidied"))
        self.assertFalse(os.path.exists(f"{place}/next"))
        with open(f"{place}/group", encoding="utf-8") as file:
            self.assertFalse(is_alive(int(file.read())))


if __name__ == "__main__":
    unittest.main()
