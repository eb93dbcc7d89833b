#!/usr/bin/env bash
# Looks up every locked dependency (Rust, Python, npm) in the databases of known vulnerabilities. It needs the network.
#
#   scripts/audit.sh
#
# It looks up all of them, and fails at the end if one is vulnerable.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
esac
need_cargo
command -v npm >/dev/null || die "npm is missing: install Node.js 20 or newer"
python_tools lint
python_tools_apart audit
cd "$ROOT"

failed=()
audit() {
  say "--- $1"
  run "${@:2}" || failed+=("$1")
}
for manifest in Cargo.toml fuzz/Cargo.toml; do
  audit "$manifest" cargo deny --manifest-path "$manifest" --config deny.toml check advisories
done
while read -r requirements; do
  audit "$requirements" "$VENV/audit/bin/pip-audit" --requirement "$requirements" --require-hashes --disable-pip --strict
done < <(git ls-files 'scripts/lib/requirements/*.txt')
while read -r lock; do
  audit "$lock" npm audit --prefix "${lock%/*}" --audit-level low
done < <(git ls-files '*package-lock.json')
[ ${#failed[@]} = 0 ] || die "known vulnerabilities, or no answer (see above): ${failed[*]}"
