#!/usr/bin/env bash
# Prepares an AWS account, in one region, for the pipeline (infra/bootstrap): the bucket of Terraform's states, the roles of
# the workflows, and the boundary of the functions' roles. Run it again after a change of its settings.
#
#   scripts/bootstrap.sh <account> [--yes] [--allow-endpoint]
#
#   <account>         its settings are infra/bootstrap/<account>.tfvars: start from example.tfvars there
#   --yes             do not ask
#   --allow-endpoint  apply it to AWS_ENDPOINT_URL; if that is set, a run without this flag is refused
#
# Credentials come from the environment and are those of an administrator of that account. The first run keeps its state in
# infra/bootstrap/<account>.tfstate until the bucket exists, moves the state there, and writes its place to
# <account>.s3.tfbackend: commit that beside <account>.tfvars. Neither holds a secret. At the end it prints the commands that
# make the environments.

# shellcheck source=scripts/lib/deployment.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/deployment.sh"

account='' yes='' allow_endpoint=''
options account --yes --allow-endpoint -- "$@"
# Terraform would read terraform.tfvars for every account.
[[ $account =~ ^[a-z0-9][a-z0-9-]*$ && $account != terraform && $account != example ]] \
  || die "an account's name must be lowercase letters, digits and hyphens, and neither terraform nor example"
place=$ROOT/infra/bootstrap/$account
[ -f "$place.tfvars" ] || die "there is no infra/bootstrap/$account.tfvars: copy example.tfvars there, and fill it in"
need_aws "$allow_endpoint"
[ -n "$yes" ] || [ -t 0 ] || die "there is no terminal to ask on: pass --yes to apply without asking"
need_python

work=$(mktemp -d)
on_exit "rm -rf $work"
unset TF_DATA_DIR TF_CLI_ARGS TF_CLI_ARGS_plan TF_CLI_ARGS_apply TF_CLI_ARGS_output
export TF_WORKSPACE=default
[ -t 2 ] || export TF_CLI_ARGS_plan=-no-color TF_CLI_ARGS_apply=-no-color
terraform_setup
# Each account gets a copy of the Terraform, in which the backend can differ.
INFRA=$work/root
mkdir "$INFRA"
cp "$ROOT"/infra/bootstrap/*.tf "$ROOT/infra/bootstrap/.terraform.lock.hcl" "$INFRA"

# quietly WHAT COMMAND...: shows what Terraform says only if it fails.
quietly() {
  local what=$1
  shift
  "$@" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    die "$what failed: see above"
  }
}

if [ -f "$place.s3.tfbackend" ]; then
  quietly 'terraform init' tf init -input=false -lockfile=readonly -backend-config="$place.s3.tfbackend"
else
  say "there is no infra/bootstrap/$account.s3.tfbackend: this is the account's first run, with a local state"
  printf 'terraform {\n  backend "local" {\n    path = "%s.tfstate"\n  }\n}\n' "$place" >"$INFRA/backend_override.tf"
  TF_CLI_ARGS_init='' quietly 'terraform init' tf init -input=false -lockfile=readonly
fi

rc=0
tf plan -input=false -detailed-exitcode -var-file="$place.tfvars" -out="$work/plan" >"$work/log" 2>&1 || rc=$?
if [ "$rc" = 1 ]; then
  cat "$work/log" >&2
  ! grep -q 'state lock' "$work/log" || say "If no other run is under way, a cancelled run has left the lock: delete bootstrap/terraform.tfstate.tflock from the bucket"
  die "terraform plan failed: see above; nothing is changed"
elif [ "$rc" = 2 ]; then
  cat "$work/log" >&2
  [ -n "$yes" ] || {
    read -r -p "Apply this? Type yes: " answer
    [ "$answer" = yes ] || die "not applied"
  }
  run shown "$work/log" terraform -chdir="$INFRA" apply -input=false "$work/plan" || {
    ! grep -q 'AlreadyExists\|AlreadyOwnedByYou' "$work/log" || say "A resource exists already.
If it is GitHub's OIDC provider, of which an account has one for all regions: set oidc_provider_arn in infra/bootstrap/$account.tfvars.
If it is the bucket or a role: this account was prepared before, and $account.s3.tfbackend is missing here."
    die "terraform apply failed: see above; run this again once the cause is gone, it goes on from there"
  }
else
  say "nothing has changed"
fi

terraform -chdir="$INFRA" output -json >"$work/outputs.json"
output() { python3 -c 'import json, sys; out = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/outputs.json" "$1"; }
if [ ! -f "$place.s3.tfbackend" ]; then
  printf 'bucket = "%s"\nregion = "%s"\n' "$(output 'out["state_bucket"]["value"]')" "$(output 'out["region"]["value"]')" >"$work/s3.tfbackend"
  rm "$INFRA/backend_override.tf"
  quietly 'moving the state into the bucket' tf init -input=false -lockfile=readonly -migrate-state -force-copy -backend-config="$work/s3.tfbackend"
  mv "$work/s3.tfbackend" "$place.s3.tfbackend"
  quietly 'a plan with the state in the bucket' tf plan -input=false -detailed-exitcode -lock=false -var-file="$place.tfvars"
  rm -f "$place.tfstate" "$place.tfstate.backup"
  say "the state is in the bucket now: commit infra/bootstrap/$account.tfvars and infra/bootstrap/$account.s3.tfbackend"
fi
say "The environments of this account are made with:"
output '"\n".join(out["next"]["value"].values())'
