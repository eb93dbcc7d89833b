"""Uses the module as other teams do, in the examples and in roots elsewhere, with a mocked provider.

    cd tests && python3 -m unittest test_module      (in the environment of terraform_setup, scripts/lib/common.sh)
"""

import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
INFRA = f"{ROOT}/infra"
ROOTS = f"{ROOT}/tests/module"

# What provider 6 deprecates of the resources in use, in formatted files: four spaces are inside a block.
DEPRECATED = {
    "aws_cloudwatch_event_rule": r"^  (is_enabled)\b",
    "aws_dynamodb_table": r"^    +(hash_key|range_key)\b",
    "aws_iam_role": r"^  (inline_policy|managed_policy_arns)\b",
    "aws_lambda_function": r"^  (replace_security_groups_on_destroy|replacement_security_group_ids)\b",
}
# An index's keys: provider 5.100 has no key_schema.
UNAVOIDABLE = {("aws_dynamodb_table", "hash_key"), ("aws_dynamodb_table", "range_key")}


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def terraform(folder: str, *arguments: str, codes: "tuple[int, ...]" = (0,)) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TF_DATA_DIR"}
    command = ["terraform", f"-chdir={folder}", *arguments]
    # Terraform may repeat a request that fails for minutes.
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in codes, f"terraform {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout if "-json" in arguments else done.stdout + done.stderr


def initialise(folder: str, root: str = "") -> None:
    """Makes the folder ready, with that root of tests/module as its configuration, and with the provider that the module is
    locked to: Terraform's cache of plugins serves what a lock file lists."""
    if root:
        write(f"{folder}/main.tf", read(f"{ROOTS}/{root}.tf").replace("INFRA", INFRA))
    shutil.copy(f"{INFRA}/.terraform.lock.hcl", folder)
    terraform(folder, "init", "-backend=false", "-input=false", "-no-color")


def tested(folder: str, test: str, code: int = 0) -> str:
    """What Terraform says of that test of tests/module."""
    mocks = read(f"{INFRA}/tests/mocks/aws.tfmock.hcl") + read(f"{ROOTS}/aws.tfmock.hcl")
    write(f"{folder}/mocks/aws.tfmock.hcl", mocks)
    write(f"{folder}/mocks-second/aws.tfmock.hcl", mocks.replace("eu-west-1", "us-east-1"))
    write(f"{folder}/tests/root.tftest.hcl", read(f"{ROOTS}/{test}.tftest.hcl"))
    return terraform(folder, "test", "-no-color", codes=(code,))


class Module(unittest.TestCase):
    def setUp(self) -> None:
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = work.name

    def plans_and_applies(self, folder: str, test: str) -> None:
        # No warning either: an argument that is deprecated is one.
        diagnostics = json.loads(terraform(folder, "validate", "-json", codes=(0, 1)))["diagnostics"]
        self.assertEqual([(one.get("address"), one["detail"]) for one in diagnostics], [])
        self.assertIn("Success! 2 passed, 0 failed.", tested(folder, test))

    def test_each_example_plans_and_applies_without_a_warning(self) -> None:
        for name in os.listdir(f"{INFRA}/examples"):
            with self.subTest(name):
                # A copy of its own, with the functions where scripts/build.sh would put them.
                shutil.copytree(INFRA, f"{self.work}/{name}/infra", ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "environments", "bootstrap"))
                shutil.copytree(f"{INFRA}/tests/fixtures", f"{self.work}/{name}/target/lambda")
                folder = f"{self.work}/{name}/infra/examples/{name}"
                initialise(folder)
                self.plans_and_applies(folder, name)

    def test_a_root_outside_of_the_repository_plans_and_applies(self) -> None:
        initialise(self.work, "stranger")
        self.plans_and_applies(self.work, "stranger")

    def test_a_hub_without_auth_or_allow_anonymous_is_refused(self) -> None:
        initialise(self.work, "silent")
        # Terraform frames its errors and breaks them into lines.
        said = " ".join(tested(self.work, "silent", code=1).replace("│", " ").split())
        self.assertIn("This hub has no authentication. Set auth, or allow_anonymous = true", said)

    def test_the_permissions_boundaries_allow_what_the_functions_do(self) -> None:
        """One that lacks an action of a function would let everything be applied, and the function fail."""
        lists = re.findall(r"actions\s*=\s*\[([^\]]*)\]", read(f"{INFRA}/functions.tf") + read(f"{INFRA}/modules/function/main.tf"))
        granted = set(re.findall(r'"([^"]+)"', " ".join(lists)))
        assert len(granted) > 10, granted
        for where in ("examples/existing-root/main.tf", "bootstrap/boundary.tf"):
            policy = read(f"{INFRA}/{where}").split('resource "aws_iam_policy" "boundary"')[1]
            allowed = [re.escape(action).replace(r"\*", ".*") for action in re.findall(r'"([a-z0-9-]+:[A-Z*][A-Za-z*]*)"', policy)]
            missing = [action for action in sorted(granted) if not any(re.fullmatch(pattern, action) for pattern in allowed)]
            assert not missing, f"the permissions boundary in infra/{where} leaves out {missing} of {len(granted)} actions"

    def test_no_provider_no_data_source_and_nothing_deprecated(self) -> None:
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


if __name__ == "__main__":
    unittest.main()
