#!/usr/bin/env bash
# Runs all tests and prints what it ran. The last line is `N passed, N failed, N skipped`.
#
#   scripts/test.sh [--long] [lint | infra | web | python | rust | system]... [filter]
#
#   --long  the tests that take minutes too
#   lint…   only these parts
#   filter  only the Rust tests whose name contains it, and what they need
#
# The system is tested over real sockets, on three local stacks with ports and state of their own: one that is up is left alone.
# No environment in infra/environments but `local` matters. scripts/lib/test lists the parts; target/test-logs holds what each step
# of the last run printed.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

for argument; do
  case $argument in
    -h | --help) usage && exit ;;
    --long) ;;
    -*) die "unknown argument $argument: see --help" ;;
  esac
done

eval "$(forget_users_settings)"
need_linux
need_python
need_cargo
need_terraform
need_disk 7
work=$(mktemp -d)
on_exit "rm -rf $work"
python_tools local smoke auth lint test
python_tools_apart checkov
cd "$ROOT"
terraform_setup
copy_tree "$work" ./infra
exec "$PY" scripts/lib/test "$work" "$@"
