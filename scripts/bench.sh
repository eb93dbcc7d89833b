#!/usr/bin/env bash
# Measures the functions beside a floor (a minimal program that does the same), the Python proof of concept and the same
# in Node.js, in one run, and prints a table with ratios. Takes some 15 minutes after the builds.
#
#   scripts/bench.sh [--only PART[,PART...]] [--functions-dir DIR] [--env NAME=VALUE] [--fanout N] [--rounds N] [--docs]
#   scripts/bench.sh --only scale [--recipients N] [--functions-dir DIR] [--fanout N] [--docs]
#   scripts/bench.sh --check | --accept
#
#   --only           instructions, times, tables, memory, fan-out, size, concurrency; or scale, which nothing else includes:
#                    one message to very many, with and without workers. Takes root, and some 20 minutes
#   --recipients     the connections of that message (default: 100000; one is sent to ten times as many)
#   --functions-dir  other builds of the functions, DIR/<function>/bootstrap (default: target/lambda, built first)
#   --env            a variable for the functions of this project, to see what it changes
#   --fanout         FANOUT_CONCURRENCY of all programs (default: 64)
#   --rounds         how many times each timing is repeated; the shortest counts (default: 10)
#   --docs           writes the results into docs/performance.md, docs/costs.md and docs/images
#   --check          only counts the instructions of the quick builds in target/lambda-local, and fails if there are
#                    a fifth more than bench/baseline.json accepts
#   --accept         stores those counts as the new baseline
#
# Results are written as JSON to target/bench/results.json, and callgrind's files beside it: callgrind_annotate reads
# them. Times mean something only on a machine that does nothing else; instructions always do.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

out=$ROOT/target/bench
functions_dir='' only='' recipients='' env='' fanout=64 rounds=10 docs='' check='' accept=''
options --only= --recipients= --functions-dir= --env= --fanout= --rounds= --docs --check --accept -- "$@"
functions=${functions_dir:+$(cd "$functions_dir" && pwd)}
for part in ${only//,/ }; do
  [[ " instructions times tables memory fan-out size concurrency scale " == *" $part "* ]] || die "--only: there is no part $part, see --help"
done
[ -z "$docs" ] || [ -z "${only#scale}$functions" ] \
  || die "--docs takes a whole run on the project's own build: leave out --functions-dir and --only (but for --only scale)"

need() { # TOOL PACKAGE
  command -v "$1" >/dev/null || die "$1 is missing: install it (Debian: apt-get install $2)"
}

# Whether PART is to be measured.
wanted() { [ -z "$only" ] || [[ ,$only, == *,$1,* ]]; }

# A certificate authority for a server on this machine, with chains of RSA keys as AWS has them. Amazon's own roots
# are trusted besides, so that a start reads as many certificates as it would on AWS.
certificates() {
  [ ! -e "$out/certificates/trusted.pem" ] || return 0
  need openssl openssl
  mkdir -p "$out/certificates"
  (
    cd "$out/certificates"
    new=(openssl req -x509 -newkey rsa:2048 -nodes -days 3650)
    "${new[@]}" -subj '/CN=hub bench' -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem
    "${new[@]}" -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
      -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem
    cat ca.pem "$ROOT/functions/hub/src/amazon-roots.pem" >trusted.pem
  ) 2>"$out/openssl.log" || die "openssl could not make certificates (it must be version 3): see target/bench/openssl.log"
}

need_linux
need_cargo
cd "$ROOT"
mkdir -p "$out"
target=$(host_arch)
target=${target/arm64/aarch64}-unknown-linux-gnu

if [ -n "$check$accept" ]; then
  need valgrind valgrind
  certificates
  arguments=(--functions "${functions:-$ROOT/target/lambda-local}" --check "$ROOT/bench/baseline.json")
  [ -z "$accept" ] || arguments+=(--accept yes)
  # Few at once: under callgrind posts are slow, and those that wait for their turn must not run out of time.
  run cargo run --locked --quiet -p bench-runner -- "${arguments[@]}" --out "$out" --trusted "$out/certificates/trusted.pem" --concurrency 8
  exit
fi

! wanted instructions || need valgrind valgrind
certificates
if [ -z "$functions" ]; then
  "$ROOT/scripts/build.sh" --arch host >/dev/null
  functions=$ROOT/target/lambda
fi
if [ "$only" != scale ]; then
  need npm nodejs
  python_tools # What is apart stands in its folder.
  python_tools_apart bench
  run npm ci --prefix bench/node --silent >&2
fi
say "building the floor and the runner"
[ "$only" = scale ] || run cargo build --locked --quiet --release --target "$target" -p floor >&2
run cargo build --locked --quiet --profile local --target "$target" -p bench-runner >&2

arguments=(--functions "$functions" --out "$out" --trusted "$out/certificates/trusted.pem" --concurrency "$fanout" --rounds "$rounds")
[ "$only" = scale ] || arguments+=(--floor "$ROOT/target/$target/release/floor" --python "$VENV/bench/bin/python"
  --app "$ROOT/bench/python" --node "$ROOT/bench/node")
[ -z "$recipients" ] || arguments+=(--recipients "$recipients")
[ -z "$only" ] || arguments+=(--only "$only")
[ -z "$env" ] || arguments+=(--env "$env")
[ -z "$docs" ] || arguments+=(--docs "$ROOT/docs")
# Functions that another function invokes are found here.
export HUB_FUNCTIONS_DIR=$functions
run "$ROOT/target/$target/local/bench-runner" "${arguments[@]}"
