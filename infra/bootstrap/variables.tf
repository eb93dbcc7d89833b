# What the pipeline is for: which repository deploys, and to which environments. The values of an account and region are
# committed as <account>.tfvars; example.tfvars is one to start from.

variable "region" {
  description = "AWS region of all of this, and of the hubs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must look like eu-west-1."
  }
}

variable "repository" {
  description = "GitHub repository whose workflows deploy: owner/name, as GitHub spells it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9_-]*/[a-zA-Z0-9._-]+$", var.repository))
    error_message = "repository must look like owner/name, without the ids, which are variables of their own."
  }
}

variable "repository_id" {
  description = "The repository's id, which it keeps when it is renamed: gh api repos/OWNER/NAME --jq .id prints it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.repository_id))
    error_message = "repository_id must be a number: gh api repos/OWNER/NAME --jq .id prints it."
  }
}

variable "owner_id" {
  description = "The id of the repository's owner: gh api repos/OWNER/NAME --jq .owner.id prints it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.owner_id))
    error_message = "owner_id must be a number: gh api repos/OWNER/NAME --jq .owner.id prints it."
  }
}

variable "environments" {
  description = "Environments that are in this account and region: folders of infra/environments, and environments of the GitHub repository. Each is a hub called {name}-{environment}. More than one needs shared_account."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.environments) > 0 && alltrue([for environment in var.environments : can(regex("^[a-z][a-z0-9]{0,10}$", environment))])
    error_message = "environments: at least one; each must be 1 to 11 lowercase letters and digits and begin with a letter. Without hyphens, none is the beginning of another's names."
  }

  validation {
    condition     = length(setintersection(var.environments, ["boundary", "bootstrap", "deploy", "gateway", "local", "plan", "state"])) == 0
    error_message = "environments: boundary, bootstrap, deploy, gateway, local, plan and state are the names of something else here. Choose another."
  }

  validation {
    condition     = length(var.environments) <= 1 || var.shared_account
    error_message = "environments: more than one in an account needs shared_account = true, whose description says what they could do to each other. Better: an account for each, with a <account>.tfvars of its own."
  }
}

variable "shared_account" {
  description = "Whether more than one environment may be in this account and region. Then each can still change the routes, integrations, authorizers and deployments of the others' APIs, delete their saved queries, and post to their connections: in AWS these have neither a name nor a tag that a policy could go by. Functions, tables, roles, logs, states, APIs and stages stay apart."
  type        = bool
  default     = false
  nullable    = false
}

variable "name" {
  description = "Prefix of everything made here, and of the hubs: {name}-{environment}. Of two such configurations in one account, neither's name may be the beginning of the other's."
  type        = string
  default     = "websocket-hub"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "name must be 1 to 20 lowercase letters, digits and hyphens, begin with a letter and not end with a hyphen."
  }
}

variable "github_claims" {
  description = "Whether to check the token's repository_id and, for deploys, its ref as well as its subject. STS knows these claims since January 2026; set this to false in a partition where the assumption of a role is refused although the subject is right."
  type        = bool
  default     = true
  nullable    = false
}

variable "oidc_provider_arn" {
  description = "ARN of the account's OIDC provider for GitHub, if it has one already: an account can have one only, for all regions."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_provider_arn == null || can(regex("^arn:[^:]+:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn must be like arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com."
  }
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary that this account requires on every role. The roles made here carry it, and the functions' roles must carry it in place of the one that is made here otherwise: then it alone limits what an environment can give its functions."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:[^:]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy: arn:aws:iam::123456789012:policy/…"
  }
}

variable "custom_domains" {
  description = "Domain names that each environment may give its hub (custom_domain): { production = [\"chat.example.com\"] }."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.custom_domains), var.environments)) == 0
    error_message = "custom_domains: each key must be one of environments."
  }

  validation {
    condition     = alltrue([for name in flatten([for names in values(var.custom_domains) : tolist(names)]) : can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", name))])
    error_message = "custom_domains: each must be a domain name in lowercase, such as chat.example.com."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the KMS keys that the environments may encrypt with (kms_key_arn). The keys' own policies must let IAM decide."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", arn))])
    error_message = "kms_key_arns: each must be the ARN of a key, arn:aws:kms:eu-west-1:123456789012:key/…, and not of an alias."
  }
}

variable "gateway_logs" {
  description = "Whether to set the account's role for API Gateway's logs in this region, which a hub with access_logs needs. There is one for all APIs, so set this only where no other stack has. Once set it stays: to take it away would stop the logs of all."
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
