#!/usr/bin/env bash
# Plays the delivery pipeline on the local stack: bootstraps it, deploys as the role of an environment with the state in
# the bucket, plans as a pull request, and sees refused what neither may do.
#
#   tests/pipeline.sh <folder of built functions>      (in the environment of scripts/local.sh env)
#
# What it leaves on the stack goes away with the stack.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"

artifacts=${1:?name the folder of built functions}
[[ ${AWS_ENDPOINT_URL:-} == http://127.0.0.1:* ]] || die "this is for the local stack: eval \"\$(scripts/local.sh env)\" first"
work=$(mktemp -d)
on_exit "rm -rf $work"
# The hub to come is not the stack's own.
for name in $(compgen -e TF_); do [[ $name == TF_PLUGIN_* || $name == TF_CLI_CONFIG_FILE ]] || unset "$name"; done
terraform_setup "$work"
# The S3 backend asks for more than AWS_ENDPOINT_URL, and for buckets as host names, which 127.0.0.1 has none of.
export AWS_ENDPOINT_URL_S3=$AWS_ENDPOINT_URL AWS_ENDPOINT_URL_STS=$AWS_ENDPOINT_URL
export TF_CLI_ARGS_init=-backend-config=use_path_style=true

say "--- an administrator bootstraps the account"
bootstrap() { TF_DATA_DIR=$work/data run terraform -chdir="$ROOT/infra/bootstrap" "$@" -no-color; }
bootstrap_state=${HUB_STATE_DIR:-$ROOT/.local}/bootstrap.tfstate
what=(-input=false -state="$bootstrap_state" -var repository=example/hub -var name=ship)
TF_CLI_ARGS_init='' bootstrap init -input=false -lockfile=readonly >"$work/log"
bootstrap apply "${what[@]}" -auto-approve >"$work/log" || { cat "$work/log" >&2 && exit 1; }
bootstrap plan "${what[@]}" -detailed-exitcode >"$work/log" || { cat "$work/log" >&2 && die "a plan straight after the apply is not empty"; }
output() { TF_DATA_DIR=$work/data terraform -chdir="$ROOT/infra/bootstrap" output -state="$bootstrap_state" -json | "$PY" -c "import json, sys; print(json.load(sys.stdin)$1)"; }
bucket=$(output '["state_bucket"]["value"]')
deployer=$(output '["deploy_role_arns"]["value"]["staging"]')
planner=$(output '["plan_role_arn"]["value"]')

# as ROLE SUBJECT COMMAND...: with the token that GitHub would give to such a job. The stack reads what it claims and does
# not check the signature; AWS does.
as() {
  local role=$1 token
  token=$("$PY" -c '
import base64, json, sys
part = lambda what: base64.urlsafe_b64encode(json.dumps(what).encode()).decode().rstrip("=")
print(part({"alg": "RS256"}), part({"iss": "https://token.actions.githubusercontent.com", "aud": "sts.amazonaws.com", "sub": sys.argv[1]}), "c2ln", sep=".")' "$2")
  shift 2
  printf '%s' "$token" >"$work/token"
  env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY AWS_ROLE_ARN="$role" AWS_WEB_IDENTITY_TOKEN_FILE="$work/token" AWS_ROLE_SESSION_NAME=pipeline "$@"
}

hub=(--allow-endpoint --state "$bucket/staging/terraform.tfstate" --artifacts "$artifacts"
  -var name=ship-staging -var 'tags={"ms-custom-id":"ship"}' -var "architecture=$(host_arch)"
  -var "websocket_endpoint=$AWS_ENDPOINT_URL/_aws/execute-api/ship/live")
environment=repo:example/hub:environment:staging
pull_request=repo:example/hub:pull_request

# refused DEED COMMAND...: the command fails, and because of rights.
refused() {
  local deed=$1
  shift
  say "--- $deed is refused"
  ! run "$@" >"$work/log" 2>&1 || die "$deed was allowed"
  grep -qE 'AccessDenied|not authorized|403' "$work/log" || { cat "$work/log" >&2 && die "$deed failed, but for another reason: see above"; }
}

refused 'a deploy from a pull request' as "$deployer" "$pull_request" "$ROOT/scripts/deploy.sh" --yes "${hub[@]}"
refused 'a deploy from another repository' as "$deployer" repo:example/other:environment:staging "$ROOT/scripts/deploy.sh" --yes "${hub[@]}"

refused 'a state that does not travel over TLS' as "$deployer" "$environment" "$ROOT/scripts/deploy.sh" --yes "${hub[@]}"
# What the local stack cannot do: it has no TLS, and with some requests it does not know which function, table, alarm,
# dashboard or rule they are about, so that only a right on all of them is one. The next bootstrap would take it back.
"$PY" -c '
import botocore.session, sys
new = botocore.session.get_session().create_client
new("s3").delete_bucket_policy(Bucket=sys.argv[1])
for role in sys.argv[2:]:
    policy = """{"Statement": [{"Effect": "Allow", "Resource": "*", "Action":
      ["dynamodb:ListTagsOfResource", "lambda:CreateFunction", "cloudwatch:*", "events:*"]}]}"""
    new("iam").put_role_policy(RoleName=role, PolicyName="local-stack", PolicyDocument=policy)' "$bucket" "${deployer##*/}" "${planner##*/}"

say "--- staging deploys"
url=$(as "$deployer" "$environment" "$ROOT/scripts/deploy.sh" --yes "${hub[@]}")
[ "$url" = "ws${AWS_ENDPOINT_URL#http}/_aws/execute-api/ship/live" ] || die "deploy.sh printed $url"

say "--- a pull request plans"
told=$(as "$planner" "$pull_request" "$ROOT/scripts/deploy.sh" --plan "${hub[@]}" -lock=false)
[ "$told" = 'Nothing changes.' ] || die "a plan straight after the deploy says: $told"
told=$(as "$planner" "$pull_request" "$ROOT/scripts/deploy.sh" --plan "${hub[@]}" -lock=false -var log_retention_days=7)
[ "$(grep -c 'update log group /aws/lambda/ship-staging-.*: retention_in_days 30 → 7' <<<"$told")" = 4 ] || die "the plan of a shorter retention says: $told"
refused 'a deploy as the role of pull requests' as "$planner" "$pull_request" "$ROOT/scripts/deploy.sh" --yes "${hub[@]}" -lock=false -var log_retention_days=7
refused 'a hub of another name' as "$deployer" "$environment" "$ROOT/scripts/deploy.sh" --yes "${hub[@]}" -var name=other
refused 'the state of another environment' as "$deployer" "$environment" "$ROOT/scripts/deploy.sh" --yes "${hub[@]}" --state "$bucket/production/terraform.tfstate"

say "--- staging is removed"
remove=("$ROOT/scripts/destroy.sh" "${hub[@]:0:3}" "${hub[@]:5}")
! as "$deployer" "$environment" "${remove[@]}" --confirm ship-production 2>"$work/log" || die "destroy.sh took another name for the hub's"
as "$deployer" "$environment" "${remove[@]}" --confirm ship-staging >&2
