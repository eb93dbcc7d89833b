#!/usr/bin/env bash
# Runs one function of the local stack on one event, under that function's own role, and prints its answer.
#
#   scripts/invoke-local.sh <function> [event.json]      (default: events/<function>.json, for membership events/subscribe.json)
#
# Fails if the function fails or refuses the event; the end of the function's log then follows on stderr. It runs what the stack
# runs: after a change of the code or the Terraform, run scripts/local.sh up first.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
settings=$("$ROOT/scripts/local.sh" env) || exit
eval "$settings"
run "$PY" "$ROOT/scripts/lib/invoke.py" "$@"
