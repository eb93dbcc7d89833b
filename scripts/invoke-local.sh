#!/usr/bin/env bash
# Runs one function on one event against the local stack, with cargo-lambda, and prints its answer.
#
#   scripts/invoke-local.sh <function> [event.json]      (default: events/<function>.json)
#
# Fails when the function does, and when its answer is a refusal (a statusCode from 400, or an error frame). The
# function is the quick build that the stack runs, brought up to date first; it runs with the rights of an administrator.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  '') die "which function? One of: $(functions | xargs)" ;;
esac
[ $# -le 2 ] || die "too many arguments: see --help"
function=$1
event=${2:-$ROOT/events/$function.json}
[[ " $(functions | xargs) " == *" $function "* ]] || die "there is no function $function: take one of $(functions | xargs)"
[ -f "$event" ] || die "there is no file $event: name an event as the second argument"
need_python
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$event" 2>/dev/null || die "$event is not JSON"

settings=$("$ROOT/scripts/local.sh" env) || exit
eval "$settings"
need_cargo
python_tools local
run "$ROOT/scripts/build.sh" --arch host --profile local >/dev/null

work=$(mktemp -d)
pids=()
# shellcheck disable=SC2329 # Called by the trap.
tidy() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
on_exit tidy

# serve PORT COMMAND...: starts a server and waits until it answers.
serve() {
  local port=$1 tries
  shift
  "$@" </dev/null >>"$work/log" 2>&1 &
  pids+=($!)
  for ((tries = 0; tries < 100; tries++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    sleep 0.1
  done
  cat "$work/log" >&2
  die "$1 does not answer on port $port: see above"
}

cd "$ROOT"
emulator=$(stack port 9000)
where=(--invoke-address 127.0.0.1 --invoke-port "$emulator")
serve "$emulator" cargo lambda watch "${where[@]}" --only-lambda-apis --quiet
proxy=$(stack port 9001)
serve "$proxy" "$PY" "$ROOT/scripts/lib/runtime_proxy.py" "$proxy" "http://127.0.0.1:$emulator/.rt/$function"

AWS_LAMBDA_RUNTIME_API=http://127.0.0.1:$proxy AWS_LAMBDA_FUNCTION_NAME=$function AWS_LAMBDA_FUNCTION_VERSION=1 \
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256 "$ROOT/target/lambda-local/$function/bootstrap" </dev/null >>"$work/log" 2>&1 &
bootstrap=$!
pids+=("$bootstrap")
cargo lambda invoke "$function" "${where[@]}" --data-file "$event" </dev/null >"$work/answer" 2>>"$work/log" &
invoke=$!
pids+=("$invoke")
# A function that cannot start never answers.
while kill -0 "$invoke" 2>/dev/null && kill -0 "$bootstrap" 2>/dev/null; do sleep 0.05; done
kill -0 "$bootstrap" 2>/dev/null || kill "$invoke" 2>/dev/null || true
rc=0
wait "$invoke" || rc=$?
cat "$work/answer"
if [ "$rc" = 0 ]; then
  "$PY" -c '
import json, sys
answer = json.load(open(sys.argv[1]))
if isinstance(answer, dict):
    body = answer.get("body") or "{}"
    frame = json.loads(body) if body.startswith("{") else {}
    sys.exit(answer.get("statusCode", 200) >= 400 or "error" in (answer.get("type"), frame.get("type")))' "$work/answer" || rc=$?
fi
[ "$rc" = 0 ] || {
  cat "$work/log" >&2
  die "$function refused the event or failed: its answer and its log are above"
}
