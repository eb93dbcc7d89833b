# A start for your own terraform.tfvars; variables.tf describes the rest.

name   = "chat"
region = "eu-west-1"

# Default: {name}-connections.
# table_name = "chat-connections"

# Only who shows a token of this issuer may connect; without this, everyone may:
# auth = {
#   issuer   = "https://login.example.com/"
#   audience = "chat"
# }

# Only for a custom domain:
# websocket_endpoint = "https://hub.example.com/live"
