#!/usr/bin/env bash
# Runs all tests with a set-up of its own, and says what it ran. The last line is `N passed, N failed, N skipped`.
#
#   scripts/test.sh [--long] [rust | infra | web | python | system | lint]... [filter]
#
#   --long  the tests that take minutes too
#   rust…   only these parts
#   filter  only the Rust tests whose name contains it, and what they need
#
# The system is tested over real sockets on a stack of its own (own ports, own state): one that is up is left alone. So is
# every environment in infra/environments.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

long=() parts=() filter=
for argument; do
  case $argument in
    --long)
      long=(--include-ignored)
      export PROPTEST_CASES=10000
      ;;
    -h | --help) usage && exit ;;
    rust | infra | web | python | system | lint) parts+=("$argument") ;;
    -*) die "unknown argument $argument: see --help" ;;
    *) filter=$argument ;;
  esac
done

eval "$(forget_users_settings)"
export HUB_STATE_DIR=$ROOT/target/test-stack.$$
work=$(mktemp -d)
# Where the tests write down what passes between clients and the hub.
export HUB_FRAMES=$work/frames
# shellcheck disable=SC2329 # Called by the trap.
tidy() {
  [ ! -e "$HUB_STATE_DIR" ] || "$ROOT/scripts/local.sh" down
  rm -rf "$work"
}
on_exit tidy

passed=0 failed=0 skipped=0 ran=() skips=() failures=()

count() { # NAME PASSED FAILED SKIPPED STARTED
  passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
  ran+=("$(printf '%-32s %4d passed %4d failed %4d skipped %5d s' "$1" "$2" "$3" "$4" $((SECONDS - $5)))")
}

skip() { # NAME REASON
  skipped=$((skipped + 1))
  skips+=("$1: $2")
}

