"""Asks for the settings of a new environment and writes its folder: environment.py NAME [flags of new-environment.sh]."""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]
PORT = r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
ORIGIN = rf"(https://[A-Za-z0-9._-]+|http://(127\.0\.0\.1|localhost)){PORT}"
REGION = r"[a-z]+(-[a-z]+)+-[0-9]+", "must look like eu-west-1"
BOUNDARY = r"arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[a-zA-Z0-9+=,.@_/-]+", "must be the ARN of an IAM policy: arn:aws:iam::123456789012:policy/…"
ROLE = r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9+=,.@_/-]+", "must be the ARN of an IAM role: arn:aws:iam::123456789012:role/…"
OPEN = "OPEN TO EVERYONE: whoever knows the address can join any session, and subscribe and send to any"
MORE = "More issuers, audiences and claims are possible: docs/identity-providers.md has the settings for each provider."


def die(why: str) -> NoReturn:
    sys.exit(f"new-environment.sh: {why}")


class Question(NamedTuple):
    flag: str
    explanation: str  # Empty: never asked.
    pattern: str
    rule: str
    default: Callable[[dict], "str | None"] = lambda known: None  # From the answers so far. None: there must be one; "": there need not.
    absent: str = ""  # What "" means.
    word: str = ""  # An answer in words that is kept as "", and its flag.
    word_flag: str = ""
    part_of: str = ""  # The question whose answer must not be "" for this one to matter.

    def allows(self, text: str) -> bool:
        return text.isprintable() and re.fullmatch(self.pattern, text) is not None


# The rules are those of infra/variables*.tf, so that a wrong answer is refused here and not at the first plan.
QUESTIONS = [
    Question("name", "Name of the hub, and the prefix of everything it creates.",
             r"[a-zA-Z][a-zA-Z0-9-]{0,31}", "must be 1 to 32 letters, digits and hyphens and begin with a letter",
             lambda known: next(name for name in (f"websocket-hub-{known['environment']}", known["environment"]) if len(name) <= 32)),
    Question("region", "AWS region of the hub, such as eu-west-1.", *REGION,
             lambda known: os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None),
    Question("architecture", "Instruction set of the functions: x86_64, or arm64, which costs a fifth less.",
             "x86_64|arm64", "must be x86_64 or arm64", lambda known: "x86_64"),
    Question("table-name", "Name of the DynamoDB table of connections.", r"[a-zA-Z0-9_.-]{3,255}",
             "must be 3 to 255 letters, digits, dots, hyphens and underscores", lambda known: f"{known['name']}-connections"),
    Question("endpoint", "WebSocket endpoint, if the functions must post to one that is not the API's own: https://host/path.",
             r"(https://[^/\s?#]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)(/[^/\s?#]+)*",
             "must be https://host/path without a slash at the end (http:// only for 127.0.0.1 and localhost)", lambda known: "", "the API's own"),
    Question("issuer", f"Who may connect: the URL of the issuer whose tokens are required, or 'anonymous', which makes the hub\n{OPEN}.", ORIGIN + r'(/[^\s?#"<>`{}]*)?',
             "must be the https:// URL that tokens have as their iss, without a query string (http:// only for 127.0.0.1 and localhost)",
             word="anonymous", word_flag="anonymous"),
    Question("audience", "Audience of the tokens: their aud.", r".*\S.*", "must not be empty or hold control characters", part_of="issuer"),
    Question("session-claim", "Claim that names the sessions a token may join: sub is the user's id with most providers (docs/identity-providers.md).",
             r"(?!/.*~([^01]|$)).*\S.*", "must be the name of a claim, or a JSON pointer to one, which begins with / and has ~0 for ~",
             lambda known: "session_id", part_of="issuer"),
    Question("jwks-url", "URL of the issuer's keys, if its OpenID discovery document does not name it.", ORIGIN + r'([/?][^\s#"<>`{}]*)?',
             "must be an https:// URL without a fragment or user (http:// only for 127.0.0.1 and localhost)", lambda known: "", "looked up", part_of="issuer"),
    Question("state-bucket", "Where Terraform's state is: an S3 bucket, such as infra/bootstrap makes, or 'local' for a file that only this folder knows.",
             r"(?!local$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
             "must be the name of a bucket: 3 to 63 lowercase letters, digits, dots and hyphens (for a file: --local-state)",
             word="local", word_flag="local-state"),
    Question("state-key", "", r"[a-zA-Z0-9_.=@-]+(/[a-zA-Z0-9_.=@-]+)*", "must be like chat/terraform.tfstate, without a slash at either end",
             lambda known: f"{known['environment']}/terraform.tfstate", part_of="state-bucket"),
    Question("state-region", "", *REGION, lambda known: known["region"] or "", part_of="state-bucket"),
    Question("permissions-boundary", "", *BOUNDARY, lambda known: ""),
    Question("plan-role-arn", "", *ROLE, lambda known: ""),
    Question("deploy-role-arn", "", *ROLE, lambda known: ""),
]

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


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def aligned(indent: str, **values: "str | None") -> str:
    """The attributes that have a value, formatted as by terraform fmt."""
    width = max(len(name) for name, value in values.items() if value)
    return "\n".join(f"{indent}{name:{width}} = {value}" for name, value in values.items() if value)


