"""Tests of scripts/new-environment.sh, run in a copy. Terraform reads what the script writes, and refuses what the module would.

    cd tests && python3 -m unittest test_new_environment
"""

import base64
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../scripts/lib"))
from environment import FLAGS  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BOUNDARY = "arn:aws-eusc:iam::123456789012:policy/ci/chat-boundary"
ROLE = "arn:aws-eusc:iam::123456789012:role/ci/chat-deploy"
OPEN, TOKENS = ["--anonymous"], ["--issuer", "https://login.example.com/", "--audience", "chat"]


def terraform(*arguments: str, stdin: str = "", code: int = 0) -> str:
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("TF_")}, "TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(["terraform", *arguments], input=stdin, capture_output=True, text=True, env=environment)
    if done.returncode != code:
        raise AssertionError(f"terraform {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def evaluated(expression: str) -> dict:
    """The value of an expression, according to Terraform."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.tf").write_text(f"locals {{\nvalue = {expression}\n}}\n", encoding="utf-8")
        said = terraform(f"-chdir={folder}", "console", stdin="base64encode(jsonencode(local.value))\n")
    return json.loads(base64.b64decode(said.strip().strip('"')))


class NewEnvironment(unittest.TestCase):
    def setUp(self) -> None:
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.root = Path(work.name, "a copy")
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "infra").mkdir()
        for path in (ROOT / "infra/.terraform.lock.hcl", *(ROOT / "infra").glob("variables*.tf")):
            shutil.copy(path, self.root / "infra")
        self.environments = self.root / "infra/environments"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}

    def script(self, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess:
        command = [self.root / "scripts/new-environment.sh", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env={**self.environ, **more}, cwd="/")

    def written(self, name: str, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        done = self.script(name, *arguments, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refused(self, why: str, *arguments: str, **more: str) -> None:
        before = self.listing()
        done = self.script(*arguments, **more)
        self.assertEqual(done.returncode, 1, done.stderr)
        said = done.stderr[done.stderr.index("new-environment.sh: ") :]
        self.assertIn(why, said)
        self.assertEqual(done.stdout, "")
        self.assertEqual(self.listing(), before)

    def listing(self) -> list:
        return sorted(str(path) for path in self.environments.rglob("*"))

    def text(self, name: str) -> str:
        return (self.environments / name / "main.tf").read_text(encoding="utf-8")

    def read(self, *names: str) -> dict:
        """How Terraform reads each environment: its hub, its backend and its provider."""
        found = {}
        for name in names:
            backend = re.search(r'^  backend "(\w+)" \{\n(.*?)^  \}', self.text(name), re.M | re.S)
            assert backend, self.text(name)
            blocks = {"hub": r'^module "hub"', "provider": r'^provider "aws"'}
            bodies = {key: re.search(head + r" \{\n(.*?)^\}", self.text(name), re.M | re.S)[1] for key, head in blocks.items()}
            parts = [f"{key} = {{\n{body}}}" for key, body in {**bodies, "backend": f'type = "{backend[1]}"\n{backend[2]}'}.items()]
            found[name] = "\n".join(parts).replace("local.environment", f'jsondecode(file("{self.environments / name}/environment.json"))')
        return evaluated("{\n" + "".join(f"{name} = {{\n{text}\n}}\n" for name, text in found.items()) + "}")

    def test_flags(self) -> None:
        more = ["--table-name", "other.Table_1", "--endpoint", "https://hub.example.com/live", "--architecture", "arm64", "--permissions-boundary", BOUNDARY]
        more += ["--plan-role-arn", "arn:aws:iam::123456789012:role/plan", "--deploy-role-arn", ROLE]
        all_flags = {
            "least": OPEN,
            "state": [*OPEN, "--state-bucket", "states-1"],
            "tokens": [*TOKENS, "--local-state"],
            "claims": [*TOKENS, "--jwks-url", "https://login.example.com/keys/a@b?v=1", "--session-claim", "/app/sub~1a", "--permissions-boundary", BOUNDARY],
            "most": [*OPEN, "--state-bucket", "states-1", *more],
        }
        for name, flags in all_flags.items():
            self.written(name, "--name", "chat", "--region", "eu-west-1", "--yes", *flags)
        terraform("fmt", "-check", "-diff", "-recursive", str(self.environments))

        read = self.read(*all_flags)
        for name, flags in all_flags.items():
            given = {flag: value for flag, value in zip(flags, flags[1:] + [""])}
            issuer = {"issuer": "https://login.example.com/", "audiences": ["chat"]}
            issuer |= {"jwks_url": given["--jwks-url"], "session_claim": given["--session-claim"]} if "--jwks-url" in given else {}
            hub = {"source": "../..", "name": "chat", "region": "eu-west-1", "architecture": given.get("--architecture", "x86_64")}
            hub |= {key: given[flag] for key, flag in {"table_name": "--table-name", "websocket_endpoint": "--endpoint", "permissions_boundary": "--permissions-boundary"}.items() if flag in given}
            hub |= {"allow_anonymous": True} if "--anonymous" in given else {"auth": {"issuers": [issuer]}}
            backend: dict = {"type": "local", "path": "terraform.tfstate"}
            if "--state-bucket" in given:
                place = {"bucket": "states-1", "key": f"{name}/terraform.tfstate", "region": "eu-west-1"}
                backend = {"type": "s3", **place, "encrypt": True, "use_lockfile": True, "skip_region_validation": True}
            self.assertEqual(read[name], {"hub": hub, "provider": {"region": "eu-west-1", "skip_region_validation": True}, "backend": backend}, flags)

            folder = self.environments / name
            self.assertEqual(sorted(os.listdir(folder)), [".terraform.lock.hcl", "environment.json", "main.tf"])
            roles = {"plan_role_arn": given.get("--plan-role-arn"), "deploy_role_arn": given.get("--deploy-role-arn")}
            settings = {"region": "eu-west-1", "architecture": hub["architecture"], **roles}
            self.assertEqual((folder / "environment.json").read_text(), json.dumps(settings, indent=2) + "\n")
            self.assertEqual((folder / ".terraform.lock.hcl").read_bytes(), (ROOT / "infra/.terraform.lock.hcl").read_bytes())
        self.assertEqual(sorted(os.listdir(self.environments)), sorted(all_flags))

    def test_the_rest_of_the_page(self) -> None:
        self.written("demo", "--region", "eu-west-1", *OPEN, "--yes")
        text = self.text("demo")
        self.assertRegex(text, r"\A# The environment demo\b")
        for part in ('required_version = ">= 1.11"', 'source  = "hashicorp/aws"\n      version = "~> 5.100"', "value       = module.hub\n", "OPEN TO EVERYONE"):
            self.assertIn(part, text)
        self.written("closed", "--region", "eu-west-1", *TOKENS, "--yes")
        self.assertNotIn("OPEN TO EVERYONE", self.text("closed"))
        self.assertRegex(self.text("closed"), r"issuers = \[\{\n    # .*docs/identity-providers\.md")

    def test_defaults(self) -> None:
        longest = "a" * 18
        for name in ("demo", longest, longest + "a", "b" * 32):
            self.written(name, *OPEN, "--yes", AWS_REGION="eu-west-3", AWS_DEFAULT_REGION="eu-west-2")
        self.written("other", *OPEN, "--yes", AWS_DEFAULT_REGION="us-gov-west-1")
        self.written("loopback", *OPEN, "--yes", "--region", "eu-west-1", "--endpoint", "http://127.0.0.1:4566/x")
        self.assertEqual(self.read("loopback")["loopback"]["hub"]["websocket_endpoint"], "http://127.0.0.1:4566/x")
        read = self.read("demo", longest, longest + "a", "b" * 32, "other")
        names = ["websocket-hub-demo", "websocket-hub-" + longest, longest + "a", "b" * 32, "websocket-hub-other"]
        self.assertEqual([one["hub"]["name"] for one in read.values()], sorted(names, key=lambda name: name.removeprefix("websocket-hub-")))
        self.assertEqual((read["demo"]["hub"]["region"], read["other"]["hub"]["region"]), ("eu-west-3", "us-gov-west-1"))
        self.written("table", *OPEN, "--yes", "--name", "chat", "--table-name", "chat-connections", AWS_REGION="eu-west-3")
        self.assertNotIn("table_name", self.text("table"))
        self.refused("region must be the name of an AWS region", "bad", *OPEN, "--yes", AWS_REGION="nowhere")

    def test_the_next_steps_that_it_prints(self) -> None:
        done = self.written("demo", "--region", "eu-west-1", *OPEN, "--yes")
        self.assertIn("scripts/deploy.sh demo\n", done.stdout)
        self.assertIn("commit infra/environments/demo: nothing in it is secret", done.stdout)

    def test_values_that_hcl_would_read(self) -> None:
        hostile = 'a"b\\c${d}$${e}%{f}%%{g}$$${h}\\${i}$%{ é😀\''
        issuer = "a\\b$$c%%d%%%e$\\$é😀'"
        self.written("demo", "--region", "eu-west-1", "--yes", "--issuer", f"https://login.example.com/{issuer}", "--audience", hostile)
        terraform("fmt", "-check", "-diff", str(self.environments))
        self.assertEqual(self.read("demo")["demo"]["hub"]["auth"], {"issuers": [{"issuer": f"https://login.example.com/{issuer}", "audiences": [hostile]}]})

    def test_asking(self) -> None:
        answers = ["chat", "", "eu-west-1", "arm64", "rows", "https://hub.example.com/live", "", "https://login.example.com/ ", "", " chat ", "sub", "https://login.example.com/keys", "", "states-1"]
        done = self.script("demo", stdin="".join(f"{answer}\n" for answer in answers))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("  This has no default."), 4, done.stderr)
        for word in ("[websocket-hub-demo]", "[x86_64]", "[chat-connections]", "OPEN TO EVERYONE", "infra/bootstrap", "only this folder knows"):
            self.assertIn(word, done.stderr)
        read = self.read("demo")["demo"]
        auth = {"issuers": [{"issuer": "https://login.example.com/", "audiences": ["chat"], "jwks_url": "https://login.example.com/keys", "session_claim": "sub"}]}
        hub = {"source": "../..", "name": "chat", "region": "eu-west-1", "architecture": "arm64"}
        hub |= {"table_name": "rows", "websocket_endpoint": "https://hub.example.com/live"}
        self.assertEqual(read["hub"], {**hub, "auth": auth})
        self.assertEqual((read["backend"]["bucket"], read["backend"]["key"], read["backend"]["region"]), ("states-1", "demo/terraform.tfstate", "eu-west-1"))

    def test_asking_with_defaults_and_the_last_line_cut(self) -> None:
        done = self.script("demo", stdin="\n\n\n\n\nanonymous\nlocal", AWS_REGION="eu-west-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("audience", done.stderr)
        read = self.read("demo")["demo"]
        self.assertEqual(read["hub"], {"source": "../..", "name": "websocket-hub-demo", "region": "eu-west-1", "architecture": "x86_64", "allow_anonymous": True})
        self.assertEqual(read["backend"]["type"], "local")

    def test_a_flag_answers_a_question(self) -> None:
        some = ["--name", "chat", "--region", "eu-west-1", "--architecture", "arm64", "--table-name", "rows"]
        done = self.script("demo", *some, "--issuer", "https://a", "--local-state", stdin="https://b/c\nchat\n\n\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(re.findall(r"^([a-z-]+).*: ", done.stderr, re.M), ["endpoint", "audience", "session-claim", "jwks-url"])
        every = [*some, "--endpoint", "https://b/c", *OPEN, "--local-state"]
        self.assertEqual(self.script("more", *every).stderr, "")

    def test_questions_without_answers(self) -> None:
        self.refused("there is no answer for name", "demo")
        self.refused("there is no answer for state-bucket or local: pass --state-bucket", "demo", stdin="\neu-west-1\n\n\n\nanonymous\n")
        self.refused("there is no answer for region: pass --region", "demo", "--yes")
        self.refused("there is no answer for issuer or anonymous: pass --issuer", "demo", "--yes", "--region", "eu-west-1")
        self.refused("there is no answer for audience: pass --audience", "demo", "--yes", "--region", "eu-west-1", "--issuer", "https://a")

    def test_what_the_module_refuses(self) -> None:
        wrong = {
            "--name": "chat_1", "--region": "", "--architecture": "arm", "--table-name": "ab", "--endpoint": "https://a/", "--audience": " ",
            "--session-claim": "/a~", "--jwks-url": "a", "--permissions-boundary": "",
        }  # fmt: skip
        done = self.script("demo", "--yes", "--issuer", "https://a", *(word for pair in wrong.items() for word in pair), TF_CLI_ARGS="-help")
        self.assertEqual((done.returncode, self.listing()), (1, []))
        for one in ("name", "region", "architecture", "table_name", "websocket_endpoint", "audiences", "session_claim", "jwks_url", "permissions_boundary"):
            self.assertRegex(done.stderr, rf"(?m)^  (auth\.issuers\[0\]\.)?{one} must ")
        self.refused("set jwks_url", "demo", "--region", "eu-west-1", "--yes", "--issuer", "login.example.com", "--audience", "b")
        (self.root / "terraform").write_text("#!/bin/sh\n[ $1 = version ] && echo Terraform v1.11.4 || { echo crash >&2 && exit 2; }\n")
        (self.root / "terraform").chmod(0o755)
        self.refused("terraform failed: crash", "demo", "--region", "eu-west-1", "--yes", *OPEN, PATH=f"{self.root}:{self.environ['PATH']}")
        rest = ("demo", "--region", "eu-west-1", "--yes", *OPEN)
        for bucket in ("", "s3://states", "Ab"):
            self.refused("state-bucket must be the name of a bucket", *rest, "--state-bucket", bucket)
        self.refused("plan_role_arn must be the ARN of an IAM role", *rest, "--plan-role-arn", "deployer")
        answers = "chat\nIreland\n\n\n\nanonymous\nlocal\n"
        self.refused("region must be the name of an AWS region, such as eu-west-1.", "demo", stdin=answers)
        again = self.script("demo", "--name", "o'k", stdin=answers.removeprefix("chat\n")).stderr.splitlines()[-1].strip()
        command, *words = shlex.split(again)
        self.assertEqual(command, "scripts/new-environment.sh")
        self.assertEqual(words, ["demo", "--name=o'k", "--region=Ireland", "--issuer=anonymous", "--state-bucket=local"])

    def test_contradictions(self) -> None:
        rest = ["demo", "--region", "eu-west-1", "--yes"]
        self.refused("--issuer has more than one value (anonymous, https://a)", *rest, *OPEN, "--issuer", "https://a", "--audience", "b")
        self.refused("--state-bucket has more than one value", *rest, *OPEN, "--local-state", "--state-bucket", "states-1")
        self.refused("--audience has more than one value (chat, b)", *rest, *TOKENS, "--audience", "b")
        self.refused("--audience needs --issuer", *rest, *OPEN, "--audience", "b")
        self.refused("--jwks-url needs --issuer", *rest, *OPEN, "--jwks-url", "https://a/b")
        self.refused("unrecognized arguments: --open", *rest, "--open")
        self.refused("unrecognized arguments: --anon", *rest, "--anon")

    def test_names(self) -> None:
        flags = ["--region", "eu-west-1", *OPEN, "--yes"]
        for name in ("", "1a", "-a", "A", "a_b", "a/b", "..", "a" * 33, "a\n", "local", "bootstrap"):
            with self.subTest(name=name):
                self.refused("", name, *flags)
        self.refused("NAME", *flags)
        self.refused("the local stack", "local", *flags)

    def test_an_environment_that_exists(self) -> None:
        flags = ["--region", "eu-west-1", *OPEN, "--yes"]
        self.written("demo", *flags)
        before = self.text("demo")
        self.refused("infra/environments/demo exists", "demo", *flags, "--name", "other")
        self.assertEqual(self.text("demo"), before)
        (self.environments / "empty").mkdir()
        (self.environments / "link").symlink_to("nowhere")
        for name in ("empty", "link"):
            self.refused("exists", name, *flags)

    def test_an_interrupt_leaves_nothing(self) -> None:
        for number, code in ((signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)):
            command, pipes = [self.root / "scripts/new-environment.sh", "demo"], {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
            # A background job ignores SIGINT, and so would the script.
            with subprocess.Popen(command, **pipes, text=True, env=self.environ, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as script:
                self.assertIn("Name of the hub", script.stderr.readline() + script.stderr.readline())
                script.send_signal(number)
                self.assertEqual(script.wait(timeout=30), code)
                self.assertNotIn("Traceback", script.stderr.read())
        self.assertEqual(self.listing(), [])

    def test_a_failure_halfway_leaves_nothing(self) -> None:
        flags = ["demo", "--region", "eu-west-1", *OPEN, "--yes"]
        # Every other file is below this limit on the size of a file.
        lock = self.root / "infra/.terraform.lock.hcl"
        lock.write_text(lock.read_text() + "#" * 65536)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
        try:
            self.refused("cannot be written", *flags)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        lock.unlink()
        self.refused("cannot be written", *flags)

    def test_help(self) -> None:
        done = self.script("demo", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual({f"--{flag}" for flag in [*FLAGS, "anonymous", "local-state", "yes"]}, set(re.findall(r"^ +(--[a-z-]+)", done.stdout, re.M)))


if __name__ == "__main__":
    unittest.main()
