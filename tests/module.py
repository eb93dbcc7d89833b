"""Uses the hub's module as other teams do: the examples and roots elsewhere, with the provider mocked; `live`, on the local stack.

    module.py         (in the environment of terraform_setup, scripts/lib/common.sh)
    module.py live    (in the environment of scripts/local.sh env)
"""

import contextlib
import functools
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import botocore.session

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, f"{ROOT}/scripts/lib")
from removal import resources  # noqa: E402
INFRA = f"{ROOT}/infra"
FIXTURES = f"{INFRA}/tests/fixtures"

# In what follows, INFRA and the other words in capitals are replaced.
REQUIREMENTS = """
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
"""

STRANGER = """
provider "aws" {
  region = "eu-west-1"
}
provider "aws" {
  alias  = "second"
  region = "us-east-1"
}
resource "aws_sns_topic" "alarms" {
  name = "alarms"
}
module "each" {
  source          = "INFRA"
  for_each        = toset(["blue", "green"])
  name            = each.key
  region          = "eu-west-1"
  artifacts_dir   = "FIXTURES"
  allow_anonymous = true
  observability   = false
}
module "counted" {
  source          = "INFRA"
  count           = 2
  name            = "counted-${count.index}"
  region          = "eu-west-1"
  artifacts_dir   = "FIXTURES"
  allow_anonymous = true
  observability   = false
}
module "after" {
  source           = "INFRA"
  region           = "eu-west-1"
  artifacts_dir    = "FIXTURES"
  allow_anonymous  = true
  history_seconds  = 300
  alarm_topic_arns = [aws_sns_topic.alarms.arn]
  depends_on       = [aws_sns_topic.alarms]
}
module "second" {
  source          = "INFRA"
  providers       = { aws = aws.second }
  region          = "us-east-1"
  artifacts_dir   = "FIXTURES"
  allow_anonymous = true
  observability   = false
  subscriptions   = false
}
"""

SILENT = """
provider "aws" {
  region = "eu-west-1"
}
module "hub" {
  source        = "INFRA"
  region        = "eu-west-1"
  artifacts_dir = "FIXTURES"
}
"""

LIVE = """
variable "revision" {
  type    = string
  default = "1"
}
provider "aws" {}
resource "aws_sns_topic" "alarms" {
  name = "HUB-alarms"
  tags = { revision = var.revision }
}
resource "terraform_data" "before" {
  triggers_replace = var.revision
}
module "hub" {
  source           = "INFRA"
  name             = "HUB"
  region           = "REGION"
  architecture     = jsondecode(file("ARTIFACTS/release.json")).architecture
  artifacts_dir    = "ARTIFACTS"
  alarm_topic_arns = [aws_sns_topic.alarms.arn]
  auth             = { issuers = [{ issuer = "ISSUER", audiences = ["hub"] }] }
  history_seconds  = 300
  # Of two recipients, deliver has one.
  fanout           = { split = 1 }
  tags             = TAGS
  depends_on       = [aws_sns_topic.alarms, terraform_data.before]
}
output "hub" {
  value = module.hub
}
"""

MOCKED = """
mock_provider "aws" {
  source = "./mocks"
}
run "planned" {
  command = plan
}
"""

MOCKED_TWICE = MOCKED + """
mock_provider "aws" {
  alias  = "second"
  source = "./mocks-second"
}
"""

STRANGER_TEST = MOCKED_TWICE + """
run "applied" {
  assert {
    condition     = [for name in ["blue", "green"] : module.each[name].function_names.connect] == ["blue-connect", "green-connect"]
    error_message = "for_each makes other hubs"
  }
  assert {
    condition     = module.counted[*].table_name == ["counted-0-connections", "counted-1-connections"]
    error_message = "count makes other hubs"
  }
  assert {
    condition     = module.after.websocket_url == "wss://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
    error_message = "depends_on makes another hub"
  }
  assert {
    condition     = module.after.messages_table_name == "websocket-hub-messages" && module.second.messages_table_name == null
    error_message = "not exactly the hub that asks for it has a history"
  }
  assert {
    condition     = module.after.subscriptions_table_name == "websocket-hub-subscriptions" && module.second.subscriptions_table_name == null
    error_message = "not exactly the hub that does without has no subscriptions"
  }
  assert {
    condition     = module.second.websocket_url == "wss://a1b2c3.execute-api.us-east-1.amazonaws.com/live"
    error_message = "the second provider makes no hub in its region"
  }
}
"""

