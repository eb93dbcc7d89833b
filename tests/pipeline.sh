#!/usr/bin/env bash
# Plays the delivery pipeline on the local stack: bootstraps it, makes an environment, deploys as its role with the state
# in the bucket, plans from a second checkout, redeploys and rolls back under traffic, removes, and sees refused what
# nothing may do.
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
terraform_setup "$work"
# The S3 backend assumes a role elsewhere than at AWS_ENDPOINT_URL, and asks for buckets as host names, which 127.0.0.1 has
# none of.
export AWS_ENDPOINT_URL_STS=$AWS_ENDPOINT_URL
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

environment() { "$work/one/scripts/new-environment.sh" "$@" --region "$AWS_REGION" --architecture "$(host_arch)" --anonymous --state-bucket "$bucket" --yes >&2; }
say "--- an environment is made, and another checkout has it too"
mkdir "$work/one"
copy_tree "$work/one" .
ln -s "$VENV" "$work/one/.venv"
environment staging --name ship-staging
environment misnamed --name other --state-key staging/misnamed.tfstate
environment trespass --name ship-staging --state-key production/terraform.tfstate
cp -R "$work/one" "$work/two"

# Three releases: zips of other bytes, as another build leaves them.
for release in r1 r2 r3; do
  "$PY" - "$artifacts" "$work/$release" "$release" <<'RELEASE'
import base64, hashlib, json, os, shutil, sys, zipfile
built, out, release = sys.argv[1:]
with open(f"{built}/release.json") as file:
    document = json.load(file)
for function in document["sha256"]:
    os.makedirs(f"{out}/{function}")
    path = shutil.copy(f"{built}/{function}/bootstrap.zip", f"{out}/{function}/bootstrap.zip")
    # One function changes.
    if function == "send-message":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("release", release)
    with open(path, "rb") as file:
        document["sha256"][function] = base64.b64encode(hashlib.sha256(file.read()).digest()).decode()
with open(f"{out}/release.json", "w") as file:
    json.dump({**document, "release": release}, file)
RELEASE
done

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
job=repo:example/hub:environment:staging
pull_request=repo:example/hub:pull_request

# ship VERB ARGUMENTS...: one of the scripts of the first checkout, as the role of its environment.
ship() { as "$deployer" "$job" "$work/one/scripts/$1.sh" "${@:2}" --allow-endpoint; }
shipped() {
  ship "$@" >"$work/out" 2>"$work/log" || { cat "$work/log" >&2 && die "${*:1:2} failed: see above"; }
}

# refused DEED COMMAND...: the command fails, and because of permissions.
refused() {
  local deed=$1
  shift
  say "--- $deed is refused"
  ! "$@" >"$work/log" 2>&1 || die "$deed was allowed"
  grep -qE 'AccessDenied|not authorized|403' "$work/log" || { cat "$work/log" >&2 && die "$deed failed, but for another reason: see above"; }
}

# declined WHY COMMAND...: the command fails with those words, and before it changes anything.
declined() {
  local why=$1 before
  shift
  before=$(snapshot)
  ! "$@" >"$work/log" 2>&1 || die "$* was not declined"
  grep -qF "$why" "$work/log" || { cat "$work/log" >&2 && die "$* failed, but for another reason than '$why': see above"; }
  [ "$(snapshot)" = "$before" ] || die "$* was declined, but changed something"
}

# What the hub consists of: a line for each function with version, release and note of its alias, for the API, the table.
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
  [ "$(wc -l <<<"$found")" -ge 4 ] && [ "$(cut -d ' ' -f 2 <<<"$found" | sort -u)" = "$1" ] || die "the hub does not run $1 as a whole"
}

r1=(--artifacts "$work/r1") r2=(--artifacts "$work/r2") r3=(--artifacts "$work/r3")
refused 'a deploy from a pull request' as "$deployer" "$pull_request" "$work/one/scripts/deploy.sh" staging --allow-endpoint --yes "${r1[@]}"
refused 'a deploy from another repository' as "$deployer" repo:example/other:environment:staging "$work/one/scripts/deploy.sh" staging --allow-endpoint --yes "${r1[@]}"
refused 'a state that does not travel over TLS' ship deploy staging --yes "${r1[@]}"
# What the local stack cannot do: it has no TLS, and with some requests it does not know which function, table, alarm,
# dashboard or rule they are about, so that only a permission on all of them is one. The next bootstrap would take it back.
"$PY" -c '
import botocore.session, sys
new = botocore.session.get_session().create_client
new("s3").delete_bucket_policy(Bucket=sys.argv[1])
for role in sys.argv[2:]:
    policy = """{"Statement": [{"Effect": "Allow", "Resource": "*", "Action":
      ["dynamodb:ListTagsOfResource", "lambda:CreateFunction", "cloudwatch:*", "events:*"]}]}"""
    new("iam").put_role_policy(RoleName=role, PolicyName="local-stack", PolicyDocument=policy)' "$bucket" "${deployer##*/}" "${planner##*/}"

