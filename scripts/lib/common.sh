# shellcheck shell=bash
# What the scripts share: messages, arguments, interrupts, locks and tools. Sourced, never run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
VENV=$ROOT/.venv
PY=$VENV/bin/python

say() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# usage: prints the comment that opens the calling script, which is its help text.
usage() { sed -n '2,/^$/{s/^# \{0,1\}//p;}' "$0"; }

# options SPEC... -- ARGUMENT...: sets a variable for each argument. A SPEC is --flag, which is set to 1, --flag= for one that takes
# a value, or the name of the argument that is no flag, which is then required. In names of variables, - is _.
options() {
  local specs='' word='' name
  while [ "$1" != -- ]; do
    specs+=" $1 "
    [[ $1 == --* ]] || word=$1
    shift
  done
  while shift && [ $# -gt 0 ]; do
    name=${1#--} name=${name//-/_}
    if [[ $1 == -h || $1 == --help ]]; then
      usage && exit
    elif [[ $1 == --*[!=] && $specs == *" $1 "* ]]; then
      printf -v "$name" 1
    elif [[ $1 == --* && $specs == *" $1= "* ]]; then
      [ -n "${2:-}" ] || die "$1 takes a value: see --help"
      printf -v "$name" %s "$2"
      shift
    elif [[ -n $word && -z ${!word} && $1 != -* ]]; then
      printf -v "$word" %s "$1"
    else
      # A word may be a secret, such as a token.
      [[ $1 == -* ]] || die "there is an argument too many: see --help"
      die "unknown argument ${1%%=*}: see --help"
    fi
  done
  [ -z "$word" ] || [ -n "${!word}" ] || die "which $word? See --help"
}

# An interrupt must also end the running command: each gets its own process group, which the trap ends.
child=
run() {
  local rc=0
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  wait "$child" || rc=$?
  child=
  return "$rc"
}

# INT and not TERM: Terraform then finishes what is under way, and its provider keeps working meanwhile.
end_child() {
  local tries
  [ -n "$child" ] || return 0
  kill -INT -- "-$child" 2>/dev/null || true
  for ((tries = 0; tries < 600; tries++)); do
    kill -0 -- "-$child" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL -- "-$child" 2>/dev/null || true
  wait "$child" 2>/dev/null || true
  child=
}

# on_exit COMMAND: runs it once when the script ends, however it ends.
on_exit() {
  # shellcheck disable=SC2064 # The command is fixed now, on purpose.
  trap "trap '' INT TERM HUP; end_child; $1" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
}
on_exit :

# lock FD PATH: waits until no other script holds the lock, which ends with this script or with its closing FD.
lock() {
  local told=
  mkdir -p "${2%/*}"
  eval "exec $1>>\"\$2\""
  # The last holder may have removed the file: a lock on a file that is no longer there excludes no other script.
  until python3 -c '
import fcntl, os, sys
fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
sys.exit(not os.path.samestat(os.fstat(int(sys.argv[1])), os.stat(sys.argv[2])))' "$1" "$2" 2>/dev/null; do
    [ -n "$told" ] || say "waiting for another script that is at work (it holds ${2#"$ROOT"/})"
    told=yes
    sleep 0.5
    { mkdir -p "${2%/*}" && eval "exec $1>>\"\$2\""; } || true
  done
}

# The functions run on Linux, and the local stack runs them on this machine.
need_linux() {
  case $(uname -s)-$(uname -m) in
    Linux-x86_64 | Linux-aarch64 | Linux-arm64) ;;
    *) die "this is $(uname -s) on $(uname -m), and the hub is built and run on Linux (x86_64 or arm64): use such a machine, or WSL on Windows" ;;
  esac
}

need_python() {
  command -v python3 >/dev/null \
    || die "python3 is missing: install Python 3.10 or newer (https://www.python.org/downloads, or your system's python3 package)"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || die "$(python3 --version) is too old: install Python 3.10 or newer (https://www.python.org/downloads)"
}

need_cargo() {
  command -v cargo >/dev/null \
    || die "cargo is missing: install Rust with rustup (https://rustup.rs); rust-toolchain.toml names the version"
  command -v cc >/dev/null || die "cc is missing, which Rust links with: install a C compiler (Debian: apt-get install gcc libc6-dev)"
  (cd "$ROOT" && cargo --version >/dev/null) \
    || die "cargo cannot start the toolchain of rust-toolchain.toml: run 'rustup toolchain install' in $ROOT"
}

need_terraform() {
  local version
  command -v terraform >/dev/null \
    || die "terraform is missing: install version 1.11 or newer (https://developer.hashicorp.com/terraform/install)"
  version=$(env -u TF_CLI_ARGS CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null terraform version | sed -n '1s/^Terraform v//p')
  if ! [[ $version =~ ^([0-9]+)\.([0-9]+)\. ]] || ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] < 1011)); then
    die "terraform ${version:-of an unknown version} is too old: install 1.11 or newer (https://developer.hashicorp.com/terraform/install)"
  fi
}

