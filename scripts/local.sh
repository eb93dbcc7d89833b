#!/usr/bin/env bash
# Runs the whole hub on this machine: MiniStack in place of AWS, with the same Terraform and the same functions.
#
#   scripts/local.sh up [--release] [--auth]   start it, or bring a running one up to date, and print its addresses
#   scripts/local.sh down                      stop it and remove everything it has written
#   scripts/local.sh status                    say what runs (exit code 0: all of it, 1: crashed or half started, 3: nothing)
#   scripts/local.sh logs [function] [--follow]  print the functions' log lines (JSON), oldest first
#   scripts/local.sh open [session]            open the page in a browser, as that session (default: demo)
#   scripts/local.sh client <session> [--room SESSION]...  connect as that session, and subscribe to those: each line of input is
#                                              sent, each frame that comes is printed
#   scripts/local.sh url                       print the WebSocket address and nothing else
#   scripts/local.sh output NAME               print one of the module's outputs (infra/outputs.tf)
#   scripts/local.sh token --session NAME      print a token for a stack that is up with --auth (see token --help)
#   scripts/local.sh env                       print what a shell needs to work with the stack: eval "$(scripts/local.sh env)"
#
#   --release  run the executables that AWS gets (slow to build) instead of quickly built ones
#   --auth     admit only connections with a token, from an issuer that runs on this machine too
#
# Everything it writes is in one folder, .local/ (HUB_STATE_DIR names another, for a second stack beside the first).
# Nothing ever reaches AWS: the stack has an environment of its own.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

