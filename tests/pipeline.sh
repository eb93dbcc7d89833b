#!/usr/bin/env bash
# Plays the delivery pipeline on the local stack, with IAM enforced. An administrator prepares the account and makes two
# environments. Their roles deploy with the state in the bucket, plan in one checkout and apply in another, redeploy and roll back
# under traffic, remove the hubs, and are refused whatever they may not do.
#
#   tests/pipeline.sh <folder of built functions>      (in the environment of scripts/local.sh env)
#
# What it leaves on the stack goes away with the stack.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"
# shellcheck source=scripts/lib/test/provider.sh
. "$ROOT/scripts/lib/test/provider.sh"

artifacts=${1:?name the folder of built functions}
[[ ${AWS_ENDPOINT_URL:-} == http://127.0.0.1:* ]] || die "this is for the local stack: eval \"\$(scripts/local.sh env)\" first"
work=$(mktemp -d)
background=()
# shellcheck disable=SC2329 # Called by the trap.
tidy() {
  kill ${background[@]+"${background[@]}"} 2>/dev/null || true
  rm -rf "$work"
}
on_exit tidy
terraform_setup
# Without these, the S3 backend would assume its role at AWS, and take the bucket's name for a host name below 127.0.0.1.
export AWS_ENDPOINT_URL_STS=$AWS_ENDPOINT_URL
export TF_CLI_ARGS_init=-backend-config=use_path_style=true

mkdir "$work/one"
copy_tree "$work/one" .
ln -s "$VENV" "$work/one/.venv"

# logged TEXT: the last command wrote that to the log.
logged() { grep -qF -- "$1" "$work/log" || { cat "$work/log" >&2 && die "the log above does not say: $1"; }; }

# works COMMAND...: it succeeds. Its output is in out, what it said meanwhile in log.
works() { "$@" >"$work/out" 2>"$work/log" || { cat "$work/log" >&2 && die "$* failed: see above"; }; }

# fails TEXT COMMAND...: it fails with that text.
fails() {
  ! "${@:2}" >"$work/log" 2>&1 || die "${*:2} did not fail"
  logged "$1"
}

# aws SERVICE CALL ARGUMENTS: a call as the administrator, with its arguments in JSON.
aws() {
  "$PY" -c '
import botocore.session, json, sys
service, call, arguments = sys.argv[1:]
getattr(botocore.session.get_session().create_client(service), call)(**json.loads(arguments))' "$@"
}

# become ROLE: from here on, this shell acts as that role, with the token that `as` wrote. It starts as the administrator.
become() {
  [ "$1" != administrator ] || return 0
  unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
  export AWS_ROLE_ARN=$1 AWS_WEB_IDENTITY_TOKEN_FILE=$work/token AWS_ROLE_SESSION_NAME=pipeline
}

# provide ROLE CHECKOUT ROOT: starts one provider for whatever the role runs in the checkout. It takes credentials from its own
# environment and relative paths from its own folder; all roots of a checkout are equally deep.
provide() {
  local place=$work/provider/${1##*/}-$2 root=$work/$2/infra/$3
  mkdir -p "$place"
  # Runs with a provider attached install none: this is where the lock file is checked.
  TF_DATA_DIR=$place terraform -chdir="$root" init -backend=false -input=false -lockfile=readonly >"$place/log" 2>&1 || {
    cat "$place/log" >&2
    die "terraform init failed: see above"
  }
  start_provider "$place" "$place" enter "$1" "$root"
  background+=("$provider")
}
enter() { become "$1" && cd "$2"; }

# attach ROLE CHECKOUT: from here on, Terraform uses that provider.
attach() {
  TF_REATTACH_PROVIDERS=$(cat "$work/provider/${1##*/}-$2/address") || die "there is no provider for ${1##*/} in $2"
  export TF_REATTACH_PROVIDERS
}

say "--- an administrator prepares the account"
for account in terraform example A/b; do
  fails 'neither terraform nor example' "$work/one/scripts/bootstrap.sh" "$account" --yes --allow-endpoint
done
fails 'there is no infra/bootstrap/nowhere.tfvars' "$work/one/scripts/bootstrap.sh" nowhere --yes --allow-endpoint
bootstrap() { (attach administrator one && "$work/one/scripts/bootstrap.sh" acme --yes --allow-endpoint); }
provide administrator one bootstrap
cat >"$work/one/infra/bootstrap/acme.tfvars" <<TFVARS
region        = "$AWS_REGION"
name          = "ship"
environments  = ["staging", "production"]
repository    = "example/hub"
repository_id = "222"
owner_id      = "111"
TFVARS
# Both environments are in one account.
fails 'shared_account = true' bootstrap
echo 'shared_account = true' >>"$work/one/infra/bootstrap/acme.tfvars"
works bootstrap
mv "$work/out" "$work/environments"
[ ! -e "$work/one/infra/bootstrap/acme.tfstate" ] || die "a state of bootstrap is still here"
works bootstrap
logged 'nothing has changed'
diff "$work/environments" "$work/out" >&2 || die "a second bootstrap.sh prints something else"
bucket=$(sed -n 's/^bucket = "\(.*\)"/\1/p' "$work/one/infra/bootstrap/acme.s3.tfbackend")
arn=arn:aws:iam::000000000000
deployer=$arn:role/ship-deploy-staging-$AWS_REGION producer=$arn:role/ship-deploy-production-$AWS_REGION planner=$arn:role/ship-plan-$AWS_REGION
boundary=$arn:policy/ship-boundary-staging-$AWS_REGION

say "--- the commands that bootstrap.sh prints make the environments, in two checkouts"
# environment NAME FLAGS...
environment() {
  local command
  read -r -a command < <(grep "new-environment.sh $1 " "$work/environments")
  "$work/one/${command[0]}" "${command[@]:1}" --architecture "$(host_arch)" --yes "${@:2}" >&2
}
port=$("$PY" -c 'import socket; place = socket.socket(); place.bind(("127.0.0.1", 0)); print(place.getsockname()[1])')
"$PY" "$ROOT/scripts/lib/issuer.py" serve "$work/key" "$port" >"$work/issuer.log" 2>&1 &
background+=($!)
environment staging --anonymous
environment production --issuer "http://127.0.0.1:$port" --audience hub
printf '#!/bin/sh\n%q %q token %q http://127.0.0.1:%s --session "smoke|1" && echo "smoke|1"\n' "$PY" "$ROOT/scripts/lib/issuer.py" "$work/key" "$port" >"$work/one/infra/environments/production/smoke-token"
chmod +x "$work/one/infra/environments/production/smoke-token"
new() { "$work/one/scripts/new-environment.sh" "$1" --region "$AWS_REGION" --architecture "$(host_arch)" --anonymous --state-bucket "$bucket" --permissions-boundary "$boundary" --yes "${@:2}" >&2; }
new misnamed --name other
new trespass --name ship-staging
sed -i.bak 's|misnamed/terraform|staging/misnamed|' "$work/one/infra/environments/misnamed/main.tf"
sed -i.bak 's|trespass/terraform|production/terraform|' "$work/one/infra/environments/trespass/main.tf"
cp -R "$work/one" "$work/two"
provide "$deployer" one environments/staging
provide "$planner" two environments/staging

# Three releases, which differ in one function.
for release in r1 r2 r3; do
  "$PY" - "$artifacts" "$work/$release" "$release" <<'RELEASE'
import base64, hashlib, json, os, shutil, sys, zipfile
built, out, release = sys.argv[1:]
with open(f"{built}/release.json") as file:
    document = json.load(file)
for function in document["sha256"]:
    os.makedirs(f"{out}/{function}")
    path = shutil.copy(f"{built}/{function}/bootstrap.zip", f"{out}/{function}/bootstrap.zip")
    if function == "send-message":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("release", release)
    with open(path, "rb") as file:
        document["sha256"][function] = base64.b64encode(hashlib.sha256(file.read()).digest()).decode()
with open(f"{out}/release.json", "w") as file:
    json.dump({**document, "release": release}, file)
RELEASE
done

# as ROLE SUBJECT COMMAND...: with the token that GitHub would give to such a job on main, or with other CLAIMS. The stack
# reads the claims without checking the signature, which AWS does.
as() {
  local role=$1 token
  token=$("$PY" -c '
import base64, json, sys
part = lambda what: base64.urlsafe_b64encode(json.dumps(what).encode()).decode().rstrip("=")
claims = {"iss": "https://token.actions.githubusercontent.com", "aud": "sts.amazonaws.com", "repository_id": "222", "ref": "refs/heads/main"}
print(part({"alg": "RS256"}), part({**claims, "sub": sys.argv[1], **json.loads(sys.argv[2] or "{}")}), "c2ln", sep=".")' "$2" "${CLAIMS:-}")
  shift 2
  printf '%s' "$token" >"$work/token"
  (
    become "$role"
    [[ ! "$*" =~ $work/([^/]+)/(infra|scripts)/ ]] || attach "$role" "${BASH_REMATCH[1]}"
    exec "$@"
  )
}
# Both forms of the subject, without the ids of owner and repository and with them.
old=repo:example/hub
job=repo:example@111/hub@222:environment:staging
production_job=$old:environment:production
pull_request=repo:example@111/hub@222:pull_request

# ship VERB ARGUMENTS...: one of the scripts of the first checkout, as the role of its environment.
ship() { as "$deployer" "$job" "$work/one/scripts/$1.sh" "${@:2}" --allow-endpoint; }

# refused DEED COMMAND...: the command fails because a permission is missing.
refused() {
  say "--- $1 is refused"
  ! "${@:2}" >"$work/log" 2>&1 || die "$1 was allowed"
  grep -qE 'AccessDenied|not authorized|403' "$work/log" || { cat "$work/log" >&2 && die "$1 failed for another reason: see above"; }
}

# declined TEXT COMMAND...: the command fails with that text and changes nothing.
declined() {
  local before
  before=$(snapshot)
  fails "$@"
  [ "$(snapshot)" = "$before" ] || die "${*:2} changed something"
}

# The parts of staging's hub: a line for each function with its release, its alias's version and note, for the API and for tables.
snapshot() {
  "$PY" - <<'SNAPSHOT'
import botocore.session
new = botocore.session.get_session().create_client
lambdas = new("lambda")
for name in sorted(f["FunctionName"] for f in lambdas.list_functions()["Functions"]):
    if name.startswith("ship-staging-"):
        alias = lambdas.get_alias(FunctionName=name, Name="live")
        release = lambdas.get_function_configuration(FunctionName=name, Qualifier="live")["Environment"]["Variables"]["RELEASE"]
        print("function", release, name, alias["FunctionVersion"], alias.get("Description", ""))
print(*(f"api {api['ApiId']}" for api in new("apigatewayv2").get_apis()["Items"] if api["Name"] == "ship-staging"), sep="\n")
print(*(f"table {name}" for name in new("dynamodb").list_tables()["TableNames"] if name.startswith("ship-staging")), sep="\n")
SNAPSHOT
}

# runs RELEASE: every function's alias leads to a version of that release.
runs() {
  local found
  found=$(snapshot | grep '^function')
  say "$found"
  [ "$(wc -l <<<"$found")" -ge 7 ] && [ "$(cut -d ' ' -f 2 <<<"$found" | sort -u)" = "$1" ] || die "the hub does not run $1 as a whole"
}

r1=(--artifacts "$work/r1") r2=(--artifacts "$work/r2") r3=(--artifacts "$work/r3")
say "--- a role is assumed from its own place, by both forms of the subject"
assume() { as "$1" "$2" "$PY" -c 'import botocore.session; botocore.session.get_session().create_client("sts").get_caller_identity()'; }
new_form=repo:example@111/hub@222
for subject in "$old:environment:staging" "$job"; do assume "$deployer" "$subject"; done
for subject in "$old" "$new_form"; do
  for place in pull_request ref:refs/heads/main; do assume "$planner" "$subject:$place"; done
  refused "a plan on another branch ($subject)" assume "$planner" "$subject:ref:refs/heads/other"
  refused "a deploy from a pull request ($subject)" assume "$deployer" "$subject:pull_request"
  refused "a deploy from main outside of the environment ($subject)" assume "$deployer" "$subject:ref:refs/heads/main"
  refused "a deploy from production ($subject)" assume "$deployer" "$subject:environment:production"
done
refused 'a deploy from another repository' assume "$deployer" repo:example/other:environment:staging
refused 'a deploy from a repository with these names and other ids' assume "$deployer" repo:example@999/hub@888:environment:staging
CLAIMS='{"repository_id": "888"}' refused 'a deploy from a repository that has taken the name' assume "$deployer" "$old:environment:staging"
CLAIMS='{"ref": "refs/heads/other"}' refused 'a deploy from another branch' assume "$deployer" "$job"
CLAIMS='{"aud": "https://github.com/example"}' refused 'a token for something else than AWS' assume "$deployer" "$job"
CLAIMS='{"repository_id": "888"}' refused 'a plan from a repository that has taken the name' assume "$planner" "$old:pull_request"

refused 'a state that does not travel over TLS' ship deploy staging --yes "${r1[@]}"
# The local stack has no TLS. The next bootstrap would set the policy again.
aws s3 delete_bucket_policy "{\"Bucket\": \"$bucket\"}"

say "--- staging deploys its first release"
works ship deploy staging --yes "${r1[@]}"
url=$(cat "$work/out")
[[ $url == "ws${AWS_ENDPOINT_URL#http}/_aws/execute-api/"*/live ]] || die "deploy.sh printed $url"
logged 'OPEN TO EVERYONE'
runs r1

say "--- a pull request plans from another checkout"
plan() {
  works as "$planner" "$pull_request" "$work/two/scripts/deploy.sh" staging --allow-endpoint --plan "$@"
  cat "$work/out"
}
told=$(plan "${r1[@]}")
[ "$told" = 'Nothing changes.' ] || die "a plan of the same zips says: $told"
sed -i.bak 's/^  name .*/&\n  log_retention_days = 7/' "$work/two/infra/environments/staging/main.tf"
told=$(plan "${r1[@]}")
[ "$(grep -c '^- update .*aws_cloudwatch_log_group.*: retention_in_days$' <<<"$told")" = 7 ] || die "the plan of a shorter retention says: $told"
grep -q 'Plan: 0 to add, 7 to change, 0 to destroy' <<<"$told" || die "Terraform's own plan does not follow its summary: $told"
mv "$work/two/infra/environments/staging/main.tf.bak" "$work/two/infra/environments/staging/main.tf"
refused 'a hub of another name' ship deploy misnamed --yes "${r1[@]}"
refused 'the state of another environment' ship deploy trespass --yes "${r1[@]}"

say "--- production, which asks for tokens: a plan from a fresh clone, which is what is applied"
git -C "$work/one" init --quiet --initial-branch main
git -C "$work/one" add . ":(exclude).venv"
git -C "$work/one" -c user.name=test -c user.email=test@example.com commit --quiet --message 'the hub, with its environments'
git clone --quiet "$work/one" "$work/clone"
ln -s "$VENV" "$work/clone/.venv"
provide "$planner" clone environments/production
provide "$producer" clone environments/production
production() { works as "$@" --allow-endpoint; }
deploy=("$work/clone/scripts/deploy.sh" production)
production "$planner" "$old:ref:refs/heads/main" "${deploy[@]}" --plan --save "$work/first.plan" "${r1[@]}"
production "$planner" "$new_form:ref:refs/heads/main" "${deploy[@]}" --plan --save "$work/second.plan" "${r2[@]}"
fails 'is no plan of infra/environments/staging' ship deploy staging --apply "$work/first.plan" --yes "${r1[@]}"
production "$producer" "$production_job" "${deploy[@]}" --apply "$work/first.plan" --yes "${r1[@]}"
logged 'handshake without a token was rejected'
logged 'a message reached both clients'
! grep -q 'OPEN TO EVERYONE' "$work/log" || die "a hub that asks for tokens is said to be open"
handshake() { # TOKEN
  "$PY" - "$(cat "$work/out")?session_id=smoke%7C1" "$1" <<'HANDSHAKE'
import asyncio, sys
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

async def main(url: str, token: str) -> int:
    try:
        async with connect(url + (token and f"&token={token}")):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code
print(asyncio.run(main(*sys.argv[1:])))
HANDSHAKE
}
[[ $(handshake '') == 40[13] && $(handshake x.y.z) == 40[13] ]] || die "a handshake without a token, or with a false one, is not refused"
[ "$(handshake "$("$work/clone/infra/environments/production/smoke-token" | head -n 1)")" = 101 ] || die "a handshake with a token is refused"
say "--- a plan that is out of date is not applied"
fails 'another apply came between: re-run all jobs' as "$producer" "$production_job" "${deploy[@]}" --apply "$work/second.plan" --yes --allow-endpoint "${r2[@]}"

say "--- the role of staging cannot touch production, and the role that plans cannot write"
permissions=("$PY" "$ROOT/tests/permissions.py")
as "$deployer" "$job" "${permissions[@]}" trespass ship-production "$bucket"
as "$planner" "$pull_request" "${permissions[@]}" write ship-production "$bucket"
refused 'a deploy as the role that plans' as "$planner" "$pull_request" "$work/two/scripts/deploy.sh" staging --allow-endpoint --yes "${r2[@]}"

say "--- no role of a function escapes its boundary"
aws iam create_role "{\"RoleName\": \"ship-staging-bare-$AWS_REGION\", \"AssumeRolePolicyDocument\": \"{}\"}"
as "$deployer" "$job" "${permissions[@]}" boundary ship-staging "$boundary"
"${permissions[@]}" bounded ship-staging "$boundary" ship-production
aws iam delete_role "{\"RoleName\": \"ship-staging-bare-$AWS_REGION\"}"

# step WHAT VERB ARGUMENTS...: ship, while messages pass. traffic.py runs a program, not a function of this shell.
export -f as attach become die ship
export work PY deployer job
step() {
  say "--- $1, under traffic"
  "$PY" "$ROOT/tests/traffic.py" "$url" bash -euc 'ship "$@"' - "${@:2}" >&2 || die "$1, under traffic: see above"
}

# These settings change something of every kind. The release after next takes them back.
page=infra/environments/staging/main.tf
cp "$work/one/$page" "$work/main.tf"
sed -i.bak 's/^  name .*/&\n  tags = { team = "chat" }\n  throttling_burst_limit = 600\n  log_retention_days = 0\n  point_in_time_recovery = true\n  deletion_protection = true/' "$work/one/$page"
cp "$work/one/$page" "$work/two/$page"
say "--- an apply is cut in half: one function is on the next release"
mkdir -p "$work/one/target/lambda" && cp -R "$work/r2/." "$work/one/target/lambda/"
works as "$deployer" "$job" terraform -chdir="$work/one/infra/environments/staging" apply -input=false -no-color -auto-approve -target='module.hub.module.function["send-message"]'
! (runs r2) 2>/dev/null || die "half an apply has deployed all"
step 'it is repeated' deploy staging --yes "${r2[@]}"
runs r2
step 'it is rolled back' rollback staging --yes
runs r1
told=$(plan "${r2[@]}")
grep -q '^\*\*r2 was rolled back: this puts it live again' <<<"$told" || die "the plan after a rollback does not say so: $told"
more=$(grep '^- ' <<<"$told" | grep -v 'aws_lambda_alias' || true)
[ -z "$more" ] || die "a plan after a rollback shows more than the aliases: $more"
grep -q 'Plan: 0 to add, 7 to change, 0 to destroy' <<<"$told" || die "Terraform's own plan after a rollback shows something else: $told"
say "--- the same release is declined"
declined 'this release was rolled back' ship deploy staging --yes "${r2[@]}"
cp "$work/main.tf" "$work/one/$page"
cp "$work/main.tf" "$work/two/$page"
step 'the fix moves forward' deploy staging --yes "${r3[@]}"
runs r3
step 'the fix is rolled back too, and not to the release before it' rollback staging --yes
runs r1
declined 'revert the commit and deploy' ship rollback staging --yes
step 'put live again on purpose' deploy staging --yes --again "${r3[@]}"
runs r3
say "--- a plan of that release is empty again"
[ "$(plan "${r3[@]}")" = 'Nothing changes.' ] || die "a plan of what was put live again is not empty"
! snapshot | grep -q 'rolled back:.*r3' || die "a release that was put live again is still noted as rolled back: $(snapshot)"

say "--- staging is removed, and nothing else is"
declined 'there is no environment nowhere' ship destroy nowhere --confirm ship-staging
declined 'ship-production is not ship-staging, the hub in this state' ship destroy staging --confirm ship-production
declined 'ship-other is not ship-staging, the hub in this state' ship destroy staging < <(echo ship-other)
# A name edited since the deploy is not the hub's.
sed -i.bak 's/"ship-staging"/"ship-edited"/' "$work/one/infra/environments/staging/main.tf"
declined 'ship-edited is not ship-staging, the hub in this state' ship destroy staging --confirm ship-edited
mv "$work/one/infra/environments/staging/main.tf.bak" "$work/one/infra/environments/staging/main.tf"
protect() { aws dynamodb update_table "{\"TableName\": \"ship-staging-connections\", \"DeletionProtectionEnabled\": $1}"; }
protect true
declined 'is protected from deletion' ship destroy staging --confirm ship-staging
protect false
works ship destroy staging --confirm ship-staging
logged 'Its address does not come back'
[ -z "$(snapshot | xargs)" ] || die "destroy.sh left $(snapshot)"

say "--- production is removed by its own role"
production "$producer" "$production_job" "$work/clone/scripts/destroy.sh" production --confirm ship-production
say "--- the permissions are those that Terraform needs"
"${permissions[@]}" compare "${HUB_STATE_DIR:-$ROOT/.local}/calls.jsonl" "${deployer##*/}" "${producer##*/}" "${planner##*/}"
say "--- no Terraform started a provider of its own"
installed=$(find "$work" -path '*/.terraform/providers')
[ -z "$installed" ] || die "a run was not attached: there is $installed"