# need_disk GB: how much builds and tools take. What is there already counts, but a GB must be free in any case, for what changes.
need_disk() {
  local free used
  free=$(df -Pk "$ROOT" | awk 'NR == 2 { print $4 }')
  used=$( (du -skcH "$ROOT/target" "$ROOT/.venv" "$ROOT/tests/web/node_modules" 2>/dev/null || true) | awk 'END { print $1 }')
  ((free >= 1000000 && free + used >= $1 * 1000000)) \
    || die "too little disk space: $ROOT needs $1 GB for builds and tools, with $((used / 1000000)) GB there and $((free / 1000000)) GB free. Make room, if need be with 'cargo clean', which deletes $ROOT/target"
}

# python_tools NAME...: the tools of scripts/lib/requirements/NAME.txt in .venv, installed only when that file has changed.
python_tools() {
  local name
  need_python
  lock 8 "$ROOT/target/venv.lock"
  "$PY" -c '' 2>/dev/null || {
    rm -rf "$VENV"
    python3 -m venv "$VENV" >&2 \
      || die "python3 cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv)"
  }
  for name; do
    cmp -s "$ROOT/scripts/lib/requirements/$name.txt" "$VENV/$name.txt" && continue
    say "installing the Python tools of scripts/lib/requirements/$name.txt"
    # The files list every dependency that is wanted, so pip must not add others.
    run "$PY" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      -r "$ROOT/scripts/lib/requirements/$name.txt" >&2 \
      || die "pip could not install scripts/lib/requirements/$name.txt: see above, and run again"
    cp "$ROOT/scripts/lib/requirements/$name.txt" "$VENV/$name.txt"
  done
  exec 8>&-
  PATH=$VENV/bin:$PATH
}

# python_tools_apart NAME: the same in a separate environment, .venv/NAME, for tools that need other versions.
python_tools_apart() {
  local parent=$VENV path=$PATH VENV PY
  VENV=$parent/$1 PY=$parent/$1/bin/python
  python_tools "$1"
  PATH=$path
}

# Prints the folder that holds the pinned AWS provider, for machines that cannot reach the registry, if there is one.
plugin_mirror() {
  local version
  if [ -n "${TF_PLUGIN_MIRROR:-}" ]; then
    [ -d "$TF_PLUGIN_MIRROR" ] || die "TF_PLUGIN_MIRROR=$TF_PLUGIN_MIRROR is not a folder: name one that holds registry.terraform.io/"
    printf '%s' "$TF_PLUGIN_MIRROR"
  elif [ ! -f "${TF_CLI_CONFIG_FILE:-$HOME/.terraformrc}" ]; then # A configuration of the user's says where providers come from.
    version=$(sed -n '/^ *version *=/{s/.*"\(.*\)".*/\1/p;q;}' "$ROOT/infra/.terraform.lock.hcl")
    { find /opt /usr/local/share /usr/share /usr/lib /var/lib "$HOME/.terraform.d" "$HOME/.local/share" -maxdepth 7 -not -path '*/.terraform/*' \
      -path '*/registry.terraform.io/hashicorp/aws/*' \( -name "$version" -o -name "terraform-provider-aws_${version}_*" \) 2>/dev/null || true; } \
      | sed -n '1s|/registry.terraform.io/.*||p'
  fi
}

# Prints the commands that unset the user's settings for AWS and Terraform, so that none of them leads to AWS.
forget_users_settings() {
  local name
  for name in $(compgen -e); do
    case $name in
      TF_PLUGIN_* | TF_CLI_CONFIG_FILE) ;;
      AWS_* | TF_*) echo "unset $name" ;;
    esac
  done
}

# terraform_setup: makes `terraform init` work with or without a registry.
terraform_setup() {
  local mirror configuration=$ROOT/target/terraform.rc
  need_terraform
  mirror=$(plugin_mirror) || exit
  # The provider is some 700 MB: it is downloaded once for all environments.
  export TF_PLUGIN_CACHE_DIR=${TF_PLUGIN_CACHE_DIR:-$ROOT/target/terraform-plugins}
  export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
  mkdir -p "$TF_PLUGIN_CACHE_DIR" "${configuration%/*}"
  if [ -n "$mirror" ]; then
    say "Terraform's provider comes from $mirror"
    cat >"$configuration.$$" <<RC
provider_installation {
  filesystem_mirror { path = "$mirror" }
  direct { exclude = ["registry.terraform.io/hashicorp/aws"] }
}
RC
    mv "$configuration.$$" "$configuration"
    export TF_CLI_CONFIG_FILE=$configuration
  elif [ ! -f "${TF_CLI_CONFIG_FILE:-}" ]; then
    unset TF_CLI_CONFIG_FILE
  fi
}

# copy_tree FOLDER PATH...: copies paths of the project, each beginning with ./, as a fresh checkout has them: without builds,
# and without the user's environments, settings and states.
copy_tree() {
  tar -C "$ROOT" -cf - --exclude ./target --exclude ./.venv --exclude ./.local --exclude ./.git --exclude ./infra/environments \
    --exclude node_modules --exclude .terraform --exclude '*.tfstate*' --exclude '*.tfvars' "${@:2}" ./infra/environments/local | tar -C "$1" -xf -
}

# The functions: every package under functions/ that has a main.rs.
functions() { (cd "$ROOT/functions" && printf '%s\n' */src/main.rs | sed 's|/.*||'); }

# This machine's architecture, as Lambda calls it.
host_arch() { uname -m | sed 's/aarch64/arm64/'; }
