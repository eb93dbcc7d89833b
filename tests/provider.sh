#!/usr/bin/env bash
# Validates and tests the Terraform with another version of the AWS provider than the locked one.
#
#   tests/provider.sh <constraint>      (such as '~> 6.0')

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"

constraint=${1:?name a constraint, such as '~> 6.0'}
work=$(mktemp -d)
on_exit "rm -rf $work"
terraform_setup
copy_tree "$work" ./infra
find "$work/infra" -name .terraform.lock.hcl -delete

for root in infra infra/bootstrap infra/examples/minimal infra/examples/existing-root; do
  folder=$work/$root
  export TF_DATA_DIR=$work/data
  rm -rf "$TF_DATA_DIR"
  cat >"$folder/provider_override.tf" <<OVERRIDE
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "$constraint"
    }
  }
}
OVERRIDE
  say "--- $root"
  run terraform -chdir="$folder" init -backend=false -input=false -no-color >"$work/log" 2>&1 || { cat "$work/log" >&2 && die "there is no provider $constraint for $root: see above"; }
  sed -n '/provider "/,/version/{s/^ *version *= */with hashicorp\/aws /p;}' "$folder/.terraform.lock.hcl" >&2
  run terraform -chdir="$folder" validate -no-color >&2
  [ ! -d "$folder/tests" ] || run terraform -chdir="$folder" test -no-color >&2
done