say "--- staging deploys its first release"
shipped deploy staging --yes "${r1[@]}"
url=$(cat "$work/out")
[[ $url == "ws${AWS_ENDPOINT_URL#http}/_aws/execute-api/"*/live ]] || die "deploy.sh printed $url"
grep -q 'OPEN TO EVERYONE' "$work/log" || die "deploy.sh did not say that the hub is open"
runs r1

say "--- a pull request plans from another checkout"
plan() { as "$planner" "$pull_request" "$work/two/scripts/deploy.sh" staging --allow-endpoint --plan "$@" 2>"$work/log" || { cat "$work/log" >&2 && die "deploy.sh --plan failed: see above"; }; }
told=$(plan "${r1[@]}")
[ "$told" = 'Nothing changes.' ] || die "a plan of the same zips says: $told"
sed -i.bak 's/^  name .*/&\n  log_retention_days = 7/' "$work/two/infra/environments/staging/main.tf"
told=$(plan "${r1[@]}")
[ "$(grep -c 'update log group /aws/lambda/ship-staging-.*: retention_in_days 30 → 7' <<<"$told")" = 4 ] || die "the plan of a shorter retention says: $told"
grep -q 'Plan: 0 to add, 4 to change, 0 to destroy' <<<"$told" || die "Terraform's own plan does not follow its summary: $told"
refused 'a deploy as the role of pull requests' as "$planner" "$pull_request" "$work/two/scripts/deploy.sh" staging --allow-endpoint --yes "${r1[@]}"
mv "$work/two/infra/environments/staging/main.tf.bak" "$work/two/infra/environments/staging/main.tf"
refused 'a hub of another name' ship deploy misnamed --yes "${r1[@]}"
refused 'the state of another environment' ship deploy trespass --yes "${r1[@]}"

under_traffic() { "$PY" "$ROOT/tests/traffic.py" "$url" "$@" || die "${*:1:3} under traffic: see above"; }
# What traffic.py runs is a program and no function of this shell.
export -f as ship
export work PY deployer job
step() {
  say "--- $1"
  under_traffic bash -euc 'ship "$@"' - "${@:2}" >&2
}

say "--- an apply is cut in half: one function is on the next release"
mkdir -p "$work/one/target/lambda" && cp -R "$work/r2/." "$work/one/target/lambda/"
as "$deployer" "$job" terraform -chdir="$work/one/infra/environments/staging" apply -input=false -no-color -auto-approve -target='module.hub.module.function["send-message"]' >"$work/log" || { cat "$work/log" >&2 && exit 1; }
! (runs r2) 2>"$work/log" || die "half an apply has deployed all"
step 'it is repeated, under traffic' deploy staging --yes "${r2[@]}"
runs r2
step 'it is rolled back, under traffic' rollback staging --yes
runs r1
told=$(plan "${r2[@]}")
grep -q '^\*\*r2 was rolled back: this puts it live again' <<<"$told" || die "the plan after a rollback does not say so: $told"
more=$(grep '^- ' <<<"$told" | grep -v 'alias of function' || true)
[ -z "$more" ] || die "a plan after a rollback shows more than the aliases: $more"
grep -q 'Plan: 0 to add, 4 to change, 0 to destroy' <<<"$told" || die "Terraform's own plan after a rollback shows something else: $told"
say "--- the same release is declined"
declined 'this release was rolled back' ship deploy staging --yes "${r2[@]}"
step 'the fix moves forward, under traffic' deploy staging --yes "${r3[@]}"
runs r3
step 'the fix is rolled back too, and not to the release before it' rollback staging --yes
runs r1
declined 'revert the commit and deploy' ship rollback staging --yes
step 'put live again on purpose' deploy staging --yes --again "${r3[@]}"
runs r3
say "--- it is good again: a deploy of it is not declined, and a plan of it is empty"
[ "$(plan "${r3[@]}")" = 'Nothing changes.' ] || die "a plan of what was put live again is not empty"
! snapshot | grep -q 'rolled back:.*r3' || die "a release that was put live again is still noted as rolled back: $(snapshot)"

say "--- staging is removed, and nothing else is"
declined 'there is no environment production' ship destroy production --confirm ship-staging
declined 'ship-production is not ship-staging, the hub in this state' ship destroy staging --confirm ship-production
declined 'ship-other is not ship-staging, the hub in this state' ship destroy staging < <(echo ship-other)
# A name edited since the deploy is not the hub's.
sed -i.bak 's/"ship-staging"/"ship-edited"/' "$work/one/infra/environments/staging/main.tf"
declined 'ship-edited is not ship-staging, the hub in this state' ship destroy staging --confirm ship-edited
mv "$work/one/infra/environments/staging/main.tf.bak" "$work/one/infra/environments/staging/main.tf"
protect() { "$PY" -c 'import botocore.session, sys; botocore.session.get_session().create_client("dynamodb").update_table(TableName="ship-staging-connections", DeletionProtectionEnabled=sys.argv[1] == "on")' "$1"; }
protect on
declined 'is protected from deletion' ship destroy staging --confirm ship-staging
protect off
shipped destroy staging --confirm ship-staging
grep -q "$url does not come back" "$work/log" || die "destroy.sh does not say what becomes of the address"
[ -z "$(snapshot | xargs)" ] || die "destroy.sh left $(snapshot)"
