#!/usr/bin/env bash
# Checks the Python client: lints, types and tests, with tools of a separate environment.
#
#   scripts/lib/python_client.sh                                all of it
#   scripts/lib/python_client.sh WithoutTokens | WithTokens     against the hub of HUB_URL, in the environment of scripts/local.sh env

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

python_tools_apart python
python=$VENV/python/bin/python
cd "$ROOT/clients/python"
export PYTHONPATH=src PYTHONDONTWRITEBYTECODE=1
[ $# = 0 ] || exec timeout 300 "$python" "$ROOT/scripts/lib/test/tap.py" "tests.on_the_stack.$1"
"$python" -m ruff check --quiet --cache-dir "$ROOT/target/ruff" .
"$python" -m ruff format --quiet --check --cache-dir "$ROOT/target/ruff" .
"$python" -m mypy --cache-dir "$ROOT/target/mypy"
exec timeout 600 "$python" "$ROOT/scripts/lib/test/tap.py"
