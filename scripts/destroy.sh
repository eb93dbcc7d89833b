#!/usr/bin/env bash
# Removes a hub from AWS with everything in it. Asks for the hub's name first.
#
#   scripts/destroy.sh [--confirm NAME] [--state BUCKET/KEY] [--allow-endpoint] [terraform destroy arguments]
#
#   --confirm         the hub's name, for who cannot be asked
#   --state           where Terraform's state is, as for scripts/deploy.sh
#   --allow-endpoint  destroy what AWS_ENDPOINT_URL has; without this, an environment that has it is refused
#
# Give it the variables that the hub was deployed with, such as -var name=chat.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

confirm='' state='' allow_endpoint=''
destroy=() variables=()
while [ $# -gt 0 ]; do
  case $1 in
    --allow-endpoint) allow_endpoint=1 ;;
    -h | --help) usage && exit ;;
    --confirm | --state | -var | -var-file)
      [ $# -ge 2 ] || die "$1 takes a value: see --help"
      case $1 in
        --confirm) confirm=$2 ;;
        --state) state=$2 ;;
        *) destroy+=("$1" "$2") variables+=("$1" "$2") ;;
      esac
      shift
      ;;
    -var=* | -var-file=*) destroy+=("$1") variables+=("$1") ;;
    *) destroy+=("$1") ;;
  esac
  shift
done

need_aws "$allow_endpoint"
[ -n "$confirm" ] || [ -t 0 ] || die "there is no terminal to ask on: pass --confirm with the hub's name"

work=$(mktemp -d)
# shellcheck disable=SC2329 # Called by the trap.
tidy() { rm -rf "$work"; }
on_exit tidy
hub_terraform "$work" "$state"
name=$(value var.name ${variables[@]+"${variables[@]}"})
say "This removes the hub $name at $(terraform -chdir="$INFRA" output -raw websocket_url 2>/dev/null || echo 'no address'):" \
  "every socket is closed, and the table and the logs are gone."
[ -n "$confirm" ] || read -r -p "To go on, type the hub's name: " confirm
[ "$confirm" = "$name" ] || die "$confirm is not $name: nothing is removed"
tf destroy -input=false -auto-approve ${destroy[@]+"${destroy[@]}"} >&2 || die "terraform destroy failed: see above; run this again once the cause is gone"
