#!/usr/bin/env bash
# Runs the whole hub on this machine: MiniStack in place of AWS, with the same Terraform and the same functions.
#
#   scripts/local.sh up [--release] [--auth]   start it, or bring a running one up to date, and print its addresses
#   scripts/local.sh down                      stop it and remove everything it has written
#   scripts/local.sh status                    print what runs (exit code 0: all of it, 1: crashed or half started, 3: nothing)
#   scripts/local.sh logs [function] [--follow]  print the functions' log lines (JSON), oldest first
#   scripts/local.sh open [session]            open the page in a browser, as that session (default: demo)
#   scripts/local.sh client <session> [--room SESSION]...  connect as that session, and subscribe to those: each line of input is
#                                              sent, and each frame that arrives is printed
#   scripts/local.sh url                       print the WebSocket address and nothing else
#   scripts/local.sh output NAME               print one of the module's outputs (infra/outputs.tf)
#   scripts/local.sh token --session NAME      print a token for a stack that is up with --auth (see token --help)
#   scripts/local.sh env                       print the settings with which a shell works on the stack: eval "$(scripts/local.sh env)"
#
#   --release  run the executables that AWS gets (slow to build) instead of quickly built ones
#   --auth     admit only connections with a token; the issuer runs on this machine
#
# It writes in one folder, .local/ (HUB_STATE_DIR names another, for a second stack beside the first), and never reaches AWS.

# shellcheck disable=SC2154 # read_hub sets hub_*.
# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

