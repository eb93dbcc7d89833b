# Settings of one function.

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
  description = "Release, architecture and SHA-256 (in base64) of the zip, from release.json. Each is null if release.json lacks it."
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
  description = "Permissions of the function, in addition to writing its own log. Conditions have the form of IAM's."
  type = list(object({
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(string)))
  }))
  nullable = false
}

variable "log_level" {
  description = "Minimum level of the function's log lines."
  type        = string
  nullable    = false
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the log; 0 keeps it forever."
  type        = number
  nullable    = false
}

variable "tracing" {
  description = "Whether X-Ray traces the invocations."
  type        = bool
  nullable    = false
}

variable "region" {
  description = "Region of the function, for the names of global resources."
  type        = string
  nullable    = false
}

variable "permissions_boundary" {
  description = "ARN of the role's permissions boundary; null for none."
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
