# Settings of one account and region: the repository that deploys, and its environments. Commit them as <account>.tfvars;
# example.tfvars is a start.

variable "region" {
  description = "AWS region of these resources and of the hubs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must be the name of an AWS region, such as eu-west-1."
  }
}

variable "repository" {
  description = "GitHub repository whose workflows deploy: owner/name, spelled as on GitHub."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9_-]*/[a-zA-Z0-9._-]+$", var.repository))
    error_message = "repository must be owner/name. The ids are the variables repository_id and owner_id."
  }
}

variable "repository_id" {
  description = "Id of the repository, which it keeps when it is renamed: gh api repos/OWNER/NAME --jq .id prints it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.repository_id))
    error_message = "repository_id must be a number: gh api repos/OWNER/NAME --jq .id prints it."
  }
}

variable "owner_id" {
  description = "Id of the repository's owner: gh api repos/OWNER/NAME --jq .owner.id prints it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.owner_id))
    error_message = "owner_id must be a number: gh api repos/OWNER/NAME --jq .owner.id prints it."
  }
}

variable "environments" {
  description = "Environments in this account and region, by the names of their folders in infra/environments and of their GitHub environments. Each has a hub called {name}-{environment}. More than one needs shared_account."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.environments) > 0 && alltrue([for environment in var.environments : can(regex("^[a-z][a-z0-9]{0,10}$", environment))])
    error_message = "environments must be one or more names of 1 to 11 lowercase letters and digits, beginning with a letter. Hyphens are not allowed: the names of one environment could then begin like another's."
  }

  validation {
    condition     = length(setintersection(var.environments, ["boundary", "bootstrap", "deploy", "gateway", "local", "plan", "state"])) == 0
    error_message = "environments must not include boundary, bootstrap, deploy, gateway, local, plan or state: these names are in use for other things. Choose another."
  }

  validation {
    condition     = length(var.environments) <= 1 || var.shared_account
    error_message = "environments must have only one member unless shared_account = true, whose description says what environments in one account can do to each other. Better: an account for each, with its own <account>.tfvars."
  }
}

variable "shared_account" {
  description = "Whether this account and region may have more than one environment. Each can then change the routes, integrations, authorizers and deployments of the others' APIs, delete their saved queries, and post to their connections: these have neither a name nor a tag that a policy could match. Functions, tables, roles, logs, states, APIs and stages stay apart."
  type        = bool
  default     = false
  nullable    = false
}

variable "name" {
  description = "Prefix of the names of all resources here, and of the hubs: {name}-{environment}. If an account has two such configurations, neither name may begin with the other."
  type        = string
  default     = "websocket-hub"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "name must be 1 to 20 lowercase letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "github_claims" {
  description = "Whether the roles check the token's repository_id and, for deploys, its ref, in addition to its subject. STS supports these claims since January 2026. Set it to false in a partition where AssumeRoleWithWebIdentity is refused although the subject is right."
  type        = bool
  default     = true
  nullable    = false
}

variable "oidc_provider_arn" {
  description = "ARN of the account's OIDC provider for GitHub, if there already is one: an account can have only one, for all regions."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_provider_arn == null || can(regex("^arn:[^:]+:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn must be the ARN of GitHub's provider, such as arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com."
  }
}

variable "permissions_boundary" {
  description = "ARN of a permissions boundary that this account requires on every role. It replaces the one created here: the roles here and those of the functions carry it, and it alone limits what an environment can give its functions."
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
    error_message = "custom_domains must name only environments that the variable environments lists."
  }

  validation {
    condition     = alltrue([for name in flatten([for names in values(var.custom_domains) : tolist(names)]) : can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", name))])
    error_message = "custom_domains must be domain names in lower case, such as chat.example.com."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the KMS keys that the environments may use (kms_key_arn). The policies of the keys must delegate to IAM."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", arn))])
    error_message = "kms_key_arns must be ARNs of keys and not of aliases: arn:aws:kms:eu-west-1:123456789012:key/…"
  }
}

variable "gateway_logs" {
  description = "Whether to create the account's role for API Gateway's logs in this region, which a hub with access_logs needs. All APIs share it, so set this only if no other stack has set it. It cannot be unset: removing the role would stop the logs of every API."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags for every resource that can carry them."
  type        = map(string)
  default     = {}
  nullable    = false
}