EXAMPLE_TESTS = {
    "minimal": MOCKED + """
run "applied" {
  assert {
    condition     = output.websocket_url == "wss://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
    error_message = "the address is not the API's"
  }
}
""",
    "existing-root": MOCKED_TWICE + """
variables {
  zone_id = "Z0123456789"
}
run "applied" {
  assert {
    condition     = output.websocket_urls == { eu-west-1 = "wss://chat.example.com", us-east-1 = "wss://a1b2c3.execute-api.us-east-1.amazonaws.com/live" }
    error_message = "the addresses are not the domain and the second region's API"
  }
  assert {
    condition     = one(aws_route53_record.hub.alias) == { name = "d-1.execute-api.eu-west-1.amazonaws.com", zone_id = "Z1", evaluate_target_health = false }
    error_message = "the record does not point to the domain"
  }
  assert {
    condition     = !module.hub.open_to_everyone && module.second_hub.open_to_everyone
    error_message = "one hub asks for tokens, the other one is open"
  }
}
""",
}

KEYS = "https://keys.example.com/"
CLAIMS = [f"{name}_claim" for name in ("audience", "session", "send", "subscribe")]
# What a refusal says, the setting that it names, and what an issuer has that is refused so.
REFUSED_ISSUERS = [
    *(("must be exactly the iss of the tokens", ".issuer", {"issuer": text, "jwks_url": KEYS}) for text in
      (None, "", " ", "my-app ", "\n", "\u00a0my-app", "my\u0085app", "my\u0007app")),
    ("must be exactly the iss of the tokens", ".issuer", {"issuer": " https://login.example.com/"}),
    *(("set jwks_url, because the keys cannot be discovered from this issuer", "", {"issuer": text}) for text in
      ("accounts.example.com", "urn:a", "https://", "https:///a", "https://:443/", "HTTPS://a", "https://a b/", "https://a?", "https://a/?b", "https://a/#", "https://u@a/",
       "https://u:p@a/", "https://a:x/", "https://a:65536/", "https://{tenant}.example.com/", "https://a/<tenant>/v2.0", "https://b\u00fccher.example/", "http://a", "http://127.0.0.1.example.com", "http://127.0.0.10/", "http://localhost:1@a/", "http://169.254.169.254/")),
    *(("must be an https:// URL without a fragment, user or placeholder", ".jwks_url", {"jwks_url": text}) for text in
      ("", "keys", "http://a/", "https://", "https:///a", "https://u@a/", "https://a:1@b/", "https://a:0/", "https://a/{tenant}", 'https://a?"', "https://a/#b", "https://a/ b", "https://a/\u0007")),
    *(("must be a list of at least one audience", ".audiences", {"audiences": some}) for some in (None, [], [""], ["chat", " "], [None])),
    *(("must not be empty: write the name of a claim", f".{name}", {name: text}) for name in CLAIMS for text in ("", " \t")),
    *(("must be a valid JSON pointer", f".{name}", {name: text}) for name in CLAIMS for text in ("/~", "/a~b", "/a/~2", "/~0~", "/a\n~")),
]  # fmt: skip
ACCEPTED_ISSUERS = [
    *({"issuer": text} for text in ("https://a", "https://a/", "https://a:65535/b/v2.0/", "https://a/b@c", "http://localhost", "http://127.0.0.1:8081/mobile")),
    *({"issuer": text, "jwks_url": KEYS} for text in ("a", "my app", "my-app", "http://a/", "https://a?b#c", "https://login.example.com/é")),
    *({"jwks_url": text} for text in ("https://a", "https://a?b=c@d", "http://localhost:1/a", f"{KEYS}a/b@c.example.com")),
    *({name: text} for name in CLAIMS for text in (None, "a", "a~", "https://a/~b", "/", "/a/b", "/~0/~1~01")),
    {"patterns": True, "jwks_url": KEYS, "audiences": ["chat", "chat-mobile"]},
    {"patterns": None, "jwks_url": None},
]

