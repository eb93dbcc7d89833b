"""Tests of scripts/lib/pipeline.py against a fake GitHub, and of the rules that our workflows follow.

    cd tests && python3 -m unittest test_workflows
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (GITHUB / "workflows").glob("*.yml")}
ACTIONS = {path.parent.name: yaml.safe_load(path.read_text()) for path in (GITHUB / "actions").glob("*/action.yml")}

# A fake gh: it answers from the file `answers`, a list of [part of the arguments, exit code, output], and records each call.
GH = f"""#!{sys.executable}
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
line = " ".join(sys.argv[1:])
with open(folder + "/asked", "a") as file:
    file.write(json.dumps({{"line": line, "body": sys.stdin.read() if "--input" in sys.argv else None}}) + "\\n")
for part, code, text in json.load(open(folder + "/answers")):
    if part in line:
        print(text, file=sys.stderr if code else sys.stdout)
        sys.exit(code)
sys.exit("unexpected: " + line)
"""
ENVIRONMENT = {
    "GITHUB_REPOSITORY": "octo/hub", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_RUN_ID": "77", "GITHUB_RUN_NUMBER": "9", "GITHUB_EVENT_NAME": "push",
    "GITHUB_WORKFLOW_REF": "octo/hub/.github/workflows/deploy.yml@refs/heads/main",
}  # fmt: skip


class Pipeline(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "scripts/lib").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/lib/pipeline.py", self.folder / "scripts/lib")
        (self.folder / "gh").write_text(GH)
        (self.folder / "gh").chmod(0o755)
        self.environments = self.folder / "infra/environments"
        self.environment("local", region="us-east-1", architecture="x86_64")

    def environment(self, name: str, **settings: "str | None") -> None:
        (self.environments / name).mkdir(parents=True)
        (self.environments / name / "environment.json").write_text(json.dumps(settings))

    def run_it(self, *arguments: str, answers: tuple = (), **more: str) -> subprocess.CompletedProcess:
        (self.folder / "answers").write_text(json.dumps(answers))
        (self.folder / "asked").write_text("")
        environment = {**os.environ, **ENVIRONMENT, "PATH": f"{self.folder}:{os.environ['PATH']}", **more}
        done = subprocess.run([sys.executable, self.folder / "scripts/lib/pipeline.py", *arguments], capture_output=True, text=True, env=environment)
        self.asked = [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]
        self.assertNotIn("Traceback", done.stderr)
        return done

    def outputs(self, *arguments: str, **more) -> dict:
        done = self.run_it(*arguments, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.said = done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def fails(self, why: str, *arguments: str, **more) -> None:
        done = self.run_it(*arguments, **more)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertTrue(done.stderr.startswith("::error::"), done.stderr)

    def test_no_environment(self) -> None:
        self.assertEqual(self.outputs("environments", "staging"), {"planned": "[]", "staging": "false", "architectures": "[]"})
        self.assertIn("::notice title=Nothing to deploy::There is no environment staging", self.said)

    def test_environments(self) -> None:
        self.environment("staging", region="r", architecture="x86_64", plan_role_arn="p", deploy_role_arn="d")
        self.environment("production", region="r", architecture="arm64", plan_role_arn="p")
        self.environment("demo", region="r", architecture="x86_64", plan_role_arn=None)
        found = self.outputs("environments", "staging", "production")
        self.assertEqual(found, {"planned": '["production", "staging"]', "staging": "true", "production": "true", "architectures": '["arm64", "x86_64"]'})
        self.assertIn("demo has no plan_role_arn", self.said)
        self.assertEqual(self.outputs("environment", "staging", "deploy"), {"region": "r", "architecture": "x86_64", "role": "d"})
        self.assertEqual(self.outputs("environment", "production", "plan")["role"], "p")
        self.fails("production/environment.json has no deploy_role_arn: scripts/bootstrap.sh prints it", "environment", "production", "deploy")
        self.fails("There is no infra/environments/other/environment.json: scripts/new-environment.sh other writes it", "environment", "other", "plan")

    def test_malformed_settings(self) -> None:
        self.environment("lines", region="r\nrole=x", architecture="x86_64", plan_role_arn="p")
        self.fails("its region is more than one line", "environment", "lines", "plan")
        for name, text, why in [("text", "{", "is not JSON"), ("list", "[]", "has no region"), ("bare", '{"region": "r"}', "has no architecture")]:
            self.environment(name)
            (self.environments / name / "environment.json").write_text(text)
            self.fails(why, "environment", name, "plan")

    def test_gate(self) -> None:
        def rules(*rules: dict) -> tuple:
            return (["environments/production", 0, json.dumps({"protection_rules": rules})],)

        branch, reviewers = {"type": "branch_policy"}, {"type": "required_reviewers", "reviewers": [{"type": "User"}]}
        self.assertEqual(self.outputs("gate", "production", answers=rules(branch, reviewers)), {"open": "true"})
        self.assertEqual(self.said, "")
        for answers in [rules(), rules(branch), rules({**reviewers, "reviewers": []}), (["environments", 1, "gh: Not Found (HTTP 404)"],)]:
            self.assertEqual(self.outputs("gate", "production", answers=answers), {"open": "false"})
            self.assertIn("::notice title=production is not deployed::", self.said)
        # Starting the workflow by hand is a decision.
        self.assertEqual(self.outputs("gate", "production", GITHUB_EVENT_NAME="workflow_dispatch"), {"open": "true"})
        self.fails("GitHub does not say", "gate", "production", answers=(["environments", 1, "gh: HTTP 502"],))

    def test_supersede(self) -> None:
        runs = [{"id": number * 100, "run_number": number, "status": status} for number, status in [(7, "waiting"), (8, "in_progress"), (6, "waiting"), (9, "waiting"), (10, "waiting")]]
        waiting = ["actions/workflows/deploy.yml/runs?status=waiting&branch=main", 0, json.dumps({"workflow_runs": runs})]
        self.outputs("supersede", answers=(waiting, ["runs/700/cancel", 0, ""], ["runs/600/cancel", 1, "gh: HTTP 409"]))
        self.assertEqual([ask["line"].split()[1] for ask in self.asked[1:]], ["repos/octo/hub/actions/runs/700/cancel", "repos/octo/hub/actions/runs/600/cancel"])
        self.assertIn("run 7 waited for an approval, and is cancelled", self.said)
        self.assertIn("Run 6, which waited for an approval, could not be cancelled", self.said)
        self.fails("gh failed: gh: HTTP 500", "supersede", answers=(["runs", 1, "gh: HTTP 500"],))

    def comment(self, comments: list[dict], **plans: str) -> "dict | None":
        shutil.rmtree(self.folder / "plans", ignore_errors=True)
        (self.folder / "plans").mkdir()
        for name, text in plans.items():
            (self.folder / "plans" / f"{name}.md").write_text(text)
        listing = "\n".join(json.dumps(one, ensure_ascii=False) for one in comments)
        done = self.run_it("comment", "5", str(self.folder / "plans"), answers=(["--paginate", 0, listing], ["--method", 0, "{}"]))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.asked[0]["line"].split()[1], "repos/octo/hub/issues/5/comments")
        return {"line": self.asked[1]["line"], "text": json.loads(self.asked[1]["body"])["body"]} if len(self.asked) > 1 else None

    def test_one_comment_that_finds_itself_again(self) -> None:
        said = self.comment([{"id": 1, "body": "hello\u2028there", "login": "octo"}], staging="Nothing changes.", production="- update é")
        self.assertEqual(said["line"], "api repos/octo/hub/issues/5/comments --method POST --input -")
        self.assertLess(said["text"].index("## Plan of production\n\n- update é"), said["text"].index("## Plan of staging\n\nNothing changes."))
        own = {"id": 42, "body": said["text"], "login": "github-actions[bot]"}
        others = [{"id": 41, "body": said["text"], "login": "octo"}, {"id": 43, "body": f"> {said['text']}", "login": "github-actions[bot]"}]
        said = self.comment([*others, own], staging="Nothing changes.")
        self.assertEqual(said["line"], "api repos/octo/hub/issues/comments/42 --method PATCH --input -")
        self.assertNotIn("production", said["text"])
        self.assertIn("There is no environment to plan.", self.comment([own])["text"])
        self.assertIsNone(self.comment(others[:1]))

    def test_a_comment_within_githubs_limit(self) -> None:
        def plan(length: int) -> str:
            return "- update\n\n<details><summary>Terraform's plan</summary>\n\n~~~text\n" + "é→ line\n" * (length // 8) + "~~~\n\n</details>"

        for plans in [{"a": plan(200_000)}, {"a": plan(50_000), "b": plan(90_000), "c": plan(100)}, {f"e{n}": plan(40_000) for n in range(12)}]:
            said = self.comment([], **plans)["text"]
            self.assertLess(len(said), 5_000)
            for text in ("- update\n", "[the run's summary](https://github.com/octo/hub/actions/runs/77)"):
                self.assertEqual(said.count(text), len(plans))
            self.assertNotIn("<details>", said)
        self.assertIn(plan(20_000), self.comment([], a=plan(20_000), b=plan(30_000))["text"])
        self.assertLessEqual(len(self.comment([], a="- update\n" * 20_000)["text"]), 65_536)

    def test_verify(self) -> None:
        (self.folder / "zips/connect").mkdir(parents=True)
        self.fails("There is no */bootstrap.zip", "verify", str(self.folder / "zips"))
        (self.folder / "zips/connect/bootstrap.zip").write_text("zip")
        self.outputs("verify", str(self.folder / "zips"), answers=(["attestation verify", 0, ""],))
        self.assertIn("--repo octo/hub --signer-workflow octo/hub/.github/workflows/deploy.yml --source-ref refs/heads/main", self.asked[0]["line"])
        self.fails("gh failed: no attestation", "verify", str(self.folder / "zips"), answers=(["attestation", 1, "no attestation"],))


def steps(job: dict) -> list[dict]:
    """Including the steps of composite actions."""
    found = []
    for step in job.get("steps", []):
        local = step.get("uses", "").removeprefix("$/.github/actions/")
        found += ACTIONS[local]["runs"]["steps"] if local in ACTIONS else [step]
    return found


JOBS = {f"{name}: {key}": job for name, workflow in WORKFLOWS.items() for key, job in workflow["jobs"].items()}


class Rules(unittest.TestCase):
    def test_schemas(self) -> None:
        files = {"github-workflows": [*(GITHUB / "workflows").glob("*")], "github-actions": [*(GITHUB / "actions").glob("*/*")], "dependabot": [GITHUB / "dependabot.yml"]}
        for schema, paths in files.items():
            self.assertTrue(paths)
            done = subprocess.run([Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_actions_are_pinned(self) -> None:
        for path in GITHUB.rglob("*.yml"):
            for line in path.read_text().splitlines():
                if used := re.search(r"\buses: *(.*)", line):
                    self.assertRegex(used[1], r"^\$/\.github/actions/(%s)$|^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[0-9.]+$" % "|".join(ACTIONS), path.name)

    def test_every_job(self) -> None:
        for name, job in JOBS.items():
            with self.subTest(name):
                self.assertIn("permissions", job)
                self.assertIn("timeout-minutes", job)
                for step in steps(job):
                    self.assertNotIn("${{", step.get("run", ""))
                    self.assertNotIn("-var ", step.get("run", ""))

    def test_no_settings_outside_of_the_repository(self) -> None:
        # Except the name of the client on npm, which differs in each fork.
        for path in GITHUB.rglob("*.yml"):
            text = path.read_text() if path.name != "release.yml" else path.read_text().replace("${{ vars.NPM_PACKAGE }}", "")
            self.assertNotRegex(text, r"\bvars\.|-var[ =]", path.name)

    def test_jobs_that_hold_a_role_or_sign(self) -> None:
        privileged = {name: job for name, job in JOBS.items() if job["permissions"].get("id-token") == "write"}
        self.assertGreaterEqual(set(privileged), {"deploy: staging", "deploy: production", "deploy: plan", "deploy: attest", "pull-request: plan", "rollback: rollback", "release: publish", "release: npm"})
        for name, job in privileged.items():
            with self.subTest(name):
                used = " ".join(step.get("uses", "") for step in steps(job))
                ran = " ".join(step.get("run", "") for step in steps(job))
                self.assertNotIn("actions/cache", used)
                self.assertNotRegex(ran, r"scripts/(test|build|local)\.sh|\b(cargo|npm|pip)\b")
                written = {key for key, value in job["permissions"].items() if value == "write"} - {"id-token", "attestations"}
                self.assertEqual(written, {"contents"} if name == "release: publish" else set())

    def test_what_npm_gets_was_tested_packed_elsewhere_and_released(self) -> None:
        jobs = WORKFLOWS["release"]["jobs"]
        self.assertEqual((jobs["npm"]["needs"], set(jobs["publish"]["needs"])), ("publish", {"test", "build", "client"}))
        self.assertEqual((jobs["npm"]["permissions"], jobs["client"]["permissions"]), ({"contents": "read", "id-token": "write"}, {"contents": "read"}))
        names = {job: [step["env"].get("NPM_PACKAGE") for step in jobs[job]["steps"] if "client_package.py" in step.get("run", "")] for job in ("client", "npm")}
        self.assertEqual(names, {job: ["${{ vars.NPM_PACKAGE }}"] for job in names})
        self.assertNotIn("secrets.", (GITHUB / "workflows/release.yml").read_text())

    def test_concurrency_of_deploys(self) -> None:
        for name in ("deploy", "rollback"):
            self.assertNotIn("concurrency", WORKFLOWS[name])
        for name in ("staging", "production"):
            job = WORKFLOWS["deploy"]["jobs"][name]
            self.assertEqual((job["environment"], job["concurrency"]), (name, {"group": f"deploy-{name}", "cancel-in-progress": False}))
        self.assertEqual(WORKFLOWS["rollback"]["jobs"]["rollback"]["concurrency"]["group"], "rollback-${{ inputs.environment }}")

    def test_production_gets_the_plan_that_was_shown(self) -> None:
        jobs = WORKFLOWS["deploy"]["jobs"]
        upload = next(step["with"] for step in steps(jobs["plan"]) if "upload-artifact" in step.get("uses", ""))
        self.assertEqual((upload["path"], upload["retention-days"]), ("production.plan", 30))
        self.assertIn({"name": upload["name"]}, [step["with"] for step in steps(jobs["production"]) if "download-artifact" in step.get("uses", "")])
        self.assertNotIn("environment", jobs["plan"])
        self.assertTrue(any("--plan --save production.plan" in step.get("run", "") for step in steps(jobs["plan"])))
        self.assertTrue(any("--apply production.plan" in step.get("run", "") for step in steps(jobs["production"])))


if __name__ == "__main__":
    unittest.main()
