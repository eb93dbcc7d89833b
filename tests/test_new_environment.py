"""Tests of scripts/new-environment.sh, run in a copy. Terraform reads what the script writes.

    cd tests && python3 -m unittest test_new_environment
"""

import base64
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../scripts/lib"))
from environment import QUESTIONS  # noqa: E402

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


def accepted(issuers: list, name: str) -> list:
    """That attribute of the issuers that the variable `auth` accepts. Its refusals give their places in the list."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "infra/variables_access.tf", folder)
        values = {"auth": {"issuers": [{"audiences": ["chat"], **one} for one in issuers]}}
        Path(folder, "terraform.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
        said = terraform(f"-chdir={folder}", "plan", "-json", "-input=false", code=1)
    refused = {int(index) for index in re.findall(r"auth\.issuers\[([0-9]+)\]", said)}
    assert 0 < len(refused) < len(issuers), said
    return [one[name] for index, one in enumerate(issuers) if index not in refused]


class NewEnvironment(unittest.TestCase):
    def setUp(self) -> None:
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.root = Path(work.name, "a copy")
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "infra").mkdir()
        shutil.copy(ROOT / "infra/.terraform.lock.hcl", self.root / "infra")
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
        self.assertIn(why, done.stderr.strip().splitlines()[-1])
        self.assertTrue(done.stderr.strip().splitlines()[-1].startswith("new-environment.sh: "), done.stderr)
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

    def test_every_combination_of_flags(self) -> None:
        choices = [
            [[], ["--table-name", "other.Table_1"]],
            [[], ["--endpoint", "https://hub.example.com/live"]],
            [OPEN, TOKENS, [*TOKENS, "--jwks-url", "https://login.example.com/keys/a@b?v=1", "--session-claim", "/app/sub~1a"]],
            [["--local-state"], ["--state-bucket", "states-1"], ["--state-bucket", "states-1", "--state-key", "a/b.tfstate", "--state-region", "eu-west-9"]],
            [[], ["--plan-role-arn", "arn:aws:iam::123456789012:role/plan", "--deploy-role-arn", ROLE, "--architecture", "arm64", "--permissions-boundary", BOUNDARY]],
        ]
        all_flags = {f"e{number}": [flag for choice in chosen for flag in choice] for number, chosen in enumerate(itertools.product(*choices))}
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
                place = {"bucket": "states-1", "key": given.get("--state-key", f"{name}/terraform.tfstate"), "region": given.get("--state-region", "eu-west-1")}
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
        self.refused("--region must look like", "bad", *OPEN, "--yes", AWS_REGION="nowhere")

    def test_the_next_steps_that_it_prints(self) -> None:
        done = self.written("demo", "--region", "eu-west-1", *OPEN, "--yes")
        self.assertIn("scripts/deploy.sh demo\n", done.stdout)
        self.assertIn("commit infra/environments/demo: nothing in it is secret", done.stdout)
        self.assertIn("terraform -chdir=infra/environments/demo init -migrate-state", done.stderr)
        for flags in (["--local-state"], ["--state-bucket", "states-1"]):
            self.assertEqual(self.written(f"demo-{len(flags)}", "--region", "eu-west-1", *OPEN, "--yes", *flags).stderr, "")

    def test_values_that_hcl_would_read(self) -> None:
        hostile = 'a"b\\c${d}$${e}%{f}%%{g}$$${h}\\${i}$%{ é😀\''
        issuer = "a\\b$$c%%d%%%e$\\$é😀'"
        self.written("demo", "--region", "eu-west-1", "--yes", "--issuer", f"https://login.example.com/{issuer}", "--audience", hostile)
        terraform("fmt", "-check", "-diff", str(self.environments))
        self.assertEqual(self.read("demo")["demo"]["hub"]["auth"], {"issuers": [{"issuer": f"https://login.example.com/{issuer}", "audiences": [hostile]}]})

    def test_asking(self) -> None:
        answers = {
            "name": ["1chat", "chat_1", "c" * 33, "chat"], "region": ["", "Ireland", "eu-west-1"], "architecture": ["arm", "arm64"],
            "table-name": ["ab", "a b", "rows"],
            "endpoint": ["wss://hub.example.com/live", "http://hub.example.com", "https://hub.example.com/", "https://hub.example.com/live"],
            "issuer": ["", "login.example.com", "http://login.example.com", "https://a/?b", "https://login.example.com/ "], "audience": ["", "\x07", " chat "],
            "session-claim": ["/a~", "/a~2b", "sub"],
            "jwks-url": ["keys", "https://login.example.com/keys"], "state-bucket": ["", "No_Bucket", "ab", "states-1"],
        }  # fmt: skip
        done = self.script("demo", stdin="".join(f"{answer}\n" for some in answers.values() for answer in some))
        self.assertEqual(done.returncode, 0, done.stderr)
        complaints = done.stderr.count("  It must ") + done.stderr.count("  This has no default.")
        self.assertEqual(complaints, sum(len(some) - 1 for some in answers.values()), done.stderr)
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
        self.refused("pass --region, --issuer or --anonymous, --audience (with --issuer), --state-bucket or --local-state, --yes", "demo")
        self.refused("pass --state-bucket or --local-state, --yes", "demo", stdin="\neu-west-1\n\n\n\nanonymous\n")
        self.refused("pass --region, --issuer or --anonymous, --audience (with --issuer)", "demo", "--yes")
        self.refused("pass --issuer or --anonymous", "demo", "--yes", "--region", "eu-west-1")
        self.refused("pass --audience", "demo", "--yes", "--region", "eu-west-1", "--issuer", "https://a")

    def test_refused_flags(self) -> None:
        rest = {"--name": "chat", "--region": "eu-west-1", "--issuer": "https://a", "--audience": "b", "--state-bucket": "states-1"}
        wrong = {
            "--name": ["", "1chat", "chat_1", "c" * 33, "chat\n"], "--region": ["", "eu-west", "EU-west-1", "eu-west-1\n", 'eu-west-1"'],
            "--architecture": ["", "arm", "x86_64 "], "--table-name": ["", "ab", "a" * 256, "a/b"],
            "--endpoint": ["", "wss://a/b", "https://a/", "https://a/b?c", "http://a/b", "https://a b"],
            "--issuer": ["", "anonymous", "a", "http://a", "https://a?b", "https://a b", "https://a@b", "https://a/\x07", "accounts.example.com"], "--audience": ["", " ", "a\nb"],
            "--session-claim": ["", " ", "/a~", "/~2"],
            "--jwks-url": ["", "a", "http://a/b", "https://a/b#c", "https://a@b/c"], "--state-bucket": ["", "local", "ab", "A-bucket", "a/b", "a" * 64, "bucket-"],
            "--state-key": ["", "/a", "a/", "a//b"], "--state-region": ["", "x"],
            "--permissions-boundary": ["", "boundary", ROLE, "arn:aws:iam::1:policy/a"],
            "--plan-role-arn": ["", "plan", "arn:aws:iam::1:role/a", "arn:aws:iam::123456789012:user/a"],
            "--deploy-role-arn": ["", "arn:aws:iam::123456789012:role/"],
        }  # fmt: skip
        for flag, values in wrong.items():
            for value in values:
                with self.subTest(flag=flag, value=value):
                    flags = {**rest, flag: value}
                    self.refused(f"{flag} must ", "demo", "--yes", *(word for pair in flags.items() for word in pair))

    def test_the_module_has_the_same_rules(self) -> None:
        found = re.findall(r'regex\(("(?:[^"\\]|\\.)*"), (?:try\()?var\.([a-z_.]+)', (ROOT / "infra/variables.tf").read_text(encoding="utf-8"))
        module = {path: pattern for pattern, path in found}
        same = {"name": "name", "region": "region", "table_name": "table-name", "websocket_endpoint": "endpoint"}
        parts = [["https://", "http://", "wss://", ""], ["a.example.com", "localhost", "127.0.0.1", "u@a", ""], ["", ":1", ":x", ":65535", ":65536"]]
        parts += [["", "/", "/b", "/b/", "/b//c", "/b c", "?q", "/#f", "?q@", "/b@c", "/<b>", "/{b}", '?"']]
        addresses = ["".join(one) for one in itertools.product(*parts)]
        values = [*addresses, "chat", "1chat", "a" * 32, "a" * 33, "a_b", "a.b", "ab"]
        values += ["c" * 255, "c" * 256, "a-b-1", "eu-west-1", "us-gov-east-12", "eu-west-", "EU-west-1", "eu-1"]
        expression = "{" + ", ".join(f'"{path}" = [for value in {json.dumps(values)} : can(regex({module[path]}, value))]' for path in same) + "}"
        said = evaluated(expression)
        questions = {question.flag: question for question in QUESTIONS}
        for path, flag in same.items():
            self.assertEqual([value for value in values if questions[flag].allows(value)], [value for value, ok in zip(values, said[path]) if ok], path)
            self.assertIn(True, said[path])
        # Each address once as the issuer and once as the address of the keys, in an otherwise valid entry.
        self.assertEqual([value for value in addresses if questions["issuer"].allows(value)], accepted([{"issuer": value} for value in addresses], "issuer"))
        keys = [{"issuer": f"https://login.example.com/{index}", "jwks_url": value} for index, value in enumerate(addresses)]
        self.assertEqual([value for value in addresses if questions["jwks-url"].allows(value)], accepted(keys, "jwks_url"))
        claims = ["sub", "", " ", "/", "/a~", "/~0", "/~01~1", "/a/~2b", "a~"]
        some = [{"issuer": f"https://login.example.com/{index}", "session_claim": value} for index, value in enumerate(claims)]
        self.assertEqual([value for value in claims if questions["session-claim"].allows(value)], accepted(some, "session_claim"))
        audiences = ["chat", "", " ", " chat ", "é", "a b"]
        some = [{"issuer": f"https://login.example.com/{index}", "audiences": [value]} for index, value in enumerate(audiences)]
        self.assertEqual([[value] for value in audiences if questions["audience"].allows(value)], accepted(some, "audiences"))

    def test_contradictions(self) -> None:
        rest = ["demo", "--region", "eu-west-1", "--yes"]
        self.refused("not allowed with", *rest, *OPEN, "--issuer", "https://a", "--audience", "b")
        self.refused("not allowed with", *rest, *OPEN, "--local-state", "--state-bucket", "states-1")
        self.refused("--audience is given twice", *rest, *TOKENS, "--audience", "b")
        self.refused("--audience needs --issuer", *rest, *OPEN, "--audience", "b")
        self.refused("--jwks-url needs --issuer", *rest, *OPEN, "--jwks-url", "https://a/b")
        self.refused("--state-key needs --state-bucket", *rest, *OPEN, "--state-key", "a")
        self.refused("--state-region needs --state-bucket", *rest, *OPEN, "--local-state", "--state-region", "eu-west-1")
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
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
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
        # main.tf is below this limit on the size of a file, and the lock file above it.
        lock = self.root / "infra/.terraform.lock.hcl"
        lock.write_text(lock.read_text() + "#" * 4096)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            self.refused("cannot be written", *flags)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        lock.unlink()
        self.refused("cannot be written", *flags)

    def test_help(self) -> None:
        done = self.script("demo", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        flags = {flag for question in QUESTIONS for flag in (question.flag, question.word_flag) if flag}
        self.assertEqual({f"--{flag}" for flag in [*flags, "yes"]}, set(re.findall(r"^ +(--[a-z-]+)", done.stdout, re.M)))


if __name__ == "__main__":
    unittest.main()
