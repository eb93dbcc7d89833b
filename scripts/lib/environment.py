"""Asks for the settings of a new environment and writes its folder: environment.py NAME [flags of new-environment.sh]."""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from plan_summary import OPEN

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "name", "region", "architecture", "table-name", "endpoint", "issuer", "audience", "session-claim", "jwks-url", "state-bucket",
    "permissions-boundary", "plan-role-arn", "deploy-role-arn",
)  # fmt: skip

MAIN = """\
# The environment %(environment)s: one hub, and where its state is. scripts/deploy.sh %(environment)s deploys it.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

%(backend)s
}

locals {
  environment = jsondecode(file("${path.module}/environment.json"))
}

provider "aws" {
  region = local.environment.region

  # The region may be newer than the provider.
  skip_region_validation = true
}

module "hub" {
  source = "../.."

%(settings)s

%(access)s
}

output "hub" {
  description = "What clients, backends and scripts need to know of the hub."
  value       = module.hub
}
"""
LOCAL = """\
  # The state is only in this folder: the hub can be changed from nowhere else.
  backend "local" {
    path = "terraform.tfstate"
  }"""
BUCKET = """\
  backend "s3" {
%s

    # The region may be newer than Terraform.
    skip_region_validation = true
  }"""
TOKENS = """\
  auth = { issuers = [{
    # More issuers, audiences and claims are possible: docs/identity-providers.md has the settings for each provider.
%s
  }] }"""


def die(why: str) -> NoReturn:
    sys.exit(f"new-environment.sh: {why}")


