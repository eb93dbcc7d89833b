#!/usr/bin/env bash
# Runs the whole hub on this machine: MiniStack in place of AWS, with the same Terraform and the same functions.
#
#   scripts/local.sh up [--release] [--auth]   start it, or bring a running one up to date, and print its addresses
#   scripts/local.sh down                      stop it and remove everything it has written
#   scripts/local.sh status                    print what runs (exit code 0: all of it, 1: crashed or half started, 3: nothing)
#   scripts/local.sh logs [function] [--follow]  print the functions' log lines (JSON), oldest first
#   scripts/local.sh open [session]            open the page in a browser, as that session (default: demo)
#   scripts/local.sh client <session> [--room SESSION]...  connect as that session, and subscribe to those: each line of input is
#                                              sent, and each frame that arrives is printed
#   scripts/local.sh url                       print the WebSocket address and nothing else
#   scripts/local.sh output NAME               print one of the module's outputs (infra/outputs.tf)
#   scripts/local.sh token --session NAME      print a token for a stack that is up with --auth (see token --help)
#   scripts/local.sh env                       print the settings with which a shell works on the stack: eval "$(scripts/local.sh env)"
#
#   --release  run the executables that AWS gets (slow to build) instead of quickly built ones
#   --auth     admit only connections with a token; the issuer runs on this machine
#
# It writes in one folder, .local/ (HUB_STATE_DIR names another, for a second stack beside the first), and never reaches AWS.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-help} in
  help | -h | --help) usage && exit ;;
  token) [[ " $* " != *' --help '* ]] || python_tools auth ;;
  *) [[ ! ${2:-} =~ ^(-h|--help)$ ]] || { usage && exit; } ;;
esac
if [[ $* =~ ^up( --(release|auth))*$ ]]; then
  eval "$(forget_users_settings)"
  need_linux
  need_cargo
  terraform_setup
  python_tools local smoke auth
fi
# Until the first `up` there is no .venv.
[ -x "$PY" ] || { need_python && PY=python3; }
exec "$PY" -X utf8 "$ROOT/scripts/lib/local.py" "$@"
