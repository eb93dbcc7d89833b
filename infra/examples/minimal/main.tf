# The smallest root with a hub in it: a provider, the module, and the address for clients.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

locals {
  region = "eu-west-1"
}

provider "aws" {
  region = local.region
}

module "hub" {
  # From another repository: source = "git::https://git.example.com/websocket-hub.git//infra?ref=v1.0.0", and artifacts_dir must name the folder of the zips.
  source = "../.."

  region = local.region

  # Whoever knows the address can join any session, and subscribe and send to any. `auth` requires tokens instead.
  allow_anonymous = true
}

output "websocket_url" {
  description = "Address for clients; add ?session_id=… to it."
  value       = module.hub.websocket_url
}
