#!/usr/bin/env bash
# Builds the functions for Lambda and prints the paths of their zips.
#
#   scripts/build.sh [--arch x86_64|arm64|host] [--profile NAME] [--zig]
#
#   --arch     what to build for (default: x86_64, as the Terraform variable `architecture`)
#   --profile  the cargo profile (default: release, which is what AWS gets)
#   --zig      link with zig at once, and not only where this machine's own linker will not do
#
# The release profile writes target/lambda/<function>/{bootstrap,bootstrap.zip,sbom.cdx.json}; any other writes below
# target/lambda-<profile>/, so that a quick build is never deployed by mistake. The result is checked to run on
# Amazon Linux 2023 (glibc 2.34), except a quick one for this very machine (--arch host). The same source gives the same
# zips in any folder, with the same linker.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

arch=x86_64 profile=release zig=''
while [ $# -gt 0 ]; do
  case $1 in
    --arch | --profile)
      [ $# -ge 2 ] || die "$1 takes a value: see --help"
      if [ "$1" = --arch ]; then arch=$2; else profile=$2; fi
      shift
      ;;
    --zig) zig=1 ;;
    -h | --help) usage && exit ;;
    *) die "unknown argument $1: see --help" ;;
  esac
  shift
done

host=
[ "$(uname -s)" != Linux ] || host=$(host_arch)
glibc=2.34
case $arch in
  host)
    [ -n "$host" ] || die "--arch host: the functions run on Linux only; use a Linux machine, or WSL on Windows"
    arch=$host
    [ "$profile" = release ] || glibc=any
    ;;
  x86_64 | arm64) ;;
  *) die "unknown architecture $arch: take x86_64, arm64 or host" ;;
esac
target=${arch/arm64/aarch64}-unknown-linux-gnu

out=$ROOT/target/lambda locked=(--locked)
[ "$profile" = release ] || out+=-$profile locked=()

need_cargo
cd "$ROOT"
# Looked for in the toolchain itself, because cargo-lambda would have rustup download a missing one unasked.
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] \
  || die "Rust cannot build for $arch on this machine yet: run 'rustup target add $target' in $ROOT (the linker, zig, comes with this script)"
python_tools local
lock 7 "$out.lock"

# The same source gives the same bytes wherever it lies: an executable names its source files in panics, Rust's and C's.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo"
export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo"$'\x1f'"--remap-path-prefix=$ROOT=/hub"

packages=()
for function in $(functions); do packages+=(-p "$function"); done

# This machine's own linker where it will do; zig for another processor, and where this machine's glibc is too new.
compilers=(cargo-zigbuild)
[ -n "$zig" ] || [ "$arch" != "$host" ] || [ -e "$out/.zig" ] || compilers=(cargo cargo-zigbuild)
for compiler in "${compilers[@]}"; do
  [ "$compiler" = cargo ] || python_tools zig
  say "building the functions for $arch with the $profile profile"
  run cargo lambda build ${locked[@]+"${locked[@]}"} --profile "$profile" --target "$target" --skip-target-check --compiler "$compiler" \
    --lambda-dir "$out.new" "${packages[@]}" >&2 || die "the build failed: see above"
  rc=0
  # shellcheck disable=SC2046 # One word a function.
  run "$PY" "$ROOT/scripts/lib/package.py" "$arch" "$glibc" "$out.new" "$out" $(functions) || rc=$?
  rm -rf "$out.new"
  if [ "$rc" = 0 ]; then
    # shellcheck disable=SC2046 # One word a function.
    run "$PY" "$ROOT/scripts/lib/sbom.py" "$target" "$out" $(functions)
    exit
  fi
  [ "$rc" = 3 ] && [ "$compiler" = cargo ] || exit "$rc"
  say "this machine's glibc is newer than Lambda's: building again with zig, and from now on at once"
  mkdir -p "$out" && touch "$out/.zig"
done
