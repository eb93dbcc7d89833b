# What the pipeline is for: which repository may deploy, and to which environments.

variable "repository" {
  description = "GitHub repository whose workflows may deploy: owner/name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]+/[a-zA-Z0-9._-]+$", var.repository))
    error_message = "repository must look like owner/name."
  }
}

variable "name" {
  description = "Prefix of everything made here, and of the hubs: {name}-{environment}."
  type        = string
  default     = "websocket-hub"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "name must be 1 to 20 lower-case letters, digits and hyphens and begin with a letter."
  }
}

variable "environments" {
  description = "GitHub environments that deploy, each a hub of its own in this account and region."
  type        = set(string)
  default     = ["staging", "production"]
  nullable    = false

  validation {
    condition     = length(var.environments) > 0 && alltrue([for environment in var.environments : can(regex("^[a-z][a-z0-9]{0,10}$", environment))])
    error_message = "environments: each must be 1 to 11 lower-case letters and digits and begin with a letter. Without hyphens, none is the beginning of another's names."
  }
}

variable "region" {
  description = "AWS region. Default: the environment's (AWS_REGION, or the profile's)."
  type        = string
  default     = null
}

variable "oidc_provider_arn" {
  description = "ARN of the account's OIDC provider for GitHub, where there is one already: an account can have one only."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_provider_arn == null || can(regex(":oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn must end in :oidc-provider/token.actions.githubusercontent.com."
  }
}

variable "gateway_logs" {
  description = "Whether to set the account's role for API Gateway's logs in this region, which a hub with access_logs needs. There is one for all APIs: only where no other stack has set it."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags for everything that can carry them."
  type        = map(string)
  default     = {}
  nullable    = false
}
