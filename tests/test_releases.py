"""Tests of which release a rollback chooses, on a model of Lambda and Terraform.

    cd tests && python3 -m unittest test_releases
"""

import contextlib
import io
import os
import random
import re
import sys
import unittest
import unittest.mock

from botocore.exceptions import BotoCoreError

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "scripts/lib"))
from notes import noted  # noqa: E402
from releases import Function, Refusal, Version, plan, tidy  # noqa: E402

TABLE = {"TABLE_NAME": "hub-connections"}


class Hub:
    """Functions with their versions, as deploys and rollbacks leave them."""

    def __init__(self, *names: str) -> None:
        self.functions = {name: Function(0, {}, "What the hub runs.") for name in names}
        self.settings: dict[str, str] = {**TABLE}
        self.time = 0

    def deploy(self, release: str, *only: str, seconds: int = 60) -> None:
        """Acts like `terraform apply`, or like one that was interrupted after the functions `only`."""
        self.time += seconds
        for name in only or self.functions:
            function = self.functions[name]
            latest = max(function.versions, default=0)
            variables = {**self.settings, "RELEASE": release}
            if not latest or function.versions[latest].variables != variables:
                latest += 1
                published = f"2026-11-24T{self.time // 3600:02}:{self.time // 60 % 60:02}:{self.time % 60:02}.000+0000"
                function.versions[latest] = Version(release, variables, published)
            self.functions[name] = function._replace(live=latest)

    def rollback(self, calls: int | None = None) -> str:
        """Returns the target. `calls` is the number of calls after which it is interrupted."""
        what = plan({name: f._replace(versions={n: version for n, version in f.versions.items() if n <= f.live}) for name, f in self.functions.items()})
        for step in what["steps"][:calls]:
            function = self.functions[step["function"]]
            self.functions[step["function"]] = function._replace(live=step["to"], description=what["description"])
        return what["release"]

    def runs(self) -> str:
        return " ".join(f.versions[f.live].release for f in self.functions.values())

    def live(self) -> list[int]:
        return [f.live for f in self.functions.values()]

    def notes(self) -> str:
        (description,) = {f.description for f in self.functions.values()}
        return description


def deployed(*releases: str) -> Hub:
    hub = Hub("connect", "send")
    for release in releases:
        hub.deploy(release)
    return hub


