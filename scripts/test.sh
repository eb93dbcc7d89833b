#!/usr/bin/env bash
# Runs all tests with a set-up of its own, and says what it ran. The last line is `N passed, N failed, N skipped`.
#
#   scripts/test.sh [--long] [lint | infra | web | python | rust | system]... [filter]
#
#   --long  the tests that take minutes too
#   lint…   only these parts
#   filter  only the Rust tests whose name contains it, and what they need
#
# The system is tested over real sockets on stacks of its own (own ports, own state): one that is up is left alone. So is
# every environment in infra/environments. scripts/lib/test lists the parts; what each step has printed is in target/test-logs.

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
work=$(mktemp -d)
on_exit "rm -rf $work"
python_tools local smoke auth lint test
python_tools_apart checkov
cd "$ROOT"
terraform_setup
copy_tree "$work" ./infra
exec "$PY" scripts/lib/test "$work" "$@"
