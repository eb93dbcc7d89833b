# An account with one environment. Copy this to <account>.tfvars, fill it in, and run scripts/bootstrap.sh <account>.

region       = "eu-west-1"
environments = ["staging"]

# gh api repos/OWNER/NAME --jq '.full_name, .id, .owner.id' prints these.
repository    = "OWNER/NAME"
repository_id = "123456789"
owner_id      = "1234567"