class Rollback(unittest.TestCase):
    def refused(self, hub: Hub, *why: str) -> None:
        before = dict(hub.functions)
        with self.assertRaises(Refusal) as refusal:
            hub.rollback()
        self.assertEqual(hub.functions, before)
        lines = str(refusal.exception).splitlines()
        self.assertEqual([line.strip() for line in lines[1:-1]], list(why))
        self.assertIn("revert the commit and deploy", lines[-1])

    def test_the_release_before(self) -> None:
        hub = deployed("A", "B", "C")
        self.assertEqual(hub.rollback(), "B")
        self.assertEqual((hub.runs(), hub.notes()), ("B B", "rolled back: C"))

    def test_twice(self) -> None:
        hub = deployed("A", "B", "C")
        hub.rollback()
        self.assertEqual(hub.rollback(), "A")
        self.assertEqual((hub.runs(), hub.notes()), ("A A", "rolled back: B, C"))
        self.refused(hub, "B was rolled back", "C was rolled back")

    def test_nothing_before(self) -> None:
        self.refused(deployed("A"), "no other release was deployed")

    def test_not_back_to_a_bad_one(self) -> None:
        hub = deployed("good", "bad")
        hub.rollback()
        hub.deploy("fix")
        self.assertEqual(hub.rollback(), "good")
        self.assertEqual(hub.notes(), "rolled back: fix, bad")
        hub.deploy("better")
        hub.deploy("best")
        self.assertEqual(hub.rollback(), "better")

    def test_the_note_of_one_function_suffices(self) -> None:
        # The other function and its alias were replaced, or a rollback was interrupted.
        hub = deployed("A", "B", "C")
        hub.functions["send"] = hub.functions["send"]._replace(description="rolled back: B")
        self.assertEqual(hub.rollback(), "A")
        self.assertEqual(hub.notes(), "rolled back: C, B")

    def test_deploys_within_seconds(self) -> None:
        # Neither names nor times give the order, and the version numbers of the functions are far apart.
        hub = Hub("connect", "send")
        for n in range(20):
            hub.settings["FANOUT_RATE"] = str(n)
            hub.deploy("D", "send")
        for release in "DZAM":
            hub.deploy(release, seconds=0)
        for expected in "AZD":
            self.assertEqual(hub.rollback(), expected)

    def test_an_interrupted_apply(self) -> None:
        hub = deployed("A", "B")
        hub.deploy("C", "connect")
        self.assertEqual(hub.rollback(), "B")
        self.assertEqual((hub.live(), hub.notes()), ([2, 2], "rolled back: C"))
        self.assertEqual(hub.rollback(), "A")

    def test_an_apply_interrupted_before_it_moved_the_aliases(self) -> None:
        hub = deployed("A", "B", "C")
        hub.functions["connect"] = hub.functions["connect"]._replace(live=2)
        self.assertEqual(hub.rollback(), "B")
        self.assertEqual(hub.live(), [2, 2])

    def test_published_and_never_live(self) -> None:
        hub = deployed("A", "B", "C")
        hub.functions = {name: function._replace(live=2) for name, function in hub.functions.items()}
        self.assertEqual(hub.rollback(), "A")
        self.refused(hub, "B was rolled back")

    def test_what_lies_above_the_live_version_makes_no_release_newer(self) -> None:
        hub = deployed("A", "B", "C", "A")
        hub.functions = {name: function._replace(live=3) for name, function in hub.functions.items()}
        self.assertEqual(hub.rollback(), "B")

    def test_two_interrupted_applies_leave_three_releases(self) -> None:
        hub = Hub("connect", "disconnect", "send")
        for release, *only in (["A"], ["B"], ["C", "connect", "send"], ["D", "connect"]):
            hub.deploy(release, *only)
        self.assertEqual(hub.runs(), "D B C")
        self.assertEqual(hub.rollback(), "B")
        self.assertEqual((hub.live(), hub.notes()), ([2, 2, 2], "rolled back: D, C"))

    def test_an_apply_repeated(self) -> None:
        hub = deployed("A", "B")
        hub.deploy("C", "connect")
        hub.deploy("C")
        self.assertEqual(hub.rollback(), "B")
        hub.deploy("D", "send")
        hub.deploy("D")
        hub.deploy("E")
        self.assertEqual(hub.rollback(), "D")

    def test_a_partly_deployed_release_is_skipped(self) -> None:
        hub = deployed("A", "B")
        hub.deploy("C", "connect")
        hub.deploy("D")
        self.assertEqual(hub.rollback(), "B")

    def test_an_older_release_deployed_again_and_interrupted(self) -> None:
        # A has the newer version of one function, B of the other. B ran before the interrupted deploy.
        hub = deployed("A", "B")
        hub.deploy("A", "connect")
        self.assertEqual(hub.rollback(), "B")
        self.assertEqual(hub.live(), [2, 2])

    def test_a_setting_changed_within_a_release(self) -> None:
        hub = deployed("A")
        hub.settings["FANOUT_CONCURRENCY"] = "9"
        hub.deploy("A", "send")
        hub.deploy("B")
        hub.settings["FANOUT_CONCURRENCY"] = "99"
        hub.deploy("B", "send")
        self.assertEqual(hub.live(), [2, 4])
        self.assertEqual(hub.rollback(), "A")
        self.assertEqual((hub.live(), hub.notes()), ([1, 2], "rolled back: B"))

    def test_tuning_may_differ(self) -> None:
        names = "CONNECTION_TTL_SECONDS FANOUT_CONCURRENCY STRAGGLER_SECONDS MAX_MESSAGE_BYTES FANOUT_SPLIT FANOUT_WORKERS FANOUT_RATE"
        for name in names.split():
            hub = deployed("A")
            hub.settings[name] = "7"
            hub.deploy("B")
            self.assertEqual(hub.rollback(), "A", name)

    def test_resources_and_rules_may_not_differ(self) -> None:
        for name, value in (("REQUIRE_GRANT", "true"), ("TABLE_NAME", "other"), ("MESSAGES_TABLE", ""), ("SUBSCRIPTIONS_TABLE", "hub-subscriptions"), ("DELIVER_FUNCTION", "hub-deliver:live"), ("AUTH_ISSUERS", "[]")):
            hub = deployed("A")
            hub.settings[name] = value
            hub.deploy("B")
            self.refused(hub, f"A has another {name} in connect")
            hub.settings = {**TABLE}
            hub.deploy("C")
            # B is skipped: A has the same settings as the live release.
            self.assertEqual(hub.rollback(), "A", name)

    def test_a_difference_in_one_function_is_enough(self) -> None:
        hub = deployed("A")
        hub.settings["HISTORY_SECONDS"] = "300"
        hub.deploy("B", "send")
        hub.settings = {**TABLE}
        hub.deploy("B", "connect")
        self.refused(hub, "A has another HISTORY_SECONDS in send")

    def test_a_new_function(self) -> None:
        hub = deployed("A")
        hub.functions["authorizer"] = Function(0, {})
        hub.deploy("B")
        self.refused(hub, "A has no version of authorizer")
        hub.deploy("C")
        self.assertEqual(hub.rollback(), "B")

    def test_history_comes_and_goes(self) -> None:
        hub = deployed("A")
        hub.functions["history"] = Function(0, {})
        hub.settings |= {"MESSAGES_TABLE": "hub-messages", "HISTORY_SECONDS": "300"}
        hub.deploy("B")
        self.refused(hub, "A has no version of history")
        hub.deploy("C")
        self.assertEqual(hub.rollback(), "B")
        del hub.functions["history"]
        hub.settings = {**TABLE}
        hub.deploy("D")
        self.assertEqual(hub.rollback(), "A")

    def test_hand_overs_come_and_go(self) -> None:
        hub = deployed("A")
        hub.functions["deliver"] = Function(0, {})
        hub.settings |= {"DELIVER_FUNCTION": "hub-deliver:live", "FANOUT_SPLIT": "4000"}
        hub.deploy("B")
        self.refused(hub, "A has no version of deliver")
        hub.settings["FANOUT_SPLIT"] = "2000"
        hub.deploy("C")
        self.assertEqual(hub.rollback(), "B")
        # With B, functions would hand over to a missing function and lose time with each message.
        del hub.functions["deliver"]
        hub.settings = {**TABLE}
        hub.deploy("D")
        self.assertEqual(hub.rollback(), "A")

    def test_a_function_that_is_gone(self) -> None:
        hub = deployed("A")
        del hub.functions["send"]
        hub.deploy("B")
        self.assertEqual(hub.rollback(), "A")

    def test_five_reasons_at_most(self) -> None:
        hub = deployed(*"ABCDEFG")
        hub.settings["REQUIRE_GRANT"] = "true"
        hub.deploy("H")
        self.refused(hub, *(f"{release} has another REQUIRE_GRANT in connect" for release in "GFEDC"))

    def test_six_rollbacks_keep_five_names(self) -> None:
        longest = "x" * 44
        hub = deployed("good")
        for n in range(6):
            hub.deploy(f"{longest}{n}")
            self.assertEqual(hub.rollback(), "good")
        self.assertEqual(hub.notes(), "rolled back: " + ", ".join(f"{longest}{n}" for n in (5, 4, 3, 2, 1)))
        self.assertLessEqual(len(hub.notes()), 256)

    def test_a_note_outlives_its_versions(self) -> None:
        hub = deployed("A", "B")
        hub.functions["send"] = hub.functions["send"]._replace(description="rolled back: pruned-2, pruned-1")
        hub.rollback()
        self.assertEqual(hub.notes(), "rolled back: B, pruned-2, pruned-1")

    def test_put_live_again_and_rolled_back_again(self) -> None:
        hub = deployed("A", "B")
        hub.rollback()
        hub.deploy("B")
        self.assertEqual(hub.live(), [2, 2])
        self.assertEqual(hub.rollback(), "A")
        self.assertEqual(hub.notes(), "rolled back: B")

    def test_versions_without_a_release(self) -> None:
        hub = deployed("A")
        for name, function in hub.functions.items():
            hub.functions[name] = function._replace(versions={**function.versions, 2: Version(None, TABLE, "2026-11-24T09:00:00.000+0000")}, live=2)
        with self.assertRaises(Refusal) as refusal:
            hub.rollback()
        self.assertIn("what connect runs is not a version that names its release", str(refusal.exception))
        with self.assertRaises(Refusal):
            plan({})

    def test_interrupted_where_one_function_stays(self) -> None:
        # If the function that moves came first, a second run would find the older release complete and go back from it.
        for interrupted in (0, 1, 2):
            hub = deployed("A", "B")
            hub.deploy("C", "connect")
            for _ in range(interrupted):
                hub.rollback(calls=1)
            self.assertEqual(hub.rollback(), "B")
            self.assertEqual((hub.runs(), hub.notes()), ("B B", "rolled back: C"))

    def test_interrupted_where_another_release_becomes_possible(self) -> None:
        # A is refused for its newest version of connect, until connect runs B and its older version counts.
        hub = Hub("connect", "send")
        hub.deploy("A", "connect")
        hub.deploy("B", seconds=0)
        hub.settings["REQUIRE_GRANT"] = "true"
        hub.deploy("A")
        hub.settings = {**TABLE}
        hub.deploy("A", "send")
        hub.deploy("C")
        self.assertEqual(hub.rollback(calls=1), "B")
        self.assertEqual(hub.runs(), "B C")
        self.assertEqual(hub.rollback(), "B")

    def test_interrupted_anywhere(self) -> None:
        """However often a rollback is interrupted, it ends where it would have ended without an interrupt."""
        chance = random.Random(1)
        names = ["authorizer", "connect", "disconnect", "send"]
        interrupted = 0
        for _ in range(3000):
            hub = Hub(*names[: chance.randint(2, 4)])
            for _ in range(chance.randint(2, 9)):
                if chance.random() < 0.25 and all(hub.live()):
                    try:
                        hub.rollback(chance.choice([None, None, 1, 2]))
                    except Refusal:
                        pass
                else:
                    hub.settings = {**TABLE, **chance.choice([{}, {}, {"FANOUT_RATE": chance.choice("12")}, {"REQUIRE_GRANT": "true"}])}
                    cut = chance.sample(list(hub.functions), chance.randint(1, len(hub.functions))) if chance.random() < 0.3 and all(hub.live()) else []
                    hub.deploy(chance.choice("ABCDEFGH"), *cut, seconds=chance.choice([0, 60]))
            if not all(hub.live()):
                continue
            start, past = dict(hub.functions), hub.runs()
            try:
                target = hub.rollback()
            except Refusal:
                continue
            end, left = dict(hub.functions), set(noted(hub.notes()))
            self.assertEqual(set(hub.runs().split()), {target})
            self.assertNotEqual(past, hub.runs())
            for name, function in start.items():
                self.assertLessEqual(end[name].live, function.live)
                self.assertNotIn(target, re.split("[ ,:]+", function.description))
                rule = [f.versions[f.live].variables.get("REQUIRE_GRANT") for f in (function, end[name])]
                self.assertEqual(*rule)
            for calls in range(1, len(start)):
                hub.functions = dict(start)
                hub.rollback(calls)
                self.assertEqual(hub.rollback(1), target, (start, calls))
                self.assertEqual(hub.rollback(), target, (start, calls))
                self.assertEqual(hub.live(), [function.live for function in end.values()], (start, calls))
                self.assertEqual(set(noted(hub.notes())), left, (start, calls))
                interrupted += 1
        self.assertGreater(interrupted, 1000)


