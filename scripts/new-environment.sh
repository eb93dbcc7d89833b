#!/usr/bin/env bash
# Writes infra/environments/NAME: the Terraform root of a new environment, which is one hub that scripts/deploy.sh deploys.
#
#   scripts/new-environment.sh NAME [flags]      (NAME: lowercase letters, digits and hyphens, such as staging)
#
#   --name NAME             name of the hub, and the prefix of everything it creates (default: websocket-hub-NAME)
#   --region REGION         AWS region (default: AWS_REGION or AWS_DEFAULT_REGION, where set)
#   --architecture ARCH     x86_64 (default) or arm64, which costs a fifth less
#   --table-name NAME       name of the connections table (default: the hub's name and -connections)
#   --endpoint URL          https:// base address of the @connections API, without a slash at the end (default: the API's own)
#
#   --anonymous             the hub is OPEN TO EVERYONE: whoever knows the address can join any session, and subscribe and send to any
#   --issuer URL            or: only connections with a token of this issuer, the tokens' iss
#   --audience NAME         with --issuer: the tokens' aud
#   --session-claim NAME    with --issuer: the claim that names the sessions a token may join (default: session_id)
#   --jwks-url URL          with --issuer: where its keys are (default: where its OpenID discovery document says)
#
#   --state-bucket BUCKET   keep Terraform's state in this S3 bucket, with a lock; scripts/bootstrap.sh makes one. For a bucket in
#                           another region than the hub, edit main.tf
#   --local-state           or: keep the state in a file in this folder, which no other checkout has
#
#   --permissions-boundary ARN
#                           IAM policy that bounds the permissions of the functions' roles
#   --plan-role-arn ARN     IAM role that the workflows plan with
#   --deploy-role-arn ARN   IAM role that the workflows deploy with
#   --yes                   ask nothing: use the defaults, and a local state unless a bucket is given
#
# It asks for what no flag sets. scripts/bootstrap.sh prints this command for each environment of its account, with the state,
# the boundary and the roles. It changes nothing in AWS, and never overwrites an existing environment. For more issuers,
# audiences and claims, edit main.tf afterwards: docs/identity-providers.md has the settings for each provider.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

[[ ! " $* " =~ ' '(-h|--help)' ' ]] || { usage && exit; }
need_python
need_terraform
exec python3 "$ROOT/scripts/lib/environment.py" "$@"
