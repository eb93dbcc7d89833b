# What can be chosen about a function.

variable "name" {
  description = "Name of the function."
  type        = string
  nullable    = false
}

variable "alias" {
  description = "Name of the alias through which the function is called."
  type        = string
  nullable    = false
}

variable "description" {
  description = "What the function does, in a sentence."
  type        = string
  nullable    = false
}

variable "artifact" {
  description = "Path of the zip that holds the executable, named bootstrap."
  type        = string
  nullable    = false
}

variable "build" {
  description = "What release.json says of this executable: the release's name, what it was built for, and the SHA-256 of the zip in base64. Null where it says nothing."
  type = object({
    release      = string
    architecture = string
    sha256       = string
  })
  nullable = false
}

variable "architecture" {
  description = "Instruction set architecture of the function: x86_64 or arm64."
  type        = string
  nullable    = false
}

variable "memory_mb" {
  description = "Memory in MB."
  type        = number
  nullable    = false
}

variable "timeout_seconds" {
  description = "Seconds that one invocation may take."
  type        = number
  nullable    = false
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
  nullable    = false
}

variable "statements" {
  description = "Permissions of the function, besides writing to its own log group. A condition is written as in IAM."
  type = list(object({
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(string)))
  }))
  nullable = false
}

variable "log_level" {
  description = "Minimum level of the log lines that Lambda keeps."
  type        = string
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that the log is kept; 0 keeps it for ever."
  type        = number
  nullable    = false
}

variable "tracing" {
  description = "Whether X-Ray traces the invocations."
  type        = bool
  nullable    = false
}

variable "region" {
  description = "Region of the function, for names that all regions share."
  type        = string
  nullable    = false
}

variable "permissions_boundary" {
  description = "ARN of the policy that bounds what the role can ever be allowed; null for none."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "ARN of the KMS key for the log group and the environment; null for AWS's own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
