# Deployment: builds, keys, boundaries and protection.

variable "artifacts_dir" {
  description = "Folder of the built functions, which holds `release.json` and `<function>/bootstrap.zip`. Default: target/lambda beside infra, where scripts/build.sh writes them."
  type        = string
  default     = null

  validation {
    condition     = var.artifacts_dir != ""
    error_message = "artifacts_dir must not be empty: name a folder, or remove it to use target/lambda."
  }
}

variable "architecture" {
  description = "Instruction set architecture of the functions, which must be the one they were built for. arm64 costs a fifth less."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "permissions_boundary" {
  description = "ARN of the IAM policy that is the permissions boundary of every role. Default: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:[^:]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy: arn:aws:iam::123456789012:policy/…"
  }
}

variable "kms_key_arn" {
  description = "ARN of your own KMS key for the tables, the logs and the functions' environment. The key's policy must let CloudWatch Logs use it: docs/security.md has the statement. Default: keys that AWS owns or manages."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key and not of an alias: arn:aws:kms:eu-west-1:123456789012:key/…"
  }
}

variable "ca_bundle" {
  description = "PEM file of the certificate authorities that the functions trust, as a path inside Lambda. The system's bundle, /etc/pki/tls/certs/ca-bundle.crt, is for a proxy, or for a partition that Amazon's roots do not cover; it adds some milliseconds to each cold start. Default: Amazon's roots for AWS, the system's bundle for other addresses."
  type        = string
  default     = null

  validation {
    condition     = var.ca_bundle == null || can(regex("^/[^ ]+$", var.ca_bundle))
    error_message = "ca_bundle must be an absolute path, such as /etc/pki/tls/certs/ca-bundle.crt."
  }
}

variable "point_in_time_recovery" {
  description = "Whether the tables can be restored to any second of the last 35 days. Rarely useful: a connection's row is worthless once its socket has closed, and messages expire."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the tables. scripts/destroy.sh then refuses before it removes anything; a plain `terraform destroy` removes the API and its address first, and fails at the tables."
  type        = bool
  default     = false
  nullable    = false
}