STATE=${HUB_STATE_DIR:-$ROOT/.local}
[[ $STATE == /* ]] || STATE=$PWD/$STATE
STATE=${STATE%/}
LOCK=$STATE/hub.lock # also marks the folder as one of this script's, which `down` may remove
INFRA=$ROOT/infra/environments/local
# Each concurrent invocation is a process, and above this number it is refused, as AWS does above 1000. A cold start
# takes some 50 ms of a processor: with more at once, a small machine would start them all and finish none in time.
CONCURRENCY=$((50 * $(getconf _NPROCESSORS_ONLN)))

recall() { cat "$STATE/$1" 2>/dev/null; }

# processes NAME: the live pids of what was started under that name, and of what that started in turn. Every command
# line among them holds the state folder, so that a pid which has meanwhile gone to a stranger does not count.
processes() {
  local leader
  leader=$(recall "$1.pid") || return 0
  ps -A -ww -o pid=,pgid=,stat=,command= | awk -v leader="$leader" -v state="$STATE/" \
    '$2 == leader && $3 !~ /^Z/ && index($0, state) { print $1 }'
}

alive() {
  local leader
  leader=$(recall "$1.pid") && [[ " $(processes "$1" | xargs) " == *" $leader "* ]]
}

stop() {
  local signal tries pids
  for signal in TERM KILL; do
    for ((tries = 0; tries < 50; tries++)); do
      pids=$(processes "$1")
      [ -n "$pids" ] || break 2
      # shellcheck disable=SC2086 # One word a pid.
      ((tries)) || kill -"$signal" $pids 2>/dev/null || true
      sleep 0.1
    done
  done
  [ -z "$pids" ] || die "process $pids does not end: end it by hand, and run this again"
  rm -f "$STATE/$1.pid"
}

endpoint() { printf 'http://127.0.0.1:%s' "$(recall ministack.port)"; }

healthy() { alive ministack && stack health "$(endpoint)" "$STATE"; }

# Stops everything and removes the folder, in one step for whoever waits for its lock.
discard() {
  stop page
  stop issuer
  stop ministack
  [ ! -e "$LOCK" ] || mv "$STATE" "$STATE.removed.$$"
  rm -rf "$STATE.removed.$$"
}

# Takes the state folder for this run.
claim() {
  [ -e "$LOCK" ] || [ -z "$(ls -A "$STATE" 2>/dev/null)" ] \
    || die "$STATE is in use for something else: name an empty or a new folder with HUB_STATE_DIR"
  lock 9 "$LOCK"
}

need_up() {
  [ -e "$STATE/ministack.pid" ] || die "the local stack is not up: run scripts/local.sh up"
  alive ministack || die "MiniStack has died (its log is $STATE/ministack.log): run scripts/local.sh up, which starts afresh"
  [ -e "$STATE/env" ] || die "the local stack is not ready yet: wait for scripts/local.sh up, or run it again"
}

# The exports of the stack. What the user has set for AWS and Terraform must not leak into it, nor lead out of it.
exports() {
  cat <<ENV
export AWS_ENDPOINT_URL=$(endpoint)
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=$REGION AWS_DEFAULT_REGION=$REGION
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
export NO_PROXY="127.0.0.1\${NO_PROXY:+,\$NO_PROXY}" no_proxy="127.0.0.1\${no_proxy:+,\$no_proxy}"
ENV
  printf 'export TF_PLUGIN_CACHE_DIR=%q\n' "$TF_PLUGIN_CACHE_DIR"
  if [ -n "${TF_CLI_CONFIG_FILE:-}" ]; then
    printf 'export %s=%q\n' TF_CLI_CONFIG_FILE "$TF_CLI_CONFIG_FILE"
  else
    echo 'unset TF_CLI_CONFIG_FILE'
  fi
}

start_ministack() {
  local port tries
  port=$(stack port "$(recall ministack.port || echo 4566)")
  say "starting MiniStack on port $port"
  mkdir -p "$STATE/tmp"
  echo "$port" >"$STATE/ministack.port"
  # An environment of its own, which the functions inherit. TMPDIR keeps all files in one place; the rest keeps
  # MiniStack from opening other ports and from tidying up containers of the user's.
  (cd "$STATE" && env -i PATH="$PATH" HOME="$STATE/tmp" TMPDIR="$STATE/tmp" STATE_DIR="$STATE/tmp" S3_DATA_DIR="$STATE/tmp" LANG=C.UTF-8 \
    BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" MINISTACK_REGION="$REGION" MINISTACK_EDITION="$STATE" \
    AUTH=true LAMBDA_ACCOUNT_CONCURRENCY="$CONCURRENCY" \
    AWS_ENDPOINT_URL="http://127.0.0.1:$port" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true \
    IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 DOCKER_HOST="unix://$STATE/none" \
    "$PY" "$ROOT/scripts/lib/stack.py" spawn ministack "$PY" -X "state=$STATE/" "$ROOT/scripts/lib/emulator.py")
  for ((tries = 0; tries < 300; tries++)); do
    healthy && return
    alive ministack || break
    sleep 0.1
  done
  tail -n 30 "$STATE/ministack.log" >&2
  die "MiniStack did not start: see the end of its log above"
}

# Whatever the outcome of an apply depends on; its own state too, so that a `terraform destroy` is noticed.
fingerprint() {
  find "$ROOT"/infra/*.tf "$ROOT/infra/modules" "$INFRA" -name .terraform -prune -o -type f -print0 | LC_ALL=C sort -z \
    | xargs -0 cksum "$1"/release.json "$1"/*/bootstrap.zip "$STATE/local.tfvars.json" "$STATE/terraform.tfstate" 2>/dev/null | cksum
}

apply() {
  local zips=$1 issuer=null
  [ ! -e "$STATE/issuer.pid" ] || issuer="\"$(issuer)\""
  printf '{ "architecture": "%s", "artifacts_dir": "%s", "issuer": %s }\n' "$(host_arch)" "$zips" "$issuer" >"$STATE/local.tfvars.json"
  if [ "$(recall applied)" = "$(fingerprint "$zips")" ]; then
    say "nothing has changed"
    return
  fi
  say "applying the Terraform (the first time takes half a minute)"
  terraform_setup "$STATE"
  eval "$(exports)"
  # A second stack has a state of its own, and the folder of the environment is shared.
  export TF_DATA_DIR=$STATE/terraform
  {
    tf init -input=false -no-color -lockfile=readonly -backend-config="path=$STATE/terraform.tfstate" \
      && tf apply -input=false -no-color -auto-approve -var-file="$STATE/local.tfvars.json"
  } >"$STATE/terraform.log" 2>&1 || {
    cat "$STATE/terraform.log" >&2
    die "Terraform failed: see above"
  }
  tf output -json hub >"$STATE/outputs.json"
  {
    exports
    "$PY" -c '
import json, sys
hub = json.load(open(sys.argv[1]))
print("export TABLE_NAME=" + hub["table_name"])
print("export HUB_URL=" + hub["websocket_url"])
print("export WEBSOCKET_ENDPOINT=" + hub["connections_endpoint"])' "$STATE/outputs.json"
  } >"$STATE/env.new"
  mv "$STATE/env.new" "$STATE/env"
  fingerprint "$zips" >"$STATE/applied"
}

# serve NAME PORT ARGUMENTS...: has Python serve something under that name, on that port or on another one that is free.
serve() {
  local name=$1 port tries
  alive "$name" && return
  stop "$name"
  port=$(stack port "$(recall "$name.port" || echo "$2")")
  echo "$port" >"$STATE/$name.port"
  (cd "$STATE" && stack spawn "$name" "$PY" -X "state=$STATE/" "${@:3}" "$port")
  for ((tries = 0; tries < 100; tries++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    sleep 0.1
  done
  cat "$STATE/$name.log" >&2
  die "the $name could not be served: see above"
}

issuer() { printf 'http://127.0.0.1:%s' "$(recall issuer.port)"; }

url() { sed -n 's/^export HUB_URL=//p' "$STATE/env"; }

# encoded NAME: a session as it stands in an address.
encoded() {
  local LC_ALL=C
  [[ $1 =~ ^[!-~]{1,128}$ && $1 != *[*\"\\]* ]] || die 'a session is 1 to 128 visible ASCII characters, and none of them an asterisk, a quotation mark or a backslash'
  "$PY" -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"
}

page() {
  local session
  session=$(encoded "$1") || exit
  printf 'http://127.0.0.1:%s/page/?url=%s&session=%s' "$(recall page.port)" "$(url)" "$session"
}

addresses() {
  printf '%-12s %s\n' \
    page "$(page demo)" \
    websocket "$(url)" \
    connections "$(sed -n 's/^export WEBSOCKET_ENDPOINT=//p' "$STATE/env")"
  [ ! -e "$STATE/issuer.pid" ] || printf '%-12s %s\n' issuer "$(issuer)"
}

up() {
  local build=(--arch host --profile local) zips=$ROOT/target/lambda-local auth='' argument
  for argument; do
    case $argument in
      --release) build=(--arch host) zips=$ROOT/target/lambda ;;
      --auth) auth=auth ;;
      *) die "unknown argument $argument: see --help" ;;
    esac
  done
  eval "$(forget_users_settings)"
  need_linux
  need_python
  need_cargo
  need_terraform
  REGION=$(setting region)
  claim
  # A stack that does not come up at all leaves nothing behind; one that was up before stays as it is.
  [ -e "$STATE/env" ] || on_exit discard
  # shellcheck disable=SC2086 # No word, or one.
  python_tools local smoke $auth
  if [ -e "$STATE/ministack.pid" ] && ! healthy; then
    say "MiniStack has died, and all it held with it: starting afresh"
    tail -n 5 "$STATE/ministack.log" >&2
    on_exit discard
    stop ministack
    rm -rf "$STATE"/{tmp,env,applied,outputs.json,terraform.tfstate*,ministack.log}
  fi
  run "$ROOT/scripts/build.sh" "${build[@]}" >/dev/null
  [ -e "$STATE/ministack.pid" ] || start_ministack
  if [ -n "$auth" ]; then
    serve issuer 8081 "$ROOT/scripts/lib/issuer.py" serve "$STATE/issuer.key"
  else
    [ ! -e "$STATE/issuer.pid" ] || say "the hub asks for tokens no longer: up --auth would keep it so"
    stop issuer
    rm -f "$STATE"/issuer.key*
  fi
  apply "$zips"
  serve page 8080 "$ROOT/scripts/lib/page.py" "$ROOT/web"
  on_exit :
  addresses
}

status() {
  [ -e "$LOCK" ] || {
    echo "not running"
    exit 3
  }
  local rc=0
  report() {
    printf '%-12s %s\n' "$1" "$2"
    [ "$2" = running ] || rc=1
  }
  if ! alive ministack; then
    report ministack "$([ -e "$STATE/ministack.pid" ] && echo "crashed: see $STATE/ministack.log, then run scripts/local.sh up" || echo 'not started yet')"
  else
    report ministack "$(healthy && echo running || echo 'does not answer: run scripts/local.sh up, which starts afresh')"
  fi
  [ "$rc" != 0 ] || report hub "$([ -e "$STATE/env" ] && echo running || echo 'not set up yet')"
  [ ! -e "$STATE/issuer.pid" ] || report issuer "$(alive issuer && echo running || echo 'stopped: run scripts/local.sh up --auth')"
  report page "$(alive page && echo running || echo 'stopped: run scripts/local.sh up')"
  [ "$rc" != 0 ] || addresses
  exit "$rc"
}

logs() {
  local follow='' function='' argument groups
  for argument; do
    case $argument in
      --follow | -f) follow=yes ;;
      -*) die "unknown argument $argument: see --help" ;;
      *) function=$argument ;;
    esac
  done
  need_up
  groups=$("$PY" -c '
import json, sys
groups = json.load(open(sys.argv[1]))["log_group_names"]
if sys.argv[2] and sys.argv[2] not in groups:
    sys.exit("no such function: take one of " + ", ".join(groups))
print(*([groups[sys.argv[2]]] if sys.argv[2] else groups.values()))' "$STATE/outputs.json" "$function")
  eval "$(forget_users_settings)"
  eval "$(recall env)"
  # shellcheck disable=SC2086 # One word a group.
  exec "$PY" "$ROOT/scripts/lib/stack.py" logs "$follow" $groups
}

token() {
  [[ " $* " != *' --help '* ]] || {
    python_tools auth
    exec "$PY" "$ROOT/scripts/lib/issuer.py" token '' '' --help
  }
  need_up
  [ -e "$STATE/issuer.pid" ] || die "this stack asks for no token: run scripts/local.sh up --auth"
  alive issuer || die "the issuer has died (its log is $STATE/issuer.log): run scripts/local.sh up --auth"
  "$PY" "$ROOT/scripts/lib/issuer.py" token "$STATE/issuer.key" "$(issuer)" "$@"
}

open_page() {
  local session=${1:-demo} page opener
  need_up
  alive page || die "the page is not served: run scripts/local.sh up"
  page=$(page "$session") || exit
  echo "$page"
  for opener in xdg-open open wslview; do
    if command -v "$opener" >/dev/null && "$opener" "$page" >/dev/null 2>&1; then
      return
    fi
  done
  say "no browser can be started from here: open that address in one"
}

client() {
  local token='' session
  [[ $# -ge 1 && $1 != -* ]] || die "client takes a session: scripts/local.sh client alice --room room-7"
  need_up
  session=$(encoded "$1") || exit
  [ ! -e "$STATE/issuer.pid" ] || token=$(token --session "$1" --send-to '*' --subscribe-to '*')
  HUB_TOKEN=$token PYTHONPATH=$ROOT/clients/python/src exec "$PY" -X utf8 -m websocket_hub "$(url)?session_id=$session" "${@:2}"
}

output() {
  [ $# = 1 ] || die "output takes one name: scripts/local.sh output publish_arn"
  need_up
  "$PY" -c '
import json, sys
hub = json.load(open(sys.argv[1]))
if sys.argv[2] not in hub:
    sys.exit("there is no such output: take one of " + ", ".join(sorted(hub)))
value = hub[sys.argv[2]]
print(value if isinstance(value, str) else "" if value is None else json.dumps(value))' "$STATE/outputs.json" "$1"
}

command=${1:-help}
shift || true
[[ $command == token || ! ${1:-} =~ ^(-h|--help)$ ]] || command=help
case $command in
  up) up "$@" ;;
  down)
    if [ -e "$LOCK" ]; then
      need_python
      claim
      on_exit discard
    else
      say "not running"
    fi
    ;;
  status) status ;;
  logs) logs "$@" ;;
  open) open_page "$@" ;;
  client) client "$@" ;;
  url) need_up && url ;;
  output) output "$@" ;;
  token) token "$@" ;;
  env) need_up && forget_users_settings && recall env ;;
  help | -h | --help) usage ;;
  *) die "unknown command $command: see --help" ;;
esac