# What the module's own mocks lack: what only the examples make.
MOCKS = """
mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000" }
}
mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:chat-alarms" }
}
mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/chat-boundary" }
}
mock_resource "aws_cognito_user_pool" {
  defaults = { id = "eu-west-1_AbCdEfGhI" }
}
mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b2c3d-0000-4000-8000-000000000000"
    domain_validation_options = [{
      domain_name           = "chat.example.com"
      resource_record_name  = "_1.chat.example.com"
      resource_record_type  = "CNAME"
      resource_record_value = "_2.acm-validations.aws"
    }]
  }
}
mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}
"""

# What provider 6 deprecates of the resources in use, in formatted files: four spaces are inside a block.
DEPRECATED = {
    "aws_cloudwatch_event_rule": r"^  (is_enabled)\b",
    "aws_dynamodb_table": r"^    +(hash_key|range_key)\b",
    "aws_iam_role": r"^  (inline_policy|managed_policy_arns)\b",
    "aws_lambda_function": r"^  (replace_security_groups_on_destroy|replacement_security_group_ids)\b",
}
# An index's keys: provider 5.100 has no key_schema.
UNAVOIDABLE = {("aws_dynamodb_table", "hash_key"), ("aws_dynamodb_table", "range_key")}


def write(path: str, text: str, **words: str) -> None:
    for word, value in {"INFRA": INFRA, "FIXTURES": FIXTURES, **words}.items():
        text = text.replace(word, value)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def terraform(folder: str, *arguments: str, codes: "tuple[int, ...]" = (0,)) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TF_DATA_DIR"}
    command = ["terraform", f"-chdir={folder}", *arguments]
    # What cannot be replaced may be tried again for minutes.
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in codes, f"terraform {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout if "-json" in arguments else done.stdout + done.stderr


def initialise(folder: str) -> None:
    """Takes the provider that the module is locked to: from Terraform's cache of plugins, which serves what a lock file lists."""
    shutil.copy(f"{INFRA}/.terraform.lock.hcl", folder)
    terraform(folder, "init", "-backend=false", "-input=false", "-no-color")


def write_test(folder: str, test: str) -> None:
    mocks = read(f"{INFRA}/tests/mocks/aws.tfmock.hcl") + MOCKS
    write(f"{folder}/mocks/aws.tfmock.hcl", mocks)
    write(f"{folder}/mocks-second/aws.tfmock.hcl", mocks.replace("eu-west-1", "us-east-1"))
    write(f"{folder}/tests/root.tftest.hcl", test)


def plans_and_applies(folder: str, test: str) -> None:
    initialise(folder)
    # No warning either: an argument that is deprecated is one.
    said = [f"{one.get('address')}: {one['detail']}" for one in json.loads(terraform(folder, "validate", "-json", codes=(0, 1)))["diagnostics"]]
    assert not said, "\n".join(said)
    write_test(folder, test)
    said = terraform(folder, "test", "-no-color", codes=(0, 1))
    assert "Success! 2 passed, 0 failed." in said, said


def example(name: str, work: str) -> str:
    # A copy of its own, with the functions where scripts/build.sh would put them.
    shutil.copytree(INFRA, f"{work}/{name}/infra", ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "environments", "bootstrap"))
    shutil.copytree(FIXTURES, f"{work}/{name}/target/lambda")
    plans_and_applies(f"{work}/{name}/infra/examples/{name}", EXAMPLE_TESTS[name])
    return f"infra/examples/{name} is valid, plans and applies"


def every_example_is_tested(work: str) -> str:
    assert sorted(EXAMPLE_TESTS) == sorted(os.listdir(f"{INFRA}/examples")), "EXAMPLE_TESTS does not list what is in infra/examples"
    return f"{len(EXAMPLE_TESTS)} examples"