def hcl(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def attributes(indent: str, expressions: dict) -> str:
    """Formatted as by terraform fmt."""
    width = max(map(len, expressions))
    return "\n".join(f"{indent}{name:{width}} = {expression}" for name, expression in expressions.items())


def main_tf(environment: str, hub: dict, bucket: str) -> str:
    access = f"  # {OPEN}.\n  allow_anonymous = true"
    if "auth" in hub:
        access = TOKENS % attributes("    ", {name: hcl(value) for name, value in hub["auth"]["issuers"][0].items()})
    settings = {name: hcl(value) for name, value in hub.items() if name not in ("auth", "allow_anonymous")}
    settings |= {name: f"local.environment.{name}" for name in ("region", "architecture")}
    backend = LOCAL
    if bucket != "local":
        place = {"bucket": bucket, "key": f"{environment}/terraform.tfstate", "region": hub["region"], "encrypt": True, "use_lockfile": True}
        backend = BUCKET % attributes("    ", {name: hcl(value) for name, value in place.items()})
    return MAIN % {"environment": environment, "backend": backend, "settings": attributes("  ", settings), "access": access}


def flags() -> dict:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = lambda message: die(f"{message}: see --help")
    parser.add_argument("environment", metavar="NAME")
    parser.add_argument("--yes", action="store_true")
    for flag in FLAGS:
        parser.add_argument(f"--{flag}", dest=flag, action="append")
    parser.add_argument("--anonymous", dest="issuer", action="append_const", const="anonymous")
    parser.add_argument("--local-state", dest="state-bucket", action="append_const", const="local")
    given = vars(parser.parse_args())
    for flag in FLAGS:
        values = given[flag] or [None]
        if len(values) > 1:
            die(f"--{flag} has more than one value ({', '.join(values)}): more issuers and audiences are for main.tf")
        given[flag] = values[0]
    return given


def ask(label: str, question: str, default: "str | None") -> "str | None":
    """None where the input has ended."""
    print(f"\n{question}", file=sys.stderr)
    while True:
        print(f"{label}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        text = line.strip() or default
        if not line or text is not None:
            return text if line else None
        print("  This has no default.", file=sys.stderr)


def refusals(hub: dict) -> list[str]:
    """What the rules of the module's variables say against these values."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (ROOT / "infra").glob("variables*.tf"):
            shutil.copy(path, folder)
        Path(folder, "terraform.tfvars.json").write_text(json.dumps(hub), encoding="utf-8")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        command = ["terraform", f"-chdir={folder}", "plan", "-input=false", "-json"]
        done = subprocess.run(command, capture_output=True, text=True, env={**environ, "CHECKPOINT_DISABLE": "1"}, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = [line["diagnostic"]["detail"].partition("\n\n")[0] for line in lines if line["@level"] == "error"]
    return errors or ([f"terraform failed: {done.stderr}"] if done.returncode else [])


def write(folder: Path, files: dict) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete, so that an interrupt leaves nothing half written.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as work:
        draft = Path(work, folder.name)
        draft.mkdir()
        for name, text in files.items():
            Path(draft, name).write_text(text, encoding="utf-8")
        draft.rename(folder)


def main() -> None:
    given = flags()
    environment, unattended = given.pop("environment"), given.pop("yes")
    place = f"infra/environments/{environment}"
    if not re.fullmatch("[a-z][a-z0-9-]{0,31}", environment):
        die(f"an environment's name must be 1 to 32 lowercase letters, digits and hyphens and begin with a letter, and is {json.dumps(environment)}")
    if environment in ("local", "bootstrap"):
        die(f"the name {environment} belongs to {'the local stack' if environment == 'local' else 'infra/bootstrap'}: choose another")
    if os.path.lexists(ROOT / place):
        die(f"{place} exists and is not overwritten: edit its main.tf, or choose another name")

    answers = {flag: text for flag, text in given.items() if text is not None}

    def answer(flag: str, question: str, default: "str | None" = None, label: str = "") -> str:
        label = label or (flag if default is None else f"{flag} [{default}]")
        text = given.pop(flag)
        if text is None:
            text = default if unattended else ask(label, question, default)
        if text is None:
            die(f"there is no answer for {label}: pass --{flag}, or see --help")
        if text != default:
            answers[flag] = text
        return text

    name = f"websocket-hub-{environment}" if len(environment) <= 18 else environment
    name = answer("name", "Name of the hub, and the prefix of everything it creates.", name)
    region = answer("region", "AWS region of the hub, such as eu-west-1.", os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None)
    architecture = answer("architecture", "Instruction set of the functions: x86_64, or arm64, which costs a fifth less.", "x86_64")
    table = answer("table-name", "Name of the DynamoDB table of connections.", f"{name}-connections")
    endpoint = "WebSocket endpoint, if the functions must post to one that is not the API's own: https://host/path."
    endpoint = answer("endpoint", endpoint, "", "endpoint [the API's own]")
    boundary = given.pop("permissions-boundary")
    hub: dict = {"name": name, "region": region, "architecture": architecture}
    hub |= {"table_name": table} if table != f"{name}-connections" else {}
    hub |= {"websocket_endpoint": endpoint} if endpoint else {}
    hub |= {"permissions_boundary": boundary} if boundary is not None else {}
    issuer = answer("issuer", f"Who may connect: the URL of the issuer whose tokens are required, or 'anonymous', which makes the hub\n{OPEN}.", label="issuer or anonymous")
    if issuer == "anonymous":
        hub["allow_anonymous"] = True
    else:
        tokens = {"issuer": issuer, "audiences": [answer("audience", "Audience of the tokens: their aud.")]}
        claim = answer("session-claim", "Claim that names the sessions a token may join: sub is the user's id with most providers (docs/identity-providers.md).", "session_id")
        keys = answer("jwks-url", "URL of the issuer's keys, if its OpenID discovery document does not name it.", "", "jwks-url [looked up]")
        tokens |= {"jwks_url": keys} if keys else {}
        tokens |= {"session_claim": claim} if claim != "session_id" else {}
        hub["auth"] = {"issuers": [tokens]}
    where = "Where Terraform's state is: an S3 bucket, such as infra/bootstrap makes, or 'local' for a file that only this folder knows."
    bucket = answer("state-bucket", where, "local" if unattended else None, "state-bucket or local")
    roles = {"plan_role_arn": given.pop("plan-role-arn"), "deploy_role_arn": given.pop("deploy-role-arn")}
    for flag in (flag for flag, text in given.items() if text is not None):
        die(f"--{flag} needs --issuer")
    refused = refusals(hub)
    if bucket != "local" and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        refused.append("state-bucket must be the name of a bucket, 3 to 63 lowercase letters, digits, dots and hyphens, or 'local'.")
    for key, role in roles.items():
        if role is not None and not re.fullmatch(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9+=,.@_/-]+", role):
            refused.append(f"{key} must be the ARN of an IAM role: arn:aws:iam::123456789012:role/…")
    if refused:
        again = shlex.join(["scripts/new-environment.sh", environment, *(f"--{flag}={text}" for flag, text in answers.items() if text), *(["--yes"] if unattended else [])])
        die("\n  ".join(["these settings are refused:", *refused]) + f"\nTo correct them, with your other answers:\n  {again}")

    settings = {"region": region, "architecture": architecture, **roles}
    lock = (ROOT / "infra/.terraform.lock.hcl").read_text(encoding="utf-8")
    write(ROOT / place, {"main.tf": main_tf(environment, hub, bucket), "environment.json": json.dumps(settings, indent=2) + "\n", ".terraform.lock.hcl": lock})
    access = OPEN if issuer == "anonymous" else f"for tokens of {issuer}"
    print(f"{place} is written: the hub {name} in {region}, {access}. Next:\n  scripts/deploy.sh {environment}\n  commit {place}: nothing in it is secret")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        main()
    except OSError as error:
        die(f"the environment cannot be written: {error}")