def main_tf(known: dict) -> str:
    given = {flag.replace("-", "_"): quoted(text) for flag, text in known.items() if text}
    table = given["table_name"] if known["table-name"] != f"{known['name']}-connections" else None
    settings = aligned("  ", name=given["name"], region="local.environment.region", architecture="local.environment.architecture",
                       table_name=table, websocket_endpoint=given.get("endpoint"), permissions_boundary=given.get("permissions_boundary"))
    access = f"  # {OPEN}.\n  allow_anonymous = true"
    if "issuer" in given:
        tokens = aligned("    ", issuer=given["issuer"], audiences=f"[{given['audience']}]", jwks_url=given.get("jwks_url"),
                         session_claim=given["session_claim"] if known["session-claim"] != "session_id" else None)
        access = f"  auth = {{ issuers = [{{\n    # {MORE}\n{tokens}\n  }}] }}"
    backend = '  # The state is only in this folder: the hub can be changed from nowhere else.\n  backend "local" {\n    path = "terraform.tfstate"\n  }'
    if "state_bucket" in given:
        place = aligned("    ", bucket=given["state_bucket"], key=given["state_key"], region=given["state_region"], encrypt="true", use_lockfile="true")
        backend = f'  backend "s3" {{\n{place}\n\n    # The region may be newer than Terraform.\n    skip_region_validation = true\n  }}'
    return MAIN % {"environment": known["environment"], "backend": backend, "settings": settings, "access": access}


def ask(question: Question, default: "str | None") -> str:
    label = question.flag + (f" or {question.word}" if question.word else "") + ("" if default is None else f" [{default or question.absent}]")
    print(f"\n{question.explanation}", file=sys.stderr)
    while True:
        print(f"{label}: ", end="", file=sys.stderr, flush=True)
        line = os.fsdecode(sys.stdin.buffer.readline()) if sys.stdin else ""
        if not line:
            print(file=sys.stderr)
            raise EOFError
        text = line.strip() or default
        if text == "" or question.word and text == question.word:
            return ""
        if text and question.allows(text):
            return text
        print(f"  It {question.rule}." if text else "  This has no default.", file=sys.stderr)


def missing(known: dict) -> list[str]:
    """The flags that have no default and no value."""
    return [f"--{one.flag}" + (f" or --{one.word_flag}" if one.word else "") + (f" (with --{one.part_of})" if one.part_of else "")
            for one in QUESTIONS if known[one.flag] is None and one.default(known) is None and known.get(one.part_of) != ""]


