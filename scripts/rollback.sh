#!/usr/bin/env bash
# Undoes the last deploy of functions in seconds: points each alias `live` back at the version before. Sockets stay open.
#
#   scripts/rollback.sh [--yes] [--name NAME] [N]
#
#   N       how many deploys to go back (default: 1)
#   --name  the hub's name (default: websocket-hub)
#   --yes   do not ask
#
# Only what the functions run and are told goes back, not the rest of the Terraform. The next deploy moves the aliases
# forward again: mend the cause first. A version that was rolled back from earlier is still there, and is a step back like
# any other: look at the times. Credentials, region and AWS_ENDPOINT_URL come from the environment.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

yes='' name=websocket-hub steps=1
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=1 ;;
    --name)
      [ $# -ge 2 ] || die "$1 takes a value: see --help"
      name=$2
      shift
      ;;
    -h | --help) usage && exit ;;
    *)
      [[ $1 =~ ^[1-9][0-9]*$ ]] || die "unknown argument $1: see --help"
      steps=$1
      ;;
  esac
  shift
done
[ -n "$yes" ] || [ -t 0 ] || die "there is no terminal to ask on: pass --yes to roll back without asking"

python_tools local
# shellcheck disable=SC2046 # One word a function.
plan=$("$PY" "$ROOT/scripts/lib/rollback.py" plan "$name" "$steps" $(functions))
say "$plan"
if [ -z "$yes" ]; then
  read -r -p "Roll back? Type yes: " answer
  [ "$answer" = yes ] || die "not rolled back"
fi
"$PY" "$ROOT/scripts/lib/rollback.py" apply <<<"$plan"
