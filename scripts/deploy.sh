#!/usr/bin/env bash
# Builds the hub and deploys it to AWS: plans, says what changes, asks, applies, tries it over real sockets, and prints
# the WebSocket address.
#
#   scripts/deploy.sh [--yes | --plan] [--artifacts DIR] [--state BUCKET/KEY] [--allow-endpoint] [terraform plan arguments]
#
#   --yes             do not ask: for pipelines
#   --plan            only print what would change, and change nothing
#   --artifacts       deploy what lies there, as scripts/build.sh has left it, and build nothing
#   --state           keep Terraform's state in that bucket (infra/bootstrap makes one), and not where infra/ says
#   --allow-endpoint  deploy to AWS_ENDPOINT_URL; without this, an environment that has it is refused
#
# Credentials and region come from the environment, as for any Terraform run in infra/. Variables are set by arguments,
# such as -var region=eu-west-1, or in infra/terraform.tfvars (see infra/example.tfvars). With `auth`, a token in
# HUB_TOKEN that may join and send to the session smoke-test lets the deploy try the whole hub, and not the door only.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

yes='' plan_only='' allow_endpoint='' artifacts='' state=''
plan=() variables=()
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=1 ;;
    --plan) plan_only=1 ;;
    --allow-endpoint) allow_endpoint=1 ;;
    -h | --help) usage && exit ;;
    --artifacts | --state | -var | -var-file)
      [ $# -ge 2 ] || die "$1 takes a value: see --help"
      case $1 in
        --artifacts) artifacts=$(cd "$2" 2>/dev/null && pwd) || die "--artifacts $2: there is no such folder" ;;
        --state) state=$2 ;;
        *) plan+=("$1" "$2") variables+=("$1" "$2") ;;
      esac
      shift
      ;;
    -var=* | -var-file=*) plan+=("$1") variables+=("$1") ;;
    *) plan+=("$1") ;;
  esac
  shift
done

need_aws "$allow_endpoint"
[ -n "$yes$plan_only" ] || [ -t 0 ] || die "there is no terminal to ask on: pass --yes to apply without asking"

[ -n "$artifacts" ] || need_cargo
need_python
work=$(mktemp -d)
# shellcheck disable=SC2329 # Called by the trap.
tidy() { rm -rf "$work"; }
on_exit tidy
hub_terraform "$work" "$state"
if [ -z "$artifacts" ]; then
  artifacts=$ROOT/target/lambda
  run "$ROOT/scripts/build.sh" --arch "$(value var.architecture ${variables[@]+"${variables[@]}"})" >/dev/null
fi

rc=0
tf plan -input=false -detailed-exitcode -out="$work/plan" -var "artifacts_dir=$artifacts" ${plan[@]+"${plan[@]}"} >"$work/plan.log" 2>&1 || rc=$?
[ "$rc" != 1 ] || {
  cat "$work/plan.log" >&2
  die "terraform plan failed: see above"
}
terraform -chdir="$INFRA" show -json "$work/plan" >"$work/plan.json"
[ -n "$plan_only" ] || exec 3>&1 >&2
python3 "$ROOT/scripts/lib/changes.py" <"$work/plan.json"
[ -z "$plan_only" ] || exit 0

if [ "$rc" = 2 ]; then
  while [ -z "$yes" ]; do
    read -r -p "Apply this? Type yes, or all to see the whole plan first: " answer
    case $answer in
      yes) yes=1 ;;
      all) cat "$work/plan.log" ;;
      *) die "not applied" ;;
    esac
  done
  tf apply -input=false "$work/plan" || die "terraform apply failed: see above; run this again once the cause is gone"
fi
url=$(terraform -chdir="$INFRA" output -raw websocket_url)
door=()
[ "$(value 'var.auth == null' ${variables[@]+"${variables[@]}"})" = true ] || door=(--asks-for-token)
run "$ROOT/scripts/smoke.sh" "$url" ${door[@]+"${door[@]}"} \
  || die "the deploy is done, but the hub does not work: see above; scripts/rollback.sh returns to the functions before"
echo "$url" >&3
