#!/usr/bin/env bash
# Runs a command with one AWS provider for all its runs of Terraform.
#
#   tests/attached.sh DATA COMMAND...      (DATA is the folder that `terraform init` has made, .terraform or TF_DATA_DIR)

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"
# shellcheck source=scripts/lib/test/provider.sh
. "$ROOT/scripts/lib/test/provider.sh"

work=$(mktemp -d)
provider=
# shellcheck disable=SC2329 # Called by the trap.
tidy() {
  [ -z "$provider" ] || kill "$provider"
  rm -rf "$work"
}
on_exit tidy
start_provider "$work" "$1" cd "$PWD"
TF_REATTACH_PROVIDERS=$(cat "$work/address")
export TF_REATTACH_PROVIDERS
run "${@:2}"