INFRA=$ROOT/infra/environments/local
state=${HUB_STATE_DIR:-$ROOT/.local}
[[ $state == /* ]] || state=$PWD/$state
# One folder has one name, by which its processes are known.
state=$(realpath -m -- "$state" 2>/dev/null || printf %s "$state")
region=$(sed -n 's/.*"region": *"\(.*\)".*/\1/p' "$INFRA/environment.json")
aws=(AWS_REGION="$region" AWS_DEFAULT_REGION="$region" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null)

# A stack is one process, scripts/lib/stack.py, with the functions that it starts. All have this in their environment. A pid that
# the system has since given to another program lacks it.
mark=HUB_STACK=$state

started() { [ -e "$state/pid" ]; }

running() { started && grep -qsxzF "$mark" "/proc/$(<"$state/pid")/environ"; }

read_ports() { read -r ministack page issuer <"$state/ports"; }

# healthy SECONDS: whether MiniStack answers in that time. Its answer has its pid, since another stack may have taken the port.
healthy() {
  # shellcheck disable=SC2016 # The inner shell expands it.
  read_ports && timeout --foreground "$1" bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET /_ministack/health HTTP/1.0\r\n\r\n" >&3 \
    && grep -q "\"edition\": \"$1\"" <&3' "$ministack" "$(<"$state/pid")" 2>/dev/null
}

start() {
  local tries
  say "starting MiniStack"
  mkdir -p "$state/tmp"
  touch "$state/ports"
  # The functions inherit this environment, so it holds none of the user's settings.
  env -i "$mark" "${aws[@]}" PATH="$PATH" LANG=C.UTF-8 setsid "$PY" "$ROOT/scripts/lib/stack.py" </dev/null >>"$state/log" 2>&1 5>&- &
  echo $! >"$state/pid"
  for ((tries = 0; tries < 150; tries++)); do
    sleep 0.2
    kill -0 $! 2>/dev/null || break
    ! healthy 5 || return 0
  done
  tail -n 30 "$state/log" >&2
  die "MiniStack did not start: see the end of its log above"
}

# stop: ends the process and all that it has started.
stop() {
  local signal tries pids
  for signal in TERM KILL; do
    for ((tries = 0; tries < 50; tries++)); do
      # grep fails where it may not read an environment, that of another user's process.
      pids=$(grep -lsxzF "$mark" /proc/[0-9]*/environ | cut -d / -f 3 | xargs) || true
      [ -n "$pids" ] || return 0
      # shellcheck disable=SC2086 # One word a process.
      ((tries > 0)) || kill "-$signal" $pids 2>/dev/null || true
      sleep 0.1
    done
  done
  die "process $pids does not end: end it by hand, and run this again"
}

# discard: stops everything and removes the folder, in one step for a command that waits for its lock.
discard() {
  stop
  mv "$state" "$state.removed.$$"
  rm -rf "$state.removed.$$"
}

# claim: takes the folder, until this command and those that it runs have ended. The lock also marks the folder as a stack's: no
# other folder is ever removed.
claim() {
  local files
  files=$(ls -A "$state" 2>/dev/null) || true
  [ -z "$files" ] || grep -qx hub.lock <<<"$files" \
    || die "$state is in use for something else: name an empty or a new folder with HUB_STATE_DIR"
  lock 5 "$state/hub.lock"
}

# read_hub: sets hub_NAME for each of the module's outputs: a text as it is, and anything else as JSON.
read_hub() {
  eval "$(python3 -X utf8 -c '
import json, shlex, sys
for name, value in json.load(open(sys.argv[1])).items():
    print(f"hub_{name}=" + shlex.quote(value if isinstance(value, str) else "" if value is None else json.dumps(value)))' "$state/outputs.json")"
}

need_up() {
  started || die "the local stack is not up: run scripts/local.sh up"
  running || die "MiniStack has died (its log is $state/log): run scripts/local.sh up, which starts afresh"
  [ -e "$state/outputs.json" ] || die "the local stack is not ready yet: wait for scripts/local.sh up, or run it again"
  read_ports
  read_hub
}

# encoded TEXT: prints it as it stands in a query.
encoded() { python3 -X utf8 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"; }

# page_of SESSION: prints the address of the page; the session is encoded.
page_of() { echo "http://127.0.0.1:$page/page/?url=$hub_websocket_url&session=$1"; }

addresses() {
  printf '%-12s %s\n' page "$(page_of demo)" websocket "$hub_websocket_url" connections "$hub_connections_endpoint"
  [ -z "$hub_authorizer_arn" ] || printf '%-12s %s\n' issuer "http://127.0.0.1:$issuer"
}

# settings: prints the commands that lead a shell to the stack's MiniStack and to no other place.
settings() {
  forget_users_settings
  printf 'export %q\n' "${aws[@]}" "AWS_ENDPOINT_URL=http://127.0.0.1:$ministack" \
    "NO_PROXY=127.0.0.1${NO_PROXY:+,$NO_PROXY}" "no_proxy=127.0.0.1${no_proxy:+,$no_proxy}"
}

tf() {
  run terraform -chdir="$INFRA" "$@" >"$state/terraform.log" 2>&1 || {
    cat "$state/terraform.log" >&2
    die "Terraform failed: see above"
  }
}

# apply ZIPS ISSUER
apply() {
  local variables=(-var "architecture=$(host_arch)" -var "artifacts_dir=$1" ${2:+-var "issuer=$2"}) inputs
  # The state is among what an apply reads, so that a `terraform destroy` is noticed.
  inputs=("$ROOT"/infra/*.tf "$ROOT"/infra/modules/*/* "$INFRA"/* "$1/release.json" "$state/terraform.tfstate")
  if [ "$(cat "${inputs[@]}" 2>/dev/null | sha256sum) ${variables[*]}" = "$(cat "$state/applied" 2>/dev/null)" ]; then
    say "nothing has changed"
    return
  fi
  say "applying the Terraform (the first time takes half a minute)"
  eval "$(settings)"
  export TF_DATA_DIR=$state/terraform # All stacks share the environment's folder.
  tf init -input=false -no-color -lockfile=readonly "-backend-config=path=$state/terraform.tfstate"
  tf apply -input=false -no-color -auto-approve "${variables[@]}"
  run terraform -chdir="$INFRA" output -json hub >"$state/outputs.new"
  mv "$state/outputs.new" "$state/outputs.json"
  echo "$(cat "${inputs[@]}" | sha256sum) ${variables[*]}" >"$state/applied"
}

up() {
  local release='' auth='' profile=local zips=$ROOT/target/lambda-local
  options --release --auth -- "$@"
  [ -z "$release" ] || profile=release zips=$ROOT/target/lambda
  eval "$(forget_users_settings)"
  need_linux
  need_cargo
  need_disk 3
  terraform_setup
  python_tools local smoke auth
  claim
  if started && ! healthy 30; then
    say "MiniStack has died, and its data is lost: starting afresh"
    tail -n 5 "$state/log" >&2
    stop
    find "$state" -mindepth 1 -maxdepth 1 ! -name hub.lock ! -name ports -exec rm -rf {} + # The address stays.
  fi
  # A stack that does not come up leaves nothing behind; one that was up before stays as it is.
  [ -e "$state/outputs.json" ] || on_exit discard
  run "$ROOT/scripts/build.sh" --arch host --profile "$profile" >/dev/null || exit
  started || start
  read_ports
  if [ -z "$auth" ] && [ -e "$state/outputs.json" ] && read_hub && [ -n "$hub_authorizer_arn" ]; then
    say "the hub no longer asks for tokens: run scripts/local.sh up --auth if it should"
  fi
  apply "$zips" "${auth:+http://127.0.0.1:$issuer}"
  on_exit :
  read_hub
  addresses
}

down() {
  options -- "$@"
  [ -e "$state/hub.lock" ] || { say "not running" && return; }
  claim
  trap '' INT TERM HUP
  discard
}

status() {
  local stack=running hub=running
  options -- "$@"
  started || { echo "not running" && exit 3; }
  healthy 5 || stack='does not answer: run scripts/local.sh up, which starts afresh'
  running || stack="crashed: see $state/log, then run scripts/local.sh up"
  [ -e "$state/outputs.json" ] || hub='not set up yet'
  printf '%-12s %s\n' MiniStack "$stack" hub "$hub"
  [ "$stack$hub" = runningrunning ] || exit 1
  read_hub
  addresses
}

logs() {
  need_up
  eval "$(settings)"
  exec "$PY" -X utf8 "$ROOT/scripts/lib/logs.py" "$state/outputs.json" "$@"
}

open() {
  local address
  [ $# -lt 2 ] || die "too many arguments for open: see --help"
  need_up
  address=$(page_of "$(encoded "${1:-demo}")")
  echo "$address"
  "$PY" -c 'import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))' "$address" \
    || say "no browser can be started from here: open that address in one"
}

client() {
  [[ ${1:--} != -* ]] || die "client takes a session: scripts/local.sh client alice --room room-7"
  need_up
  export HUB_TOKEN='' PYTHONPATH=$ROOT/clients/python/src
  [ -z "$hub_authorizer_arn" ] || HUB_TOKEN=$(token --session "$1" --send-to '*' --subscribe-to '*')
  exec "$PY" -X utf8 -m websocket_hub "$hub_websocket_url?session_id=$(encoded "$1")" "${@:2}"
}

output() {
  local name=hub_${1:-}
  [ $# -lt 2 ] || die "too many arguments for output: see --help"
  need_up
  [[ $name =~ ^hub_[a-z_]+$ && -n ${!name+set} ]] || die "output takes one of these names: $(compgen -v hub_ | sed 's/^hub_//' | xargs | sed 's/ /, /g')"
  printf '%s\n' "${!name}"
}

token() {
  if [[ " $* " == *' --help '* ]]; then
    python_tools auth
  else
    need_up
    [ -n "$hub_authorizer_arn" ] || die "this stack asks for no token: run scripts/local.sh up --auth"
  fi
  exec "$PY" -X utf8 "$ROOT/scripts/lib/issuer.py" token "$state/issuer.key" "http://127.0.0.1:${issuer:-}" "$@"
}

command=${1:-help}
shift || true
[[ $command == token || ! ${1:-} =~ ^(-h|--help)$ ]] || command=help
case $command in
  help | -h | --help) usage ;;
  up | down | status | logs | open | client | output | token) "$command" "$@" ;;
  url)
    options -- "$@"
    output websocket_url
    ;;
  env)
    options -- "$@"
    need_up
    settings
    printf 'export %q\n' "TABLE_NAME=$hub_table_name" "HUB_URL=$hub_websocket_url" "WEBSOCKET_ENDPOINT=$hub_connections_endpoint"
    ;;
  *) die "unknown command $command: see --help" ;;
esac
