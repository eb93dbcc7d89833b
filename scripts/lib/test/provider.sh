# shellcheck shell=bash
# Starts the AWS provider, 700 MB, once for many runs of Terraform. Terraform would start it several times in each run, which is
# most of a run's time. Sourced, after common.sh.

# start_provider FOLDER DATA COMMAND...: starts the provider that `terraform init` has installed in DATA, after a command that sets
# its environment and its working directory. Sets `provider` to the pid, and writes TF_REATTACH_PROVIDERS to FOLDER/address.
start_provider() {
  local tries plugin=("$2"/providers/*/*/*/*/*/terraform-provider-aws_*)
  : >"$1/log"
  ("${@:3}" && TMPDIR=$1 TF_LOG_SDK=error exec "${plugin[0]}" -debug) >"$1/log" 2>&1 &
  provider=$!
  for ((tries = 0; tries < 600; tries++)); do
    sed -n "s/^[[:space:]]*TF_REATTACH_PROVIDERS='\(.*\)'$/\1/p" "$1/log" >"$1/address"
    [ ! -s "$1/address" ] || return 0
    kill -0 "$provider" 2>/dev/null || break
    sleep 0.1
  done
  cat "$1/log" >&2
  die "the AWS provider did not start: see above"
}
