"""The parts of scripts/test.sh as lists of steps. The steps of a list run in order, beside those of the other lists.

scripts/test.sh starts this with the path of a temporary folder and its own arguments.
"""

import dataclasses
import functools
import glob
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import runner
from reports import Test, junit, tap
from runner import Step

PARTS = ("lint", "infra", "web", "python", "rust", "system")
WORK, *arguments = sys.argv[1:]
LONG = "--long" in arguments
ASKED_FOR = [argument for argument in arguments if argument in PARTS] or PARTS
FILTER = " ".join(argument for argument in arguments if argument not in PARTS and argument != "--long")
PY = shlex.quote(sys.executable)

ON_STACK = 'eval "$(scripts/local.sh env)" && exec '
NODE = "node --test --test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit --test-reporter-destination=REPORT"
TAP = f"{PY} {shlex.quote(os.path.abspath('scripts/lib/test/tap.py'))}"
LOGS = "target/test-logs"


def succeeds(command: str) -> bool:
    return subprocess.run(command, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


# Each requirement that is not met here, with the reason to give for what is skipped.
MISSING = {
    requirement: reason
    for requirement, reason, is_met in (
        ("all tests", "left out: only some Rust tests were asked for", not FILTER),
        ("tests with tokens", "left out: only some Rust tests were asked for", not FILTER or "auth" in FILTER),
        ("time", "takes minutes: run it with --long", LONG),
        ("node", "there is no Node.js 20 or newer", succeeds("node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'")),
        ("valgrind", "valgrind is missing: install it (Debian: apt-get install valgrind)", shutil.which("valgrind")),
        ("cargo-fuzz", "needs the nightly toolchain and cargo-fuzz (cargo install cargo-fuzz)", not LONG or succeeds("cargo +nightly fuzz --version")),
    )
    if not is_met
}


def prepare(name: str, command: str, *needs: str) -> Step:
    """Runs even if only some Rust tests are asked for, since they may need it."""
    return Step(name, command, needs)


def check(name: str, command: str, *needs: str) -> Step:
    return Step(name, command, ("all tests", *needs))


def tests(name: str, command: str, *needs: str) -> Step:
    return Step(name, command, ("all tests", *needs), junit if "REPORT" in command else tap)


def node(name: str, files: str, *needs: str, limit: int = 120) -> Step:
    paths = " ".join(f"tests/web/{file}.test.js" for file in files.split())
    return tests(name, f"{NODE} --test-timeout={limit}000 {paths}", "node", "client: packages", *needs)


def rust(name: str, profile: str, *needs: str) -> Step:
    """The profile, of .config/nextest.toml, says which tests. With all of the workspace each dependency is compiled once, and not
    again for each package that wants other features of it."""
    arguments = f"--profile {profile} --locked --workspace {shlex.quote(FILTER) if FILTER else ''}"

    def report(path: str) -> "list[Test]":
        found = list(junit(path))
        if not LONG:
            command = f"cargo nextest list --run-ignored only --message-format oneline {arguments}"
            listed = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
            found += [Test(line, "skipped", MISSING["time"]) for line in listed.splitlines()]
        return found

    command = f"cargo nextest run --no-fail-fast {arguments}"
    command += f"{' --run-ignored all' if LONG else ''}{' --no-tests pass' if FILTER else ''}"
    return Step(name, command, needs, report, f"target/nextest/{profile}/junit.xml")


def lint() -> "list[Step]":
    return [
        check("Rust format", "cargo fmt --all --check"),
        check("Rust lints", "cargo clippy --workspace --all-targets --locked -- -D warnings"),
        check("licences, bans and sources", "cargo deny --locked check -D warnings bans licenses sources"),
        check("unused dependencies", "cargo shear --locked"),
        check("Terraform format", f"terraform -chdir={WORK}/infra fmt -check -recursive -diff"),
        check(
            "Terraform against good practice",
            f".venv/checkov/bin/checkov --directory {WORK}/infra --framework terraform --skip-download --quiet --compact",
        ),
        check("shell lints", "shellcheck -x $(shfmt -f scripts tests/*.sh .ci)"),
        check("shell format", "shfmt -d -i 2 -ci -bn scripts tests/*.sh .ci"),
        check("workflows", "zizmor --offline --quiet .github"),
        check("spelling", "typos"),
        check("TOML format", "taplo fmt --check"),
    ]


def infra() -> "list[Step]":
    modules = {os.path.basename(path).removesuffix(".py") for path in glob.glob("tests/test_*.py")}
    steps = []
    for root in ("infra", "infra/bootstrap"):
        place = f"{WORK}/{root}"
        attached = f"tests/attached.sh {place}/.terraform terraform -chdir={place}"
        steps += [
            check(f"{root}: init", f"terraform -chdir={place} init -backend=false -input=false -lockfile=readonly"),
            check(f"{root}: validate", f"{attached} validate", f"{root}: init"),
            tests(f"{root}: Terraform tests", f"{attached} test -no-color -junit-xml=REPORT", f"{root}: init"),
        ]
    return [
        *steps,
        check("configuration page", f"{PY} scripts/lib/configuration.py --check"),
        tests("scripts and workflows", f"cd tests && {TAP} {' '.join(sorted(modules - {'test_module'}))}"),
    ]


def module() -> "list[Step]":
    return [tests("the module elsewhere", f"cd tests && ./attached.sh {WORK}/infra/.terraform {TAP} test_module", "infra: init")]


def packages() -> "list[Step]":
    return [check("client: packages", "npm ci --prefix tests/web --silent --no-audit --no-fund", "node")]


def client_lints() -> "list[Step]":
    return [check("client: lints", "npm --prefix tests/web run --silent lint", "node", "client: packages")]


def web() -> "list[Step]":
    return [
        tests("client in each runtime", "node tests/web/run.js", "node", "client: packages"),
        node("programs in each runtime", "runtimes", limit=60),
    ]


def package() -> "list[Step]":
    return [node("client as a package", "package react docs vectors", limit=300)]


def python() -> "list[Step]":
    return [tests("Python client", "scripts/lib/python_client.sh")]


def functions() -> "list[Step]":
    return [prepare("functions build, with SBOMs", f"scripts/build.sh --arch host --profile local --sbom && {PY} tests/sboms.py")]


def fault_tests() -> "list[Step]":
    return [rust("fault tests", "faults", "functions build, with SBOMs")]


def units() -> "list[Step]":
    return [
        rust("unit tests", "unit"),
        check("instruction counts", "scripts/bench.sh --check", "valgrind", "functions build, with SBOMs"),
        check("fuzzing", "mkdir -p fuzz/corpus && cargo +nightly fuzz run edge fuzz/corpus events -- -max_total_time=60", "time", "cargo-fuzz"),
    ]


def on_stack(up: Step, steps: "list[Step]") -> "list[Step]":
    """In the environment of the stack that `up` has brought up."""
    for step in steps:
        step.command, step.needs = ON_STACK + step.command, (*step.needs, up.name)
    return [up, *steps]


def system() -> "list[Step]":
    up = prepare("local stack comes up", "scripts/local.sh up", "functions build, with SBOMs")
    steps = [
        check("plan after apply is empty", f"{PY} tests/local_stack.py plan"),
        check("one function, one event", f"{PY} tests/invoke.py"),
        rust("system tests", "system"),
        tests("Python client on the stack", "scripts/lib/python_client.sh WithoutTokens"),
        node("page in a browser", "page", limit=400),
        node("example of the client", "example"),
        node("damaged frames", "damaged"),
        node("nothing missed", "nothing-missed", limit=400),
        check("log lines", f"{PY} tests/local_stack.py logs"),
        check("up again changes nothing", f"{PY} tests/local_stack.py again"),
        check("a crash is reported and repaired", f"{PY} tests/local_stack.py crash"),
    ]
    return [*on_stack(up, steps), prepare("down leaves nothing", f"{PY} tests/local_stack.py down")]


def deployment() -> "list[Step]":
    up = check("second stack comes up", "scripts/local.sh up", "functions build, with SBOMs")
    steps = [
        check("the emulator and requests that come twice", f"{PY} tests/emulator.py"),
        check("rollback", f"{PY} tests/rollback.py target/lambda-local/disconnect/bootstrap.zip"),
        check("pipeline, with its permissions", "tests/pipeline.sh target/lambda-local"),
    ]
    return [*on_stack(up, steps), check("down leaves nothing of the second stack", f"{PY} tests/local_stack.py down")]


def tokens() -> "list[Step]":
    up = prepare("third stack comes up", "scripts/local.sh up", "tests with tokens", "functions build, with SBOMs")
    steps = [tests("the module, replaced and depended on", f'tests/attached.sh "$HUB_STATE_DIR/terraform" {PY} tests/module_live.py')]
    auth = prepare("third stack asks for tokens", "scripts/local.sh up --auth", up.name)
    steps_with_tokens = [
        check("plan after apply is empty, with tokens", f"{PY} tests/local_stack.py plan"),
        rust("system tests, with tokens", "tokens"),
        check("a token is explained", f"{PY} tests/explain.py"),
        tests("Python client with tokens", "scripts/lib/python_client.sh WithTokens"),
        node("clients whose tokens end", "tokens"),
        check("tokens can be switched off again", "scripts/local.sh up"),
    ]
    end = prepare("down leaves nothing of the third stack", f"{PY} tests/local_stack.py down", "tests with tokens")
    return [*on_stack(up, steps), *on_stack(auth, steps_with_tokens), end]


def protocol() -> "list[Step]":
    return [node("protocol as documented", "protocol")]


def at_low_priority(steps: "Callable[[], list[Step]]") -> "Callable[[], list[Step]]":
    @functools.wraps(steps)
    def lowered() -> "list[Step]":
        # Where Linux schedules a session as a group, only the group's priority counts.
        low = "{ echo 19 >/proc/self/autogroup; renice -n 19 $$; } >/dev/null 2>&1; "
        return [dataclasses.replace(step, command=low + step.command) for step in steps()]

    return lowered


# The lists of a phase, each with the parts that it belongs to, run side by side; the phases run one after the other.
PHASES = (
    (("web rust system", packages), ("rust", functions), ("rust", units), ("lint", lint), ("web", client_lints), ("python", python)),
    # The fault tests measure times, and wait more than they compute: what runs beside them takes what they leave of the processor.
    (("rust", fault_tests), *((part, at_low_priority(steps)) for part, steps in (("infra", infra), ("infra", module), ("web", package)))),
    (("system", deployment), ("system", system), ("web", web), ("system", tokens)),
    # It reads the frames that the others have recorded.
    (("web rust system", protocol),),
)


def main() -> bool:
    left_out = [Test(part, "skipped", "left out: only other parts were asked for") for part in PARTS if part not in ASKED_FOR]
    logs, states = f"{WORK}/logs", os.path.abspath(f"target/test-stack.{os.getpid()}")
    os.mkdir(logs)
    # HUB_FRAMES is where tests write down what passes between clients and the hub.
    environment = {**os.environ, "HUB_FRAMES": f"{WORK}/frames", **({"PROPTEST_CASES": "10000"} if LONG else {})}
    run = runner.Runner(logs, MISSING, may_be_empty=bool(FILTER))
    try:
        for phase in PHASES:
            for parts, steps in phase:
                if not set(parts.split()).isdisjoint(ASKED_FOR):
                    run.add(steps(), {**environment, "HUB_STATE_DIR": f"{states}.{steps.__name__}"})
            run.wait()
        shutil.rmtree(LOGS, ignore_errors=True)
        shutil.move(logs, LOGS)
    finally:
        runner.on_signals(signal.SIG_IGN)
        run.stop()
        for state in glob.glob(f"{states}.*"):
            subprocess.run(["scripts/local.sh", "down"], env={**environment, "HUB_STATE_DIR": state}, check=False)
        shutil.rmtree(WORK, ignore_errors=True)
    if FILTER and not any(step.report and step.count("passed") + step.count("failed") for step in run.steps.values()):
        left_out.append(Test("filter", "failed", f"no Rust test has {FILTER} in its name"))
    return run.summary(left_out)


if __name__ == "__main__":
    runner.on_signals(lambda number, _: sys.exit(128 + number))
    sys.exit(not main())