def answer(known: dict, unattended: bool) -> None:
    """Fills in what no flag has set, by asking or by default."""
    if unattended and missing(known):
        die(f"not every answer has a default: pass {', '.join(missing(known))}")
    for question in QUESTIONS:
        if known[question.flag] is not None:
            continue
        default = "" if known.get(question.part_of) == "" else question.default(known)
        try:
            asked = question.explanation and not unattended and known.get(question.part_of) != ""
            known[question.flag] = ask(question, default) if asked else default
        except EOFError:
            die(f"there is no more input to read answers from: pass {', '.join([*missing(known), '--yes'])}")
        if default and not question.allows(known[question.flag]):
            die(f"--{question.flag} {question.rule}: its default is {json.dumps(default)}")


def write(folder: Path, files: dict) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete, so that an interrupt leaves nothing half written.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as work:
        draft = Path(work, folder.name)
        draft.mkdir()
        for name, text in files.items():
            Path(draft, name).write_text(text, encoding="utf-8")
        draft.rename(folder)


class Once(argparse.Action):
    """A flag that may be given once: argparse would silently take the second value."""

    def __call__(self, parser, namespace, value, flag=None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{flag} is given twice: more than one of it is for main.tf")
        setattr(namespace, self.dest, value)


def answers_by_flag() -> "tuple[dict, bool]":
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = lambda message: die(f"{message}: see --help")
    parser.add_argument("environment", metavar="NAME")
    parser.add_argument("--yes", action="store_true")
    for question in QUESTIONS:
        one_of = parser.add_mutually_exclusive_group()
        one_of.add_argument(f"--{question.flag}", dest=question.flag, action=Once)
        if question.word:
            one_of.add_argument(f"--{question.word_flag}", dest=question.word, action="store_true")
    known = vars(parser.parse_args())
    for question in QUESTIONS:
        given = known[question.flag]
        if given is not None and not question.allows(given):
            die(f"--{question.flag} {question.rule}, and is {json.dumps(given)}")
        if given is not None and question.part_of and not known[question.part_of]:
            die(f"--{question.flag} needs --{question.part_of}")
        if question.word and known.pop(question.word):
            known[question.flag] = ""
    return known, known.pop("yes")


def main() -> None:
    known, unattended = answers_by_flag()
    name = known["environment"]
    place = f"infra/environments/{name}"
    if not re.fullmatch("[a-z][a-z0-9-]{0,31}", name):
        die(f"an environment's name must be 1 to 32 lowercase letters, digits and hyphens and begin with a letter, and is {json.dumps(name)}")
    if name in ("local", "bootstrap"):
        die(f"the name {name} belongs to {'the local stack' if name == 'local' else 'infra/bootstrap'}: choose another")
    if os.path.lexists(ROOT / place):
        die(f"{place} exists and is not overwritten: edit its main.tf, or choose another name")
    state_by_default = unattended and known["state-bucket"] is None
    if state_by_default:
        known["state-bucket"] = ""
    answer(known, unattended)

    environment = {key: known[key.replace("_", "-")] or None for key in ("region", "architecture", "plan_role_arn", "deploy_role_arn")}
    lock = (ROOT / "infra/.terraform.lock.hcl").read_text(encoding="utf-8")
    write(ROOT / place, {"main.tf": main_tf(known), "environment.json": json.dumps(environment, indent=2) + "\n", ".terraform.lock.hcl": lock})
    if state_by_default:
        print(f"The state of {name} will be a local file, which only this folder knows. To move it to a bucket later, edit the backend\n"
              f"block of {place}/main.tf and run: terraform -chdir={place} init -migrate-state", file=sys.stderr)
    access = f"for tokens of {known['issuer']}" if known["issuer"] else OPEN
    print(f"{place} is written: the hub {known['name']} in {known['region']}, {access}. Next:\n  scripts/deploy.sh {name}\n  commit {place}: nothing in it is secret")


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        die(f"the environment cannot be written: {error}")
