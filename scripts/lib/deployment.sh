# shellcheck shell=bash
# What the scripts that work on AWS share: how they run Terraform, and what they know of an environment. Sourced, never run.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# need_aws ALLOWED: refuses an endpoint other than AWS unless --allow-endpoint has set ALLOWED.
need_aws() {
  [ -z "${AWS_ENDPOINT_URL:-}" ] || [ -n "$1" ] \
    || die "AWS_ENDPOINT_URL is $AWS_ENDPOINT_URL, which is not AWS: unset it, or pass --allow-endpoint"
}

tf() { run terraform -chdir="$INFRA" "$@"; }

# open_environment NAME: initialises Terraform for infra/environments/NAME, sets INFRA to that folder, and makes its region the
# default of every tool. Other files go into the folder `work`, which is removed when the script ends.
open_environment() {
  local known
  work=$(mktemp -d)
  on_exit "rm -rf $work"
  INFRA=$ROOT/infra/environments/$1
  known=$(cd "$ROOT/infra/environments" && printf '%s\n' */ | sed 's|/$||; /^local$/d' | xargs)
  [ "$1" != local ] || die "the environment local belongs to the local stack: scripts/local.sh up applies it, scripts/local.sh down removes it"
  [[ $1 =~ ^[a-z][a-z0-9-]*$ ]] && [ -f "$INFRA/main.tf" ] && [ -f "$INFRA/environment.json" ] \
    || die "there is no environment $1 (there is ${known:-none}): scripts/new-environment.sh $1 makes one"
  AWS_REGION=$(setting region) || exit
  export AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION
  # Only the environment's folder counts: a setting of the user's must not choose another state or workspace, or add -destroy.
  unset TF_DATA_DIR TF_CLI_ARGS TF_CLI_ARGS_plan TF_CLI_ARGS_apply TF_CLI_ARGS_show TF_CLI_ARGS_output
  export TF_WORKSPACE=default
  [ -t 2 ] || export TF_CLI_ARGS_apply=-no-color
  terraform_setup
  tf init -input=false -lockfile=readonly >"$work/init.log" 2>&1 || {
    cat "$work/init.log" >&2
    die "terraform init failed: see above"
  }
}

# shown LOG COMMAND...: copies the command's output to stderr and to LOG. To be called by run: tee must survive an interrupt, or
# Terraform would die of a broken pipe while it finishes.
shown() {
  "${@:2}" 2>&1 | tee -i "$1" >&2
  return "${PIPESTATUS[0]}"
}

# lock_hint LOG: prints what to do about a lock that a cancelled run has left, if that is why Terraform failed.
lock_hint() {
  ! grep -q 'state lock' "$1" \
    || say "If nothing else is deploying, a cancelled run has left the lock: terraform -chdir=${INFRA#"$ROOT"/} force-unlock ID removes it (the ID is above)"
}

# plan_failed OUTCOME: prints plan.log and ends the script.
plan_failed() {
  cat "$work/plan.log" >&2
  lock_hint "$work/plan.log"
  die "terraform plan failed: see above; $1"
}

# setting KEY: prints a value of the environment's environment.json.
setting() {
  python3 -c '
import json, sys
path, key = sys.argv[1:]
try:
    print(json.load(open(path))[key])
except (ValueError, KeyError) as error:
    sys.exit(f"{path} has no {key}, or is not JSON: {error}")' "$INFRA/environment.json" "$1"
}

# read_hub: writes the outputs of the environment's hub to hub.json in `work`.
read_hub() {
  terraform -chdir="$INFRA" output -json >"$work/outputs.json" || die "Terraform's outputs cannot be read: see above"
  python3 -c '
import json, sys
hub = json.load(sys.stdin).get("hub")
if not hub:
    sys.exit("this environment has no hub yet: scripts/deploy.sh makes it")
json.dump(hub["value"], sys.stdout)' <"$work/outputs.json" >"$work/hub.json"
}

# hub EXPRESSION: prints the value of a Python expression on `hub`, the outputs that read_hub has read.
hub() { python3 -c 'import json, sys; hub = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/hub.json" "$1"; }
