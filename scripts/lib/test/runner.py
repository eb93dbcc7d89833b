"""Runs steps, some beside others, counts their tests, and ends what is running when it is interrupted."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from reports import Test

# Steps wait more than they compute: a small machine runs one more than it has processors.
AT_ONCE = max(3, os.cpu_count() or 1)
OUTCOMES = ("passed", "failed", "skipped")
# Seconds for one step. The longest takes 11 minutes on two processors.
LIMIT = 3600


@dataclass
class Step:
    """A shell command. It counts as one check unless `report` reads its tests: from `file`, from the file that the command
    names as REPORT, or else from what it prints."""

    name: str
    command: str
    needs: "tuple[str, ...]" = ()  # steps that must have passed, and requirements
    report: "Callable[[str], Iterable[Test]] | None" = None
    file: str = ""
    tests: "list[Test]" = field(default_factory=list)
    seconds: float = 0
    passed: "Future[bool]" = field(default_factory=Future)

    def count(self, outcome: str) -> int:
        return sum(test.outcome == outcome for test in self.tests)


class Runner:
    """`missing` says why a requirement is not met. With `may_be_empty` a step that runs no test passes."""

    def __init__(self, logs: str, missing: "dict[str, str]", may_be_empty: bool) -> None:
        self.logs, self.missing, self.may_be_empty = logs, missing, may_be_empty
        self.limit: float = LIMIT
        self.steps: dict[str, Step] = {}
        self.threads: list[threading.Thread] = []
        self.running: set[subprocess.Popen] = set()
        self.stopping = False
        self.lock, self.free = threading.Lock(), threading.Semaphore(AT_ONCE)

    def add(self, steps: "list[Step]", environment: "dict[str, str]") -> None:
        """These run one after the other, and beside those that other calls add."""
        self.steps |= {step.name: step for step in steps}
        self.threads.append(threading.Thread(target=lambda: [self.run(step, environment) for step in steps], daemon=True))

    def wait(self) -> None:
        threads, self.threads = self.threads, []
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run(self, step: Step, environment: "dict[str, str]") -> None:
        reason = ""
        try:
            if reason := next(filter(None, map(self.obstacle, step.needs)), ""):
                step.tests = [Test(step.name, "skipped", reason)]
            else:
                with self.free:
                    self.execute(step, environment)
        except Exception:  # The disk is full, say.
            step.tests.append(Test(step.name, "failed", traceback.format_exc()))
        finally:
            # Whatever happens: other steps wait for it.
            step.passed.set_result(not reason and not step.count("failed"))

    def obstacle(self, need: str) -> str:
        other = self.steps.get(need)
        return self.missing.get(need, "") if not other or other.passed.result() else f"'{need}' did not pass"

    def execute(self, step: Step, environment: "dict[str, str]") -> None:
        place = f"{self.logs}/{re.sub('[^a-zA-Z0-9]+', '-', step.name)}"
        log = f"{place}.log"
        report = step.file or (f"{place}.xml" if "REPORT" in step.command else log)
        # One from before would count again.
        with contextlib.suppress(FileNotFoundError):
            os.remove(report)
        print(f"--- {step.name}", flush=True)
        began = time.monotonic()
        code = self.call(step.command.replace("REPORT", report), log, environment)
        step.seconds = time.monotonic() - began
        with open(log, encoding="utf-8", errors="replace") as file:
            output = file.read()
        if step.report:
            # A report that is missing or was cut off lists no tests.
            with contextlib.suppress(OSError, SyntaxError, subprocess.CalledProcessError):
                step.tests = list(step.report(report))
        elif code == 0:
            step.tests = [Test(step.name, "passed")]
        # It did not compile, say.
        if (code or not step.tests and not self.may_be_empty) and not step.count("failed"):
            step.tests.append(Test(step.name, "failed", f"{output}\n{f'exit code {code}' if code else 'it ran no test'}"))
        with self.lock:
            if step.count("failed") and not self.stopping:
                print(f"--- '{step.name}' failed, and said:\n{output}", flush=True)
            else:
                print(f"    {step.name}: {step.count('passed')} passed in {step.seconds:.0f} s", flush=True)

    def call(self, command: str, log: str, environment: "dict[str, str]") -> int:
        with open(log, "w", encoding="utf-8") as file:
            with self.lock:
                if self.stopping:
                    return 1
                # A process group of its own, which an interrupt ends as a whole.
                process = subprocess.Popen(
                    ["bash", "-c", command], env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
                )
                self.running.add(process)
            try:
                return process.wait(self.limit)
            except subprocess.TimeoutExpired:
                # Beside the waiting: a process that has ended is in its group until it has been waited for.
                ending = threading.Thread(target=end, args=[[process.pid]])
                ending.start()
                process.wait()
                ending.join()
                file.write(f"\nIt had not ended after {self.limit:.0f} s, and was stopped.\n")
                return 1
            finally:
                with self.lock:
                    self.running.discard(process)

    def stop(self) -> None:
        """Ends what runs, and starts nothing more."""
        with self.lock:
            self.stopping = True
            groups = [process.pid for process in self.running]
        end(groups)

    def summary(self, more: "list[Test]") -> bool:
        """Prints what failed, a table of the steps and the totals, and returns whether all is well."""
        tests = [*more, *(test for step in self.steps.values() for test in step.tests)]
        for name, _, text in (test for test in tests if test.outcome == "failed"):
            lines = text.strip().splitlines()
            print(f"\n--- failed: {name}", *(lines if len(lines) < 20 else [*lines[:4], "…", *lines[-15:]]), sep="\n")
        print()
        for step in self.steps.values():
            if step.seconds:
                print(f"{step.name:44}", *(f"{step.count(outcome):5} {outcome}" for outcome in OUTCOMES), f"{step.seconds:6.0f} s")
        for name, _, reason in (test for test in tests if test.outcome == "skipped"):
            print(f"skipped: {name}: {' '.join(reason.split())}")
        totals = {outcome: sum(test.outcome == outcome for test in tests) for outcome in OUTCOMES}
        print(", ".join(f"{count} {outcome}" for outcome, count in totals.items()), flush=True)
        return not totals["failed"]


def end(groups: "list[int]") -> None:
    """INT and not TERM: Terraform then finishes what it is applying."""
    for number, patience in ((signal.SIGINT, 60), (signal.SIGKILL, 5)):
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
        for _ in range(patience * 10):
            groups = [group for group in groups if is_alive(group)]
            if groups:
                time.sleep(0.1)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def on_signals(handler: "Callable | signal.Handlers") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
