# The hub of the local stack. scripts/local.sh applies it to the emulator, sets the variables, and keeps the state.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  backend "local" {}
}

locals {
  environment = jsondecode(file("${path.module}/environment.json"))
}

# Only this environment has variables: they depend on the machine, and on whether the stack requires tokens.

variable "architecture" {
  description = "Instruction set architecture of this machine."
  type        = string
}

variable "artifacts_dir" {
  description = "Folder of the functions that were built for this machine."
  type        = string
}

variable "issuer" {
  description = "Issuer whose tokens may connect; null for a hub that is open to everyone."
  type        = string
  default     = null
}

provider "aws" {
  region = local.environment.region
}

module "hub" {
  source = "../.."

  name          = "websocket-hub"
  region        = local.environment.region
  architecture  = var.architecture
  artifacts_dir = var.artifacts_dir

  history_seconds = 86400

  # Low enough to show deliver at work on a laptop.
  fanout = { split = 200 }

  allow_anonymous = var.issuer == null
  auth = var.issuer == null ? null : { issuers = [
    { issuer = var.issuer, audiences = ["hub"], patterns = true },
    # Tokens of another shape: the audience in another claim, the sessions inside an object.
    {
      issuer          = "${var.issuer}/mobile"
      audiences       = ["hub-mobile"]
      audience_claim  = "client_id"
      session_claim   = "/app_metadata/session_id"
      send_claim      = "/app_metadata/send_to"
      subscribe_claim = "/app_metadata/subscribe_to"
    },
  ] }

  # The emulator takes the API's id from this tag, so the address survives a fresh start of the stack.
  tags = { "ms-custom-id" = "hub" }
}

output "hub" {
  description = "What clients, backends and scripts need to know about the hub."
  value       = module.hub
}
