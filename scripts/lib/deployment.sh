# shellcheck shell=bash
# What the scripts that work on AWS share: how they ask and run Terraform, and what they know of an environment. Sourced, never run.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The flags that several scripts have.
yes='' allow_endpoint=''

# need_aws: refuses an endpoint other than AWS, unless --allow-endpoint is given.
need_aws() {
  [ -z "${AWS_ENDPOINT_URL:-}" ] || [ -n "$allow_endpoint" ] \
    || die "AWS_ENDPOINT_URL is $AWS_ENDPOINT_URL, which is not AWS: unset it, or pass --allow-endpoint"
  need_python
}

# need_terminal: for scripts that will ask, before they begin.
need_terminal() { [ -n "$yes" ] || [ -t 0 ] || die "there is no terminal to ask on: pass --yes to go on without asking"; }

# confirm QUESTION: ends the script unless the answer is yes, or --yes is given.
confirm() {
  local answer=''
  [ -z "$yes" ] || return 0
  read -r -p "$1" answer || true
  [ "$answer" = yes ] || die "the answer is not yes: nothing is changed"
}

tf() { run terraform -chdir="$INFRA" "$@"; }

# prepare_terraform: makes the folder `work`, which is removed when the script ends. A setting of the user's must not choose
# another state or workspace, or add -destroy.
prepare_terraform() {
  work=$(mktemp -d)
  on_exit "rm -rf $work"
  unset TF_DATA_DIR TF_CLI_ARGS TF_CLI_ARGS_plan TF_CLI_ARGS_apply TF_CLI_ARGS_show TF_CLI_ARGS_output
  export TF_WORKSPACE=default
  [ -t 2 ] || export TF_CLI_ARGS_plan=-no-color TF_CLI_ARGS_apply=-no-color
  terraform_setup
}

# Pairs: a text that Terraform may fail with, and what to do about it.
hints=('plan is stale' "not applied, nothing has changed: another apply came between: re-run all jobs, or make a new plan by hand")

# failed WHAT: explains what Terraform wrote to log, and ends the script.
failed() {
  local n advice='; run this again once the cause is gone'
  for ((n = 0; n < ${#hints[@]}; n += 2)); do
    ! grep -q "${hints[n]}" "$work/log" || { say "${hints[n + 1]}" && advice=''; }
  done
  die "terraform $1 failed: see above$advice"
}

# quietly COMMAND ARGUMENT...: runs Terraform, and shows what it says only if it fails. 2 is the exit code of a plan with changes.
quietly() {
  local rc=0
  tf "$@" >"$work/log" 2>&1 || rc=$?
  [[ $rc == [02] ]] || { cat "$work/log" >&2 && failed "$1"; }
  return "$rc"
}

# copied COMMAND...: copies its output to stderr and to log. To be called by run: tee must survive an interrupt, or Terraform would
# die of a broken pipe while it finishes.
copied() {
  "$@" 2>&1 | tee -i "$work/log" >&2
  return "${PIPESTATUS[0]}"
}

apply_plan() { run copied terraform -chdir="$INFRA" apply -input=false "$work/plan" || failed apply; }

# open_environment NAME: initialises Terraform for infra/environments/NAME, sets INFRA to that folder, and makes its region the
# default of every tool.
open_environment() {
  local known
  INFRA=$ROOT/infra/environments/$1
  known=$(cd "$ROOT/infra/environments" && printf '%s\n' */ | sed 's|/$||; /^local$/d' | xargs)
  [ "$1" != local ] || die "the environment local belongs to the local stack: scripts/local.sh up applies it, scripts/local.sh down removes it"
  [[ $1 =~ ^[a-z][a-z0-9-]*$ ]] && [ -f "$INFRA/main.tf" ] && [ -f "$INFRA/environment.json" ] \
    || die "there is no environment $1 (there is ${known:-none}): scripts/new-environment.sh $1 makes one"
  AWS_REGION=$(setting region) || exit
  export AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION
  hints+=('acquiring the state lock' "If nothing else is deploying, a cancelled run has left the lock: terraform -chdir=infra/environments/$1 force-unlock ID removes it (the ID is above)")
  prepare_terraform
  quietly init -input=false -lockfile=readonly
}

# value FILE EXPRESSION: prints the value of a Python expression on `it`, the content of a JSON file.
value() {
  python3 -c '
import json, sys
path, expression = sys.argv[1:]
try:
    it = json.load(open(path))
    print(eval(expression))
except (ValueError, KeyError) as error:
    sys.exit(f"{path} is not JSON, or lacks a key: {error}")' "$@"
}

# setting KEY: prints a value of the environment's environment.json.
setting() { value "$INFRA/environment.json" "it['$1']"; }

# read_hub: writes the outputs of the environment's hub to hub.json in `work`.
read_hub() {
  terraform -chdir="$INFRA" output -json >"$work/outputs.json" || die "Terraform's outputs cannot be read: see above"
  value "$work/outputs.json" 'json.dumps(it["hub"]["value"])' >"$work/hub.json" 2>/dev/null \
    || die "this environment has no hub yet: scripts/deploy.sh makes it"
}

# hub EXPRESSION: prints the value of a Python expression on `it`, the outputs that read_hub has read.
hub() { value "$work/hub.json" "$1"; }
