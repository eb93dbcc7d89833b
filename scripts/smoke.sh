#!/usr/bin/env bash
# Tries a hub over real sockets: two clients connect, one sends, the other receives, the receipt adds up.
#
#   scripts/smoke.sh <WebSocket address> [--asks-for-token]
#
#   --asks-for-token  the hub has `auth`: it must refuse who shows none. With a token in HUB_TOKEN that may join and send
#                     to the session smoke-test, the rest is tried too
#
# It leaves nothing behind, and disturbs nobody: its session is its own.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  ws://* | wss://*) ;;
  *) die "name the WebSocket address, as Terraform's output websocket_url or scripts/local.sh url prints it" ;;
esac
python_tools local
run "$PY" "$ROOT/scripts/lib/smoke.py" "$@"
