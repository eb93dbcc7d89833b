#!/usr/bin/env bash
# Removes an environment's hub from AWS with everything in it. It first asks for the name of the hub that the state holds,
# and removes nothing while a table is protected from deletion.
#
#   scripts/destroy.sh <environment> [--confirm NAME | --yes] [--allow-endpoint]
#
#   --confirm         the hub's name, instead of asking for it
#   --yes             do not ask: for pipelines
#   --allow-endpoint  remove it from AWS_ENDPOINT_URL; if that is set, a removal without this flag is refused
#
# Credentials come from the environment; region and state are those of infra/environments/<environment>, which stays.

# shellcheck source=scripts/lib/deployment.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/deployment.sh"

environment='' confirm=''
options environment --confirm= --yes --allow-endpoint -- "$@"
need_aws

open_environment "$environment"
terraform -chdir="$INFRA" show -json >"$work/state.json"
quietly plan -destroy -input=false -out="$work/plan"
terraform -chdir="$INFRA" show -json "$work/plan" >"$work/plan.json"
name=$(python3 "$ROOT/scripts/lib/removal.py" "$work/state.json" "$work/plan.json" "$environment")
say "This removes the hub $name: every socket is closed, and the tables and the logs are gone.
Its address does not come back: a hub that is deployed again gets another one. Only a custom domain can be used again."
[ -z "$yes" ] || confirm=${confirm:-$name}
[ -n "$confirm" ] || read -r -p "To go on, type the hub's name: " confirm || die "there is no answer: pass --confirm NAME. Nothing is removed"
[ "$confirm" = "$name" ] || die "$confirm is not $name, the hub in this state: nothing is removed"
apply_plan
