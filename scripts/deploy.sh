#!/usr/bin/env bash
# Deploys an environment: builds, shows a summary and the whole plan, asks for confirmation, applies, runs a smoke test
# over real sockets, and prints the WebSocket address.
#
#   scripts/deploy.sh <environment> [--yes] [--artifacts DIR] [--again] [--allow-endpoint]
#   scripts/deploy.sh <environment> --plan [--save FILE] ...
#   scripts/deploy.sh <environment> --apply FILE --artifacts DIR ...
#
#   --yes             do not ask: for pipelines
#   --plan            print the summary and the plan as Markdown, and change nothing
#   --save            with --plan, if something would change: write Terraform's plan to FILE, for --apply
#   --apply           apply that plan and no other; it is refused if another apply has come first
#   --artifacts       build nothing: copy what scripts/build.sh wrote to that folder to target/lambda, and deploy it
#   --again           deploy a release that was rolled back, which is otherwise refused
#   --allow-endpoint  deploy to AWS_ENDPOINT_URL; if that is set, a deploy without this flag is refused
#
# Settings, region and state are those of infra/environments/<environment> (scripts/new-environment.sh makes one);
# credentials come from the environment, as for any Terraform run there. If the hub has `auth`, the smoke test delivers a message
# only with a token that may join and send to the session smoke-test, or to the one that HUB_SESSION names. The token is in
# HUB_TOKEN, or the executable infra/environments/<environment>/smoke-token prints it.

# shellcheck source=scripts/lib/deployment.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/deployment.sh"

environment='' plan='' save='' apply='' artifacts='' again=''
options environment --yes --plan --save= --apply= --artifacts= --again --allow-endpoint -- "$@"
[ -z "$save" ] || [ -d "$(dirname "$save")" ] || die "--save: there is no such folder"
[ -z "$artifacts" ] || [ -d "$artifacts" ] || die "--artifacts: there is no such folder"
[ -z "$apply" ] || [ -f "$apply" ] || die "--apply $apply: there is no such file; --plan --save FILE writes one"
[ -z "$save" ] || [ -n "$plan" ] || die "--save goes with --plan"
[ -z "$apply" ] || [ -z "$plan" ] || die "--apply and --plan exclude each other"
[ -z "$apply" ] || [ -n "$artifacts" ] || die "--apply needs --artifacts: the zips that the plan was made of"
need_aws
[ -n "$plan" ] || need_terminal

open_environment "$environment"
[ ! -e "$INFRA/smoke-token" ] || [ -x "$INFRA/smoke-token" ] || die "${INFRA#"$ROOT"/}/smoke-token is not executable: chmod +x it, and commit that"
[ -n "$plan" ] || python_tools smoke aws

# The module reads target/lambda: with a path of its own, each folder of artifacts would look like new code.
out=$ROOT/target/lambda
if [ -z "$artifacts" ]; then
  run "$ROOT/scripts/build.sh" --arch "$(setting architecture)" >/dev/null
fi
# Another build must not replace the zips before they are deployed.
lock 7 "$out.lock"
if [[ -n $artifacts && ! $artifacts -ef $out ]]; then
  for file in release.json $(functions | sed 's|$|/bootstrap.zip|'); do
    [ -f "$artifacts/$file" ] || die "--artifacts: there is no $file in $artifacts: name the whole folder that scripts/build.sh wrote"
  done
  for function in $(functions); do
    rm -rf "$out/${function:?}"
    mkdir -p "$out/$function"
    cp "$artifacts/$function"/* "$out/$function/"
  done
  cp -f "$artifacts/release.json" "$out/release.json"
fi

rc=2
if [ -n "$apply" ]; then
  # A plan applies to the state that it was made of, whatever the environment is called here. It also holds its settings.
  python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("tfconfig/m-/main.tf"))' "$apply" 2>/dev/null | cmp -s - "$INFRA/main.tf" \
    || die "--apply: $apply is no plan of infra/environments/$environment with its present settings: make a new one with --plan --save"
  cp "$apply" "$work/plan"
else
  rc=0 lock=true
  # A lock would need write access to the state, which the role that plans does not have.
  [ -z "$plan" ] || lock=false
  quietly plan -input=false -detailed-exitcode -out="$work/plan" -lock="$lock" || rc=$?
fi
terraform -chdir="$INFRA" show -json "$work/plan" | python3 "$ROOT/scripts/lib/plan_summary.py" >"$work/summary" || die "the plan cannot be summarised: see above"
[ "$rc" = 0 ] || terraform -chdir="$INFRA" show -no-color "$work/plan" >"$work/plan.txt"
if [ -n "$plan" ]; then
  cat "$work/summary"
  [ -z "$save" ] || rm -f "$save"
  [ "$rc" = 0 ] || printf '\n%s\n\n~~~text\n%s\n~~~\n\n%s\n' "<details><summary>Terraform's plan</summary>" "$(cat "$work/plan.txt")" '</details>'
  [ "$rc" = 0 ] || [ -z "$save" ] || cp "$work/plan" "$save"
  exit
fi

exec 3>&1 >&2
cat "$work/summary"
if [ "$rc" = 2 ]; then
  cat "$work/plan.txt"
  [ -n "$again" ] || ! grep -q '^[*][*].* was rolled back' "$work/summary" \
    || die "not applied: this release was rolled back. Fix it, or pass --again to deploy it anyway"
  confirm "Apply this? Type yes: "
  apply_plan
fi
exec 7>&-
read_hub
url=$(hub 'it["websocket_url"]')
target=$(hub '(it["custom_domain_target"] or {}).get("name", "")')
[ -z "$target" ] || say "The DNS record of ${url#*//} must point to $target (output custom_domain_target)."
expect=(--asks-for-token)
[ "$(hub 'it["open_to_everyone"]')" = False ] || {
  expect=()
  say "This hub is OPEN TO EVERYONE: whoever knows the address can join any session, and subscribe and send to any."
}
if [[ -n ${expect[*]-} && -z ${HUB_TOKEN:-} && -e $INFRA/smoke-token ]]; then
  smoke=$("$INFRA/smoke-token") || die "deployed, but not tested: ${INFRA#"$ROOT"/}/smoke-token failed, see above"
  HUB_TOKEN=$(sed -n 1p <<<"$smoke")
  HUB_SESSION=$(sed -n 2p <<<"$smoke")
  export HUB_TOKEN HUB_SESSION
fi
# The address of the API itself: a custom domain works only once its DNS record exists.
run "$ROOT/scripts/smoke.sh" "$(hub 'it["connections_endpoint"].replace("http", "ws", 1)')" ${expect[@]+"${expect[@]}"} \
  || die "deployed, but the smoke test failed: see above; scripts/rollback.sh $environment returns to the previous release"
run "$PY" "$ROOT/scripts/lib/releases.py" tidy "$work/hub.json" \
  || say "warning: the hub is deployed and works, but its old releases were not tidied up: see above"
echo "$url" >&3
