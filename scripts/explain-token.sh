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

environment='' session=''
options environment --session= --allow-endpoint -- "$@"
# It may be a token, which no message may repeat.
[[ $environment =~ ^[a-z][a-z0-9-]{0,31}$ ]] || die "that is no environment: see --help (the token comes on standard input)"
[ ! -t 0 ] || say "paste the token, and end with Enter and Ctrl-D"
token=$(cat)
[ -n "$token" ] || die "there is no token on standard input"
if [ "$environment" = local ]; then
  settings=$("$ROOT/scripts/local.sh" env) || exit
  eval "$settings"
  authorizer=$("$ROOT/scripts/local.sh" output authorizer_arn) || exit
else
  need_aws
  open_environment "$environment"
  read_hub
  authorizer=$(hub 'it["authorizer_arn"] or ""')
fi
[ -n "$authorizer" ] || die "this hub asks for no token: it has no auth"
python_tools aws
# Other users of this machine could read it in an argument.
"$PY" "$ROOT/scripts/lib/explain.py" "$authorizer" "$session" <<<"$token"