class Tidying(unittest.TestCase):
    def test_versions_that_cannot_be_deleted_leave_no_note_behind(self) -> None:
        hub = deployed(*(f"r{n}" for n in range(12)))
        functions = {name: function._replace(description="rolled back: r11, r3") for name, function in hub.functions.items()}
        client = unittest.mock.Mock(**{"exceptions.ResourceConflictException": ZeroDivisionError, "delete_function.side_effect": BotoCoreError()})
        said = io.StringIO()
        with unittest.mock.patch("releases.live_functions", return_value=functions), contextlib.redirect_stderr(said):
            tidy(client, {"release": "r11", "alias": "live"})
        moved = {call.kwargs["FunctionName"]: call.kwargs["Description"] for call in client.update_alias.call_args_list}
        self.assertEqual(moved, dict.fromkeys(functions, "rolled back: r3"))
        self.assertEqual(said.getvalue().count(" is not deleted: "), 2 * len(functions))


class Requirements(unittest.TestCase):
    def test_both_files_install_the_same(self) -> None:
        # They share an environment.
        def entries(name: str) -> set[str]:
            with open(f"{ROOT}/scripts/lib/requirements/{name}.txt", encoding="utf-8") as file:
                return set(re.findall(r"(?m)^\S.*\n(?:    .*\n)+", file.read()))

        self.assertEqual(len(entries("aws")), 5)
        self.assertLessEqual(entries("aws"), entries("local"))


if __name__ == "__main__":
    unittest.main()