def stranger(work: str) -> str:
    write(f"{work}/stranger/main.tf", REQUIREMENTS + STRANGER)
    plans_and_applies(f"{work}/stranger", STRANGER_TEST)
    return "a root elsewhere, with for_each, count, depends_on and a second provider, is valid, plans and applies"


def silent(work: str) -> str:
    write(f"{work}/silent/main.tf", REQUIREMENTS + SILENT)
    initialise(f"{work}/silent")
    write_test(f"{work}/silent", MOCKED)
    # It comes in a frame, broken into lines.
    said = " ".join(terraform(f"{work}/silent", "test", "-no-color", codes=(1,)).replace("│", " ").split())
    assert "This hub has no authentication. Set auth, or allow_anonymous = true" in said, said
    return "a hub without auth that does not say allow_anonymous is refused"


def documented() -> list:
    """The blocks of docs/identity-providers.md, which are HCL whose values are JSON: one for each issuer, of which one has two."""
    blocks = re.findall(r"^```hcl\n\{\n(.*?)^\}$", read(f"{ROOT}/docs/identity-providers.md"), re.M | re.S)
    settings = ({name.strip(): json.loads(value) for name, _, value in (line.partition("=") for line in block.splitlines())} for block in blocks)
    return list({one["issuer"]: one for one in settings}.values())


