"""What the workflows need to know and do on GitHub: pipeline.py COMMAND ARGUMENTS...

    environments [NAME...]          outputs: the environments that can be planned; whether each NAME exists, and the
                                    architectures to build for them
    environment NAME plan|deploy    outputs: region, architecture and that role of an environment
    gate NAME                       output: whether this run may apply to the environment after an approval on GitHub
    supersede                       cancels older runs of this workflow that wait for an approval
    comment NUMBER FOLDER           shows the plans in the folder in one comment of a pull request
    verify FOLDER                   verifies the attestations of the zips in the folder

Outputs are lines for GITHUB_OUTPUT. gh calls GitHub, with GH_TOKEN.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ENVIRONMENTS = Path(__file__).resolve().parents[2] / "infra/environments"
MARK = "<!-- websocket-hub: plans -->"
# GitHub accepts 65,536 characters. How it counts them is not documented.
LIMIT = 60_000


def die(why: str) -> NoReturn:
    print(f"::error::{why}", file=sys.stderr)
    sys.exit(1)


def notice(title: str, text: str) -> None:
    print(f"::notice title={title}::{text}", file=sys.stderr)


def gh(*arguments: str, body: "dict | None" = None) -> str:
    done = subprocess.run(["gh", *arguments], input=json.dumps(body) if body else None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def api(path: str, *arguments: str, **more: dict) -> str:
    return gh("api", f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}", *arguments, **more)


def settings(name: str) -> dict:
    path = f"infra/environments/{name}/environment.json"
    try:
        found = json.loads((ENVIRONMENTS / name / "environment.json").read_text(encoding="utf-8"))
    except OSError:
        die(f"There is no {path}: scripts/new-environment.sh {name} writes it. Commit the folder.")
    except ValueError as error:
        die(f"{path} is not JSON: {error}")
    for key in ("region", "architecture"):
        if not isinstance(found, dict) or not isinstance(found.get(key), str):
            die(f"{path} has no {key}.")
    return found


def environments(*deployed: str) -> None:
    names = sorted(path.parent.name for path in ENVIRONMENTS.glob("*/environment.json") if path.parent.name != "local")
    found = {name: settings(name) for name in names}
    planned = [name for name in names if found[name].get("plan_role_arn")]
    for name in names:
        if name not in planned:
            notice("No plan", f"The environment {name} has no plan_role_arn in its environment.json, so it is not planned here.")
    print(f"planned={json.dumps(planned)}")
    for name in deployed:
        if name not in names:
            notice("Nothing to deploy", f"There is no environment {name}: docs/deploying.md says how to make one.")
        print(f"{name}={json.dumps(name in names)}")
    print(f"architectures={json.dumps(sorted({found[name]['architecture'] for name in deployed if name in names}))}")


def environment(name: str, role: str) -> None:
    found = settings(name)
    arn = found.get(f"{role}_role_arn") or die(f"infra/environments/{name}/environment.json has no {role}_role_arn: scripts/bootstrap.sh prints it.")
    for key, value in (("region", found["region"]), ("architecture", found["architecture"]), ("role", arn)):
        if not value.isprintable():
            die(f"infra/environments/{name}/environment.json: its {key} is more than one line.")
        print(f"{key}={value}")


def gate(name: str) -> None:
    if os.environ["GITHUB_EVENT_NAME"] == "workflow_dispatch":
        print("open=true")
        return
    try:
        rules = json.loads(api(f"environments/{name}")).get("protection_rules", [])
    except RuntimeError as error:
        if "404" not in str(error):
            die(f"GitHub does not say who must approve a deploy to {name}: {error}")
        rules = []
    reviewed = any(rule.get("type") == "required_reviewers" and rule.get("reviewers") for rule in rules)
    if not reviewed:
        notice(
            f"{name} is not deployed",
            f"The GitHub environment {name} has no required reviewers, so no one would approve this. Its plan is in the summary of this run. "
            "To deploy it: Actions, Deploy, Run workflow.",
        )
    print(f"open={json.dumps(reviewed)}")


def supersede() -> None:
    """A waiting run has no running job, so cancelling it interrupts nothing."""
    own = int(os.environ["GITHUB_RUN_NUMBER"])
    workflow = os.environ["GITHUB_WORKFLOW_REF"].split("@")[0].rpartition("/")[2]
    for run in json.loads(api(f"actions/workflows/{workflow}/runs?status=waiting&branch=main&per_page=100"))["workflow_runs"]:
        if run["run_number"] < own and run["status"] == "waiting":
            try:
                api(f"actions/runs/{run['id']}/cancel", "--method", "POST")
                print(f"run {run['run_number']} waited for an approval, and is cancelled: this one is newer", file=sys.stderr)
            except RuntimeError as error:
                # It was approved meanwhile: the run that applies first makes the other one's plan stale, and Terraform refuses that.
                notice("Not cancelled", f"Run {run['run_number']}, which waited for an approval, could not be cancelled: {error}")


def body_of(plans: dict[str, str], whole: str) -> str:
    """All plans; only their summaries if the comment would be too long."""

    def shortened(text: str) -> str:
        head, plan, _ = text.partition("<details>")
        return f"{head}The plan is too long for a comment: [the run's summary]({whole}) has it." if plan else head

    body = ""
    for texts in (plans, {name: shortened(text) for name, text in plans.items()}):
        body = "\n\n".join([MARK, *([f"## Plan of {name}\n\n{text}" for name, text in sorted(texts.items())] or ["There is no environment to plan."])])
        if len(body) <= LIMIT:
            break
    return body[:LIMIT]


def comment(number: str, folder: str) -> None:
    plans = {path.stem: path.read_text(encoding="utf-8").strip() for path in Path(folder).glob("*.md")}
    lines = api(f"issues/{number}/comments", "--paginate", "--jq", ".[] | {id, body, login: .user.login}").split("\n")
    found = [json.loads(line) for line in lines if line]
    own = [one["id"] for one in found if one["login"] == "github-actions[bot]" and one["body"].startswith(MARK)]
    if plans or own:
        whole = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
        path, method = (f"issues/comments/{own[0]}", "PATCH") if own else (f"issues/{number}/comments", "POST")
        api(path, "--method", method, "--input", "-", body={"body": body_of(plans, whole)})


def verify(folder: str) -> None:
    """Accepts only what this repository's deploy workflow on main has signed."""
    zips = sorted(Path(folder).glob("*/bootstrap.zip"))
    if not zips:
        die(f"There is no */bootstrap.zip in {folder}.")
    repository = os.environ["GITHUB_REPOSITORY"]
    for path in zips:
        gh("attestation", "verify", str(path), "--repo", repository, "--signer-workflow", f"{repository}/.github/workflows/deploy.yml", "--source-ref", "refs/heads/main")
        print(f"{path} is attested", file=sys.stderr)


if __name__ == "__main__":
    commands = {"environments": environments, "environment": environment, "gate": gate, "supersede": supersede, "comment": comment, "verify": verify}
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except RuntimeError as failure:
        die(f"gh failed: {failure}")