# part NAME: whether that part is wanted.
part() { [ ${#parts[@]} = 0 ] || [[ " ${parts[*]} " == *" $1 "* ]]; }

# step COUNTER NAME COMMAND...: runs a command; the counter makes numbers of its exit code and of what it has said.
step() {
  local counter=$1 name=$2 start=$SECONDS rc=0 numbers
  shift 2
  say "--- $name"
  run shown "$work/log" "$@" || rc=$?
  numbers=$("$counter" "$rc")
  # shellcheck disable=SC2086 # Three words: passed, failed, skipped.
  count "$name" $numbers "$start"
  # Repeated at the end, which is all that some show of a long log.
  [ "$rc" = 0 ] || failures+=("--- the end of what failed in '$name':" "$(tail -n 15 "$work/log")")
  return "$rc"
}

# The counters. A command that fails without a failed test (it did not compile, say) has failed all the same, and so has
# one that ran no test at all.
one() { if [ "$1" = 0 ]; then echo 1 0 0; else echo 0 1 0; fi; }
rust_tests() { awk '/^test result:/ { print $4, $6, $8 }' "$work/log" | sum "$1"; }
terraform_tests() { sed -nE 's/^(Success|Failure)! ([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?.*/\2 \3 0\5/p' "$work/log" | sum "$1"; }
sum() {
  awk -v rc="$1" -v filter="$filter" '{ p += $1; f += $2; s += $3 }
    END { print p + 0, (f == 0 && (rc != 0 || (p + s == 0 && filter == ""))) ? 1 : f + 0, s + 0 }'
}

# check_by COUNTER NAME COMMAND...: a step that is left out where only some Rust tests are asked for.
check_by() {
  if [ -n "$filter" ]; then
    skip "$2" 'left out: only some Rust tests were asked for'
  else
    step "$@" || true
  fi
}
# check NAME COMMAND...: one check, which the exit code decides.
check() { check_by one "$@"; }

# In the environment of the stack, once there is one. Commands run in a shell of their own, so that it stays there.
stack_environment=
with_stack() { eval "$stack_environment" && "$@"; }

# cargo_test NAME ARGUMENTS... [-- ARGUMENTS OF THE TESTS...]
matched=0
cargo_test() {
  local name=$1 line before=$((passed + failed))
  shift
  [[ " $* " == *' -- '* ]] || set -- "$@" --
  step rust_tests "$name" with_stack cargo test --locked --no-fail-fast "$@" ${filter:+"$filter"} ${long[@]+"${long[@]}"} || true
  matched=$((matched + passed + failed - before))
  while read -r line; do
    skips+=("$line")
  done < <(sed -nE 's/^test (.*) \.\.\. ignored(, )?/\1: /p' "$work/log")
}

no_leftovers() {
  local rc=0
  "$ROOT/scripts/local.sh" down
  "$ROOT/scripts/local.sh" status || rc=$?
  ps -A -ww -o pid=,command= >"$work/processes"
  [ "$rc" = 3 ] && [ ! -e "$HUB_STATE_DIR" ] && ! grep -F "$HUB_STATE_DIR/" "$work/processes"
}

plan_is_empty() {
  TF_DATA_DIR=$HUB_STATE_DIR/terraform terraform -chdir=infra/environments/local plan -input=false -detailed-exitcode -no-color \
    -var-file="$HUB_STATE_DIR/local.tfvars.json"
}

logs_are_json() {
  "$ROOT/scripts/local.sh" logs >"$work/lines"
  "$PY" -c '
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
told = {line.get("message") for line in lines}
counted = {name for line in lines for name in line}
sys.exit(not {"connected", "sent", "disconnected"} <= told or not {"ConnectionsOpened", "Messages", "ConnectionsClosed"} <= counted)' "$work/lines"
}

# Each crate that an executable names in its panics is in its SBOM.
sboms_are_complete() {
  "$PY" -c '
import glob, json, re, sys
zips = glob.glob("target/lambda-local/*/bootstrap.zip")
for path in zips:
    folder = path.rsplit("/", 1)[0]
    listed = {(part["name"], part["version"]) for part in json.load(open(f"{folder}/sbom.cdx.json"))["components"]}
    named = re.findall(rb"/index\.crates\.io-[0-9a-f]+/([a-z0-9_-]+)-(\d[\w.+-]*)/", open(f"{folder}/bootstrap", "rb").read())
    missing = {(name.decode(), version.decode()) for name, version in named} - listed
    print(folder, len(listed), "listed,", len(set(named)), "named,", len(missing), "missing", *missing)
    if missing or not named:
        sys.exit(1)
sys.exit(not zips)'
}

up_again_changes_nothing() {
  "$ROOT/scripts/local.sh" up 2>&1 | tee "$work/up" && grep -q 'nothing has changed' "$work/up"
}

crash_is_reported_and_repaired() {
  local url rc=0
  url=$("$ROOT/scripts/local.sh" url)
  kill -KILL "$(cat "$HUB_STATE_DIR/ministack.pid")"
  "$ROOT/scripts/local.sh" status || rc=$?
  [ "$rc" = 1 ] || return
  "$ROOT/scripts/local.sh" up
  [ "$("$ROOT/scripts/local.sh" url)" = "$url" ]
}

need_linux
need_python
need_cargo
need_terraform
python_tools local smoke auth lint
python_tools_apart checkov
cd "$ROOT"
terraform_setup "$work"
copy_tree "$work" ./infra

for name in lint infra web python rust system; do
  part "$name" || skip "$name" 'left out: only other parts were asked for'
done

if part lint; then
  check 'Rust format' cargo fmt --all --check
  check 'Rust lints' cargo clippy --workspace --all-targets --locked -- -D warnings
  check 'licences, bans and sources' cargo deny --locked check -D warnings bans licenses sources
  check 'unused dependencies' cargo shear --locked
  check 'Terraform format' terraform -chdir="$work/infra" fmt -check -recursive -diff
  check 'Terraform against good practice' "$VENV/checkov/bin/checkov" --directory "$work/infra" --framework terraform --skip-download --quiet --compact
  # shellcheck disable=SC2046 # One word for each file.
  check 'shell lints' shellcheck -x $(shfmt -f scripts tests/*.sh .ci)
  check 'shell format' shfmt -d -i 2 -ci -bn scripts tests/*.sh .ci
  check 'workflows' zizmor --offline --quiet .github
  check 'spelling' typos
  check 'TOML format' taplo fmt --check
fi

initialise() { terraform -chdir="$1" init -backend=false -input=false -lockfile=readonly; }
if part infra; then
  for root in infra infra/bootstrap; do
    export TF_DATA_DIR=$work/data-${root//\//-}
    check "$root: init" initialise "$work/$root"
    check "$root: validate" terraform -chdir="$work/$root" validate
    check_by terraform_tests "$root: Terraform tests" terraform -chdir="$work/$root" test -no-color
  done
  unset TF_DATA_DIR
  check 'as a module elsewhere' "$PY" tests/module.py
  check 'a new environment' "$PY" tests/new_environment.py
  check 'summary of a plan' "$PY" tests/changes.py
  check 'check before a removal' "$PY" tests/removal.py
  check 'choice of a rollback' "$PY" tests/releases.py
  check 'workflows and what they ask' "$PY" tests/workflows.py
  check 'a release' "$PY" tests/release.py
fi

# node_tests NAME COMMAND...: the command reports in TAP, as `node --test` does.
web_tests() { sed -nE 's/^# (pass|fail|skipped) ([0-9]+)$/\2/p' "$work/log" | xargs | sum "$1"; }
node_tests() {
  local line
  step web_tests "$@" || true
  while read -r line; do
    skips+=("$line")
  done < <(sed -nE 's/^ *ok [0-9]+ - (.*) # SKIP ?(.*)/\1: \2/p' "$work/log")
}
no_node=
if [ -n "$filter" ]; then
  no_node='left out: only some Rust tests were asked for'
elif ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then
  no_node='there is no Node.js 20 or newer'
fi
packages() { step one 'client: packages' npm ci --prefix tests/web --silent --no-audit --no-fund || true; }
if part web; then
  if [ -n "$no_node" ]; then
    skip 'client' "$no_node"
  else
    packages
    check 'client: lints' npm --prefix tests/web run --silent lint
    node_tests 'client in each runtime' node tests/web/run.js
    node_tests 'programs in each runtime' node --test --test-reporter=tap --test-timeout=60000 tests/web/runtimes.test.js
    node_tests 'client as a package' node --test --test-reporter=tap --test-timeout=300000 tests/web/package.test.js tests/web/react.test.js tests/web/docs.test.js tests/web/vectors.test.js
  fi
elif { part rust || part system; } && [ -z "$no_node" ]; then
  packages
fi

# A run of unittest, whose last lines are `Ran N tests in …` and `OK (skipped=N)` or `FAILED (failures=N, errors=N, skipped=N)`.
python_tests() {
  local word='s/.*[( ]NAME=([0-9]+).*/\1/p' total failures errors skipped
  total=$(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' "$work/log" | tail -n 1)
  failures=$(tail -n 1 "$work/log" | sed -nE "${word/NAME/failures}")
  errors=$(tail -n 1 "$work/log" | sed -nE "${word/NAME/errors}")
  skipped=$(tail -n 1 "$work/log" | sed -nE "${word/NAME/skipped}")
  failures=$((failures + errors))
  echo $((total - failures - skipped)) "$failures" $((skipped)) | sum "$1"
}
if part python; then
  check_by python_tests 'Python client' scripts/lib/python_client.sh
fi

if part rust; then
  cargo_test 'unit tests' --workspace --exclude system-tests --exclude fault-tests
  if [ -z "${long[*]-}" ]; then
    skip 'fuzzing' 'takes minutes: run it with --long'
  elif ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    skip 'fuzzing' 'needs the nightly toolchain and cargo-fuzz (cargo install cargo-fuzz)'
  else
    mkdir -p fuzz/corpus
    check 'fuzzing' cargo +nightly fuzz run edge fuzz/corpus events -- -max_total_time=60
  fi
  step one 'functions build' scripts/build.sh --arch host --profile local --sbom || true
  check 'SBOMs' sboms_are_complete
  cargo_test 'fault tests' -p fault-tests
  if command -v valgrind >/dev/null; then
    check 'instruction counts' scripts/bench.sh --check
  else
    skip 'instruction counts' 'valgrind is missing: install it (Debian: apt-get install valgrind)'
  fi
fi

if part system; then
  if step one 'local stack comes up' scripts/local.sh up; then
    stack_environment=$(scripts/local.sh env)
    check 'plan after apply is empty' with_stack plan_is_empty
    check 'one function, one event' with_stack "$PY" tests/invoke.py
    cargo_test 'system tests' -p system-tests -- --skip auth::
    check_by python_tests 'Python client on the stack' with_stack scripts/lib/python_client.sh WithoutTokens
    if [ -n "$no_node" ]; then
      skip 'page in a browser' "$no_node"
      skip 'example of the client' "$no_node"
      skip 'damaged frames' "$no_node"
      skip 'nothing missed' "$no_node"
    else
      node_tests 'page in a browser' with_stack node --test --test-reporter=tap --test-timeout=400000 tests/web/page.test.js
      node_tests 'example of the client' with_stack node --test --test-reporter=tap --test-timeout=120000 tests/web/example.test.js
      node_tests 'damaged frames' with_stack node --test --test-reporter=tap --test-timeout=120000 tests/web/damaged.test.js
      node_tests 'nothing missed' with_stack node --test --test-reporter=tap --test-timeout=400000 tests/web/nothing-missed.test.js
    fi
    check 'log lines' logs_are_json
    check 'up again changes nothing' up_again_changes_nothing
    check 'the emulator and requests that come twice' with_stack "$PY" tests/emulator.py
    check 'rollback' with_stack "$PY" tests/rollback.py target/lambda-local/disconnect/bootstrap.zip
    check 'the module, replaced and depended on' with_stack "$PY" tests/module.py live
    check 'pipeline, with its permissions' with_stack tests/pipeline.sh target/lambda-local
    check 'a crash is reported and repaired' crash_is_reported_and_repaired
  else
    for name in 'plan after apply is empty' 'one function, one event' 'system tests' 'Python client on the stack' 'page in a browser' 'example of the client' 'damaged frames' 'nothing missed' 'log lines' 'up again changes nothing' 'the emulator and requests that come twice' 'rollback' 'the module, replaced and depended on' 'pipeline, with its permissions' 'a crash is reported and repaired'; do
      skip "$name" 'the local stack did not come up'
    done
  fi
  if [[ -n $filter && $filter != *auth* ]]; then
    skip 'system tests, with tokens' 'left out: only some Rust tests were asked for'
  elif step one 'local stack asks for tokens' scripts/local.sh up --auth; then
    stack_environment=$(scripts/local.sh env)
    check 'plan after apply is empty, with tokens' with_stack plan_is_empty
    # They are marked as ignored, since they need this stack.
    long=(--include-ignored)
    cargo_test 'system tests, with tokens' -p system-tests -- "${filter:-auth::}"
    check 'a token is explained' with_stack "$PY" tests/explain.py
    check_by python_tests 'Python client with tokens' with_stack scripts/lib/python_client.sh WithTokens
    if [ -n "$no_node" ]; then
      skip 'clients whose tokens end' "$no_node"
    else
      node_tests 'clients whose tokens end' with_stack node --test --test-reporter=tap --test-timeout=120000 tests/web/tokens.test.js
    fi
    check 'tokens can be switched off again' scripts/local.sh up
  else
    for name in 'plan after apply is empty, with tokens' 'system tests, with tokens' 'a token is explained' 'Python client with tokens' 'clients whose tokens end' 'tokens can be switched off again'; do
      skip "$name" 'the local stack did not come up'
    done
  fi
  step one 'down leaves nothing' no_leftovers || true
fi

if part rust || part web || part system; then
  if [ -n "$no_node" ]; then
    skip 'protocol as documented' "$no_node"
  else
    node_tests 'protocol as documented' node --test --test-reporter=tap tests/web/protocol.test.js
  fi
fi

[ -z "$filter" ] || [ "$matched" -gt 0 ] || {
  say "no Rust test has $filter in its name"
  failed=$((failed + 1))
}
[ ${#failures[@]} = 0 ] || printf '%s\n' '' "${failures[@]}"
printf '%s\n' '' "${ran[@]}"
[ ${#skips[@]} = 0 ] || printf 'skipped: %s\n' "${skips[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