def issuers(work: str) -> str:
    """All at once: a refusal must name each issuer that breaks its rule, and no other."""
    of_providers = documented()
    assert len(of_providers) == 10, of_providers
    accepted = ACCEPTED_ISSUERS + of_providers
    some = [("", "", one) for one in accepted] + REFUSED_ISSUERS
    entries = [{"issuer": f"https://login.example.com/{index}", "audiences": ["chat"], **one} for index, (_, _, one) in enumerate(some)]
    entries += [{"issuer": "https://a", "audiences": ["chat-mobile"]}]
    # The variables by themselves need no provider.
    write(f"{work}/issuers/variables.tf", read(f"{INFRA}/variables_access.tf"))
    write(f"{work}/issuers/terraform.tfvars.json", json.dumps({"auth": {"issuers": entries}}))
    lines = terraform(f"{work}/issuers", "plan", "-json", "-input=false", codes=(1,)).splitlines()
    said = [line["diagnostic"]["detail"] for line in map(json.loads, lines) if "diagnostic" in line]

    def of(reason: str) -> str:
        texts = [text for text in said if reason in text]
        assert len(texts) == 1, f"'{reason}' is said {len(texts)} times: {said}"
        return texts[0]

    reasons = {reason for reason, _, _ in REFUSED_ISSUERS}
    for reason in reasons:
        expected = {f"auth.issuers[{index}]{setting}" for index, (why, setting, _) in enumerate(some) if why == reason}
        named = set(re.findall(r"auth\.issuers\[[0-9]+\](?:\.[a-z_]+)?", of(reason)))
        assert named == expected, f"'{reason}' is also said of {sorted(named - expected)}, and not of {sorted(expected - named)}"
    assert 'more than once: "https://a".' in of("auth.issuers must be distinct"), said
    defaults = {"audience_claim": "aud", "session_claim": "session_id", "send_claim": "send_to", "subscribe_claim": "subscribe_to", "patterns": False}
    nothing = {"issuer": None, "audiences": None, "jwks_url": None}
    whole = [nothing | defaults | {name: value for name, value in entry.items() if value is not None} for entry in entries]
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
    # As jsonencode has them.
    size = len(re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", text).encode())
    assert f"takes {size} bytes" in of("bytes as JSON"), f"{size}: {said}"
    assert len(said) == len(reasons) + 2, said
    return f"{len(accepted)} issuers are accepted, those of the document among them, and {len(REFUSED_ISSUERS)} are refused by name"


def boundary(work: str) -> str:
    """One that lacks an action of a function would let everything be applied, and the function fail."""
    lists = re.findall(r"actions\s*=\s*\[([^\]]*)\]", read(f"{INFRA}/main.tf") + read(f"{INFRA}/modules/function/main.tf"))
    granted = set(re.findall(r'"([^"]+)"', " ".join(lists)))
    assert len(granted) > 10, granted
    for where in ("examples/existing-root/main.tf", "bootstrap/boundary.tf"):
        policy = read(f"{INFRA}/{where}").split('resource "aws_iam_policy" "boundary"')[1]
        allowed = [re.escape(action).replace(r"\*", ".*") for action in re.findall(r'"([a-z0-9-]+:[A-Z*][A-Za-z*]*)"', policy)]
        missing = [action for action in sorted(granted) if not any(re.fullmatch(pattern, action) for pattern in allowed)]
        assert not missing, f"the permissions boundary in infra/{where} leaves out {missing} of {len(granted)} actions"
    return f"the permissions boundaries of bootstrap and of the example allow the {len(granted)} actions of the functions"


def configuration(work: str) -> str:
    found = set()
    files = [*glob.glob(f"{INFRA}/*.tf"), *glob.glob(f"{INFRA}/modules/*/*.tf")]
    for path in files:
        text, where = read(path), os.path.relpath(path, ROOT)
        assert not re.search(r'^\s*provider\s*"', text, re.M), f"{where} configures a provider: the module could have neither count, for_each nor depends_on"
        assert not re.search(r'^\s*data\s*"', text, re.M), f"{where} has a data source: with depends_on, whatever is made from it would be unknown at plan"
        for kind, body in re.findall(r'^resource "(\w+)" [^\n]*\n(.*?)^\}', text, re.M | re.S):
            found.update((kind, argument) for argument in re.findall(DEPRECATED.get(kind, r"(?!)"), body, re.M))
    assert len(files) > 15, f"{INFRA} has {len(files)} files: is the module elsewhere now?"
    assert found == UNAVOIDABLE, f"deprecated in provider 6: {found - UNAVOIDABLE}; no longer used, so remove from UNAVOIDABLE: {UNAVOIDABLE - found}"
    return f"{len(files)} files: no provider, no data source, and nothing deprecated but what provider 5.100 has no other form of"


def offline() -> None:
    failed = False
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(2) as pool:
        examples = [functools.partial(example, name) for name in sorted(EXAMPLE_TESTS)]
        checks = [stranger, *examples, silent, issuers, every_example_is_tested, configuration, boundary]
        for running in [pool.submit(check, work) for check in checks]:
            try:
                print(f"ok: {running.result()}", flush=True)
            except Exception as error:  # Each is told, and the others run.
                failed = True
                print(f"FAILED: {error or repr(error)}", flush=True)
    sys.exit(failed)


@contextlib.contextmanager
def tokens() -> "Iterator[tuple[str, Callable[[str], str]]]":
    """An issuer's address, and what makes a token of it for a session: the local stack's own, on a port of its own."""

    def script(name: str, *arguments: str) -> "list[str]":
        return [sys.executable, f"{ROOT}/scripts/lib/{name}.py", *arguments]

    def said(command: "list[str]") -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with tempfile.TemporaryDirectory() as folder:
        key, port = f"{folder}/key", said(script("stack", "port", "8082"))
        address = f"http://127.0.0.1:{port}"
        with subprocess.Popen(script("issuer", "serve", key, port), stderr=subprocess.DEVNULL) as process:
            try:
                for _ in range(100):
                    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/keys"):
                        break
                    time.sleep(0.1)
                yield address, lambda session: said(script("issuer", "token", key, address, "--session", session))
            finally:
                process.terminate()


def live() -> None:
    assert os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"), 'this is not the local stack\'s environment: eval "$(scripts/local.sh env)"'
    hub = f"module{os.getpid()}"
    # The emulator takes the API's id from the first.
    tags = {"ms-custom-id": hub, "team": "strangers"}
    with tempfile.TemporaryDirectory() as folder, tokens() as (issuer, token):
        words = {"HUB": hub, "REGION": os.environ["AWS_REGION"], "ARTIFACTS": f"{ROOT}/target/lambda-local", "ISSUER": issuer, "TAGS": json.dumps(tags)}
        write(f"{folder}/main.tf", REQUIREMENTS + LIVE, **words)
        initialise(folder)
        try:
            applied(folder, tags, token)
        finally:
            terraform(folder, "destroy", "-auto-approve", "-input=false", "-no-color")
    print("ok: destroyed")


def deliver_has_a_part(groups: "dict[str, str]", since: int) -> bool:
    """A message arrives without deliver too: whether it had a part is in the logs."""
    logs = botocore.session.get_session().create_client("logs")

    def said(function: str, message: str) -> bool:
        events = logs.filter_log_events(logGroupName=groups[function], startTime=since)["events"]
        return any(f'"message":"{message}"' in event["message"] for event in events)

    for _ in range(100):
        if said("deliver", "delivered") or said("send-message", "hand-overs failed"):
            break
        time.sleep(0.1)
    return said("deliver", "delivered")


def applied(folder: str, tags: "dict[str, str]", token: "Callable[[str], str]") -> None:
    def apply(*arguments: str) -> None:
        terraform(folder, "apply", "-auto-approve", "-input=false", "-no-color", *arguments)

    def works() -> None:
        hub = json.loads(terraform(folder, "output", "-json", "hub"))
        address, began = hub["websocket_url"], int(time.time() * 1000)
        assert tags["ms-custom-id"] in address, address
        done = subprocess.run(
            [f"{ROOT}/scripts/smoke.sh", address, "--asks-for-token"],
            env={**os.environ, "HUB_TOKEN": token("auth0|smoke+test"), "HUB_SESSION": "auth0|smoke+test"}, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, f"scripts/smoke.sh: {done.stdout}{done.stderr}"
        assert deliver_has_a_part(hub["log_group_names"], began), "send-message could hand out nothing, and delivered by itself"

    apply()
    works()
    print("ok: applied, and the smoke test passes")

    state = json.loads(terraform(folder, "show", "-json"))["values"]
    own = [one for one in resources(state) if one["address"].startswith("module.")]
    tagged = [one for one in own if "tags" in one["values"]]
    expected = {**tags, "websocket-hub": tags["ms-custom-id"]}
    wrong = {one["address"]: one["values"]["tags"] for one in tagged if one["values"]["tags"] != expected}
    assert len(tagged) > 20 and not wrong, f"other tags than {expected}: {wrong}"
    print(f"ok: the {len(tagged)} of {len(own)} resources that can carry tags carry those given, and the hub's name")

    terraform(folder, "plan", "-var=revision=2", "-out=changed", "-input=false", "-no-color")
    plan = json.loads(terraform(folder, "show", "-json", "changed"))
    changes = {change["address"]: change["change"]["actions"] for change in plan["resource_changes"]}
    inside = {address: actions for address, actions in changes.items() if address.startswith("module.")}
    outside = {address: actions for address, actions in changes.items() if address not in inside}
    # Terraform makes the second before it destroys it, since the module's deployment, which depends on it, is made so.
    assert outside == {"aws_sns_topic.alarms": ["update"], "terraform_data.before": ["create", "delete"]}, outside
    touched = {address: actions for address, actions in inside.items() if actions != ["no-op"]}
    assert len(inside) == len(own) and not touched, f"a change in what the module depends on changes the module: {touched}"
    apply("changed")
    print(f"ok: what the module depends on changes, and none of its {len(inside)} resources")

    for address in (
        'module.function["connect"].aws_lambda_function.this',
        'module.function["authorizer"].aws_lambda_function.this',
        'module.function["deliver"].aws_lambda_function.this',
        "module.connections_table.aws_dynamodb_table.this",
        "module.messages_table[0].aws_dynamodb_table.this",
        "module.subscriptions_table[0].aws_dynamodb_table.this",
        'module.websocket_api.aws_apigatewayv2_authorizer.this["$connect"]',
    ):
        apply("-var=revision=2", f"-replace=module.hub.{address}")
        works()
        # 2 is for a plan that is not empty.
        terraform(folder, "plan", "-var=revision=2", "-detailed-exitcode", "-input=false", "-no-color")
        print(f"ok: {address} replaced, the smoke test passes, the next plan is empty")


if __name__ == "__main__":
    {"offline": offline, "live": live}[sys.argv[1] if len(sys.argv) > 1 else "offline"]()
