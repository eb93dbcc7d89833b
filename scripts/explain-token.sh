#!/usr/bin/env bash
# Asks a hub's authorizer whether it would admit a token, and explains the answer. The token is read from standard input.
#
#   scripts/explain-token.sh <environment> [--session NAME] [--allow-endpoint] <token.txt
#
#   --session         the session that the client asks for (?session_id=), if the token names more than one
#   --allow-endpoint  ask at AWS_ENDPOINT_URL; if that is set, a question without this flag is refused
#
# The environment `local` is the local stack: scripts/local.sh token --session alice | scripts/explain-token.sh local
#
# It invokes the deployed authorizer, which takes lambda:InvokeFunction on its alias. Exit code 0: the token would be admitted;
# 1: it would not, or the authorizer could not be asked. The token is neither printed nor logged.

# shellcheck source=scripts/lib/deployment.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/deployment.sh"

environment='' session='' allow_endpoint=''
while [ $# -gt 0 ]; do
  case $1 in
    --session)
      [ $# -gt 1 ] || die "--session needs a name: see --help"
      session=$2
      shift
      ;;
    --allow-endpoint) allow_endpoint=1 ;;
    -h | --help) usage && exit ;;
    *)
      # It may be a token: the message must not repeat it.
      [[ -z $environment && $1 =~ ^[a-z][a-z0-9-]{0,31}$ ]] || die "an argument that is unknown or no environment: see --help (the token comes on standard input)"
      environment=$1
      ;;
  esac
  shift
done
[ -n "$environment" ] || die "which environment? See --help"
[ ! -t 0 ] || say "paste the token, and end with Enter and Ctrl-D"
token=$(cat)
[ -n "$token" ] || die "there is no token on standard input"
if [ "$environment" = local ]; then
  settings=$("$ROOT/scripts/local.sh" env) || exit
  eval "$settings"
  authorizer=$("$ROOT/scripts/local.sh" output authorizer_arn) || exit
else
  need_aws "$allow_endpoint"
  open_environment "$environment"
  read_hub
  authorizer=$(hub 'hub["authorizer_arn"] or ""')
fi
[ -n "$authorizer" ] || die "this hub asks for no token: it has no auth"
python_tools aws
# Other users of this machine could read it in an argument.
"$PY" "$ROOT/scripts/lib/explain.py" "$authorizer" "$session" <<<"$token"
