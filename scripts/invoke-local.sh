#!/usr/bin/env bash
# Runs one function of the local stack on one event, under that function's own role, and prints its answer.
#
#   scripts/invoke-local.sh <function> [event.json]      (default: events/<function>.json, for membership events/subscribe.json)
#
# Fails when the function does, and when its answer is a refusal (a statusCode from 400, or an error frame); the end of
# the function's log then follows on stderr. It runs what the stack runs: after a change of the code or the Terraform,
# scripts/local.sh up comes first.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  '') die "which function? One of: $(functions | xargs)" ;;
esac
[ $# -le 2 ] || die "too many arguments: see --help"
function=$1
event=${2:-$ROOT/events/${function/#membership/subscribe}.json}
[[ " $(functions | xargs) " == *" $function "* ]] || die "there is no function $function: take one of $(functions | xargs)"
[ -f "$event" ] || die "there is no file $event: name an event as the second argument"
need_python
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$event" 2>/dev/null || die "$event is not JSON"

settings=$("$ROOT/scripts/local.sh" env) || exit
eval "$settings"
run stack invoke "$function" "$event"
