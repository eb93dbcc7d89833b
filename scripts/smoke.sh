#!/usr/bin/env bash
# Runs a smoke test of a hub over real sockets: two clients connect, one sends, the other receives, the receipt adds up.
#
#   scripts/smoke.sh <WebSocket address> [--asks-for-token]
#
#   --asks-for-token  the hub has `auth`: it must reject a handshake without a token. A delivery is tested only if HUB_TOKEN
#                     holds a token that may join and send to the session smoke-test, or to the one that HUB_SESSION names
#
# It leaves nothing behind. Other clients see nothing of it, because no other uses that session.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  ws://* | wss://*) ;;
  *) die "name the WebSocket address, as Terraform's output websocket_url or scripts/local.sh url prints it" ;;
esac
python_tools smoke
run "$PY" "$ROOT/scripts/lib/smoke.py" "$@"
