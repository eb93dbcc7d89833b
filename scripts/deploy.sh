#!/usr/bin/env bash
# Builds the hub and deploys it to AWS: plans, shows the plan, asks, applies, and prints the WebSocket address.
#
#   scripts/deploy.sh [--yes] [--allow-endpoint] [terraform plan arguments, such as -var region=eu-west-1]
#
#   --yes             do not ask: for pipelines
#   --allow-endpoint  deploy to AWS_ENDPOINT_URL; without this, an environment that has it is refused
#
# Credentials and region come from the environment, as for any Terraform run in infra/. Variables may also be set in
# infra/terraform.tfvars (see infra/example.tfvars).

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

yes='' allow_endpoint=''
plan=() variables=()
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=1 ;;
    --allow-endpoint) allow_endpoint=1 ;;
    -h | --help) usage && exit ;;
    -var | -var-file)
      [ $# -ge 2 ] || die "$1 takes a value: see --help"
      plan+=("$1" "$2") variables+=("$1" "$2")
      shift
      ;;
    -var=* | -var-file=*) plan+=("$1") variables+=("$1") ;;
    *) plan+=("$1") ;;
  esac
  shift
done

[ -z "${AWS_ENDPOINT_URL:-}" ] || [ -n "$allow_endpoint" ] \
  || die "AWS_ENDPOINT_URL is $AWS_ENDPOINT_URL, which is not AWS (the local stack's?): unset it, or pass --allow-endpoint to deploy there"
[ -n "$yes" ] || [ -t 0 ] || die "there is no terminal to ask on: pass --yes to apply without asking"

need_cargo
work=$(mktemp -d)
# shellcheck disable=SC2329 # Called by the trap.
tidy() { rm -rf "$work"; }
on_exit tidy
terraform_setup "$work"
tf init -input=false -lockfile=readonly >"$work/init.log" 2>&1 || {
  cat "$work/init.log" >&2
  die "terraform init failed: see above"
}
# Terraform knows best where a variable is set: on the command line, in the environment or in a file.
architecture=$(echo var.architecture | terraform -chdir="$ROOT/infra" console ${variables[@]+"${variables[@]}"} | tr -d '"') \
  || die "the variables are not valid: see above"
run "$ROOT/scripts/build.sh" --arch "$architecture" >/dev/null

rc=0
tf plan -input=false -detailed-exitcode -out="$work/plan" ${plan[@]+"${plan[@]}"} >&2 || rc=$?
case $rc in
  0) say "everything is as it should be: nothing to apply" ;;
  2)
    if [ -z "$yes" ]; then
      read -r -p "Apply this plan? Type yes: " answer
      [ "$answer" = yes ] || die "not applied"
    fi
    tf apply -input=false "$work/plan" >&2 || die "terraform apply failed: see above; run this again once the cause is gone"
    ;;
  *) die "terraform plan failed: see above" ;;
esac
terraform -chdir="$ROOT/infra" output -raw websocket_url
echo
