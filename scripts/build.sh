#!/usr/bin/env bash
# Builds the functions for Lambda and prints the paths of their zips.
#
#   scripts/build.sh [--arch x86_64|arm64|host] [--profile NAME] [--release NAME] [--sbom]
#
#   --arch     what to build for (default: x86_64, as the Terraform variable `architecture`)
#   --profile  the cargo profile (default: release, which is what AWS gets)
#   --release  the name of this build in release.json and then in AWS (default: git describe --always --dirty, with a
#              digest of the zips if there are uncommitted changes or there is no git)
#   --sbom     also write the SBOM of each zip beside it, sbom.cdx.json (CycloneDX)
#
# The release profile writes target/lambda/release.json and target/lambda/<function>/{bootstrap,bootstrap.zip}. Any other
# profile writes below target/lambda-<profile>/, so that a quick build is never deployed by mistake. The executables run on
# Amazon Linux 2023 (glibc 2.34).
# The same source gives the same zips on any machine whose Python has the same zlib, because the linker is the same: zig,
# pinned in scripts/lib/requirements/build.txt.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

arch=x86_64 profile=release release='' sbom='' digest=''
options --arch= --profile= --release= --sbom -- "$@"

need_linux
[ "$arch" != host ] || arch=$(host_arch)
case $arch in
  x86_64 | arm64) ;;
  *) die "unknown architecture $arch: use x86_64, arm64 or host" ;;
esac
target=${arch/arm64/aarch64}-unknown-linux-gnu
glibc=2.34 # What zig links for, whatever this machine has.

out=$ROOT/target/lambda locked=(--locked)
[ "$profile" = release ] || out+=-$profile locked=()

cd "$ROOT"
if [ -z "$release" ]; then
  release=$(git describe --always --dirty 2>/dev/null) || release=unversioned
  # Two such builds can have the same name: package.py replaces the * with a digest of 8 digits.
  [[ $release != *-dirty && $release != unversioned ]] || digest='-*'
fi
[[ $release${digest/\*/01234567} =~ ^[A-Za-z0-9][A-Za-z0-9._/+-]{0,44}$ ]] \
  || die "$release cannot be the name of a release: pass --release NAME, up to 45 of the characters A-Z a-z 0-9 . _ / + -, a letter or digit first"

need_cargo
# If the target were missing, cargo-lambda would have rustup download it without asking.
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] \
  || die "Rust cannot build for $arch on this machine yet: run 'rustup target add $target' in $ROOT"
python_tools build
lock 7 "$out.lock"

# The same source gives the same bytes wherever it lies: an executable names its source files in panics, Rust's and C's.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo"
export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo"$'\x1f'"--remap-path-prefix=$ROOT=/hub"

mapfile -t names < <(functions)
say "building the functions for $arch with the $profile profile"
run cargo lambda build ${locked[@]+"${locked[@]}"} --profile "$profile" --target "$target.$glibc" --skip-target-check \
  --compiler cargo-zigbuild --lambda-dir "$out.new" "${names[@]/#/-p}" >&2 || die "the build failed: see above"
run "$PY" "$ROOT/scripts/lib/package.py" "$arch" "$glibc" "$release$digest" "$out.new" "$out" "${names[@]}"
rm -rf "$out.new"
# The SBOM of an earlier build describes another zip.
rm -f "$out"/*/sbom.cdx.json
if [ -n "$sbom" ]; then
  tools=$ROOT/target/tools
  [ -x "$tools/bin/cargo-cyclonedx" ] || say "compiling cargo-cyclonedx (the first time takes a minute)"
  # It does nothing if this version is installed.
  run cargo install --quiet --locked --root "$tools" --version 0.5.9 cargo-cyclonedx >&2 || die "cargo-cyclonedx could not be compiled: see above"
  PATH=$tools/bin:$PATH
  run "$PY" "$ROOT/scripts/lib/sbom.py" "$target" "$out" "${names[@]}"
fi
