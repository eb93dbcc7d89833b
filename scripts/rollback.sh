#!/usr/bin/env bash
# Returns an environment's functions to the previous release in seconds: it moves their aliases, and sockets stay open.
#
#   scripts/rollback.sh <environment> [--yes] [--allow-endpoint]
#
#   --yes             do not ask: for pipelines
#   --allow-endpoint  roll back at AWS_ENDPOINT_URL; if that is set, a rollback without this flag is refused
#
# Code and settings of the functions go back; other resources do not. So a rollback goes to the newest release that has every
# function, has the same settings that name a resource or a rule, and was not rolled back before. If there is none, it
# says why. The aliases note which releases were rolled back, and scripts/deploy.sh refuses to deploy those again.
# Credentials come from the environment.

# shellcheck source=scripts/lib/deployment.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/deployment.sh"

environment=''
options environment --yes --allow-endpoint -- "$@"
need_aws
need_terminal

open_environment "$environment"
python_tools aws
read_hub
releases() { run "$PY" "$ROOT/scripts/lib/releases.py" "$@"; }
releases plan "$work/hub.json" >"$work/plan.json"
confirm "Roll back? Type yes: "
releases apply "$work/plan.json"
