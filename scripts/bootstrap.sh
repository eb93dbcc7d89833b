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

account=''
options account --yes --allow-endpoint -- "$@"
# Terraform would read terraform.tfvars for every account.
[[ $account =~ ^[a-z0-9][a-z0-9-]*$ && $account != terraform && $account != example ]] \
  || die "an account's name must be lowercase letters, digits and hyphens, and neither terraform nor example"
place=$ROOT/infra/bootstrap/$account
[ -f "$place.tfvars" ] || die "there is no infra/bootstrap/$account.tfvars: copy example.tfvars there, and fill it in"
need_aws
need_terminal

prepare_terraform
# Each account gets a copy of the Terraform, in which the backend can differ.
INFRA=$work/root
mkdir "$INFRA"
cp "$ROOT"/infra/bootstrap/*.tf "$ROOT/infra/bootstrap/.terraform.lock.hcl" "$INFRA"
hints+=(
  'acquiring the state lock' "If no other run is under way, a cancelled run has left the lock: delete bootstrap/terraform.tfstate.tflock from the bucket"
  'AlreadyExists\|AlreadyOwnedByYou' "A resource exists already.
If it is GitHub's OIDC provider, of which an account has one for all regions: set oidc_provider_arn in infra/bootstrap/$account.tfvars.
If it is the bucket or a role: this account was prepared before, and $account.s3.tfbackend is missing here."
)

if [ -f "$place.s3.tfbackend" ]; then
  quietly init -input=false -lockfile=readonly -backend-config="$place.s3.tfbackend"
else
  say "there is no infra/bootstrap/$account.s3.tfbackend: this is the account's first run, with a local state"
  printf 'terraform {\n  backend "local" {\n    path = "%s.tfstate"\n  }\n}\n' "$place" >"$INFRA/backend_override.tf"
  TF_CLI_ARGS_init='' quietly init -input=false -lockfile=readonly
fi

rc=0
quietly plan -input=false -detailed-exitcode -var-file="$place.tfvars" -out="$work/plan" || rc=$?
if [ "$rc" = 2 ]; then
  cat "$work/log" >&2
  confirm "Apply this? Type yes: "
  apply_plan
else
  say "nothing has changed"
fi

terraform -chdir="$INFRA" output -json >"$work/outputs.json"
if [ ! -f "$place.s3.tfbackend" ]; then
  value "$work/outputs.json" "'bucket = \"{}\"\nregion = \"{}\"'.format(it['state_bucket']['value'], it['region']['value'])" >"$work/s3.tfbackend"
  rm "$INFRA/backend_override.tf"
  quietly init -input=false -lockfile=readonly -migrate-state -force-copy -backend-config="$work/s3.tfbackend"
  mv "$work/s3.tfbackend" "$place.s3.tfbackend"
  quietly plan -input=false -detailed-exitcode -lock=false -var-file="$place.tfvars" || {
    cat "$work/log" >&2
    die "a plan with the state in the bucket shows these changes, so infra/bootstrap/$account.tfstate is kept"
  }
  rm -f "$place.tfstate" "$place.tfstate.backup"
  say "the state is in the bucket now: commit infra/bootstrap/$account.tfvars and infra/bootstrap/$account.s3.tfbackend"
fi
say "The environments of this account are made with:"
value "$work/outputs.json" '"\n".join(it["next"]["value"].values())'
