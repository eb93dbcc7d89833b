# What can be chosen about the table.

variable "name" {
  description = "Name of the table."
  type        = string
  nullable    = false
}

variable "point_in_time_recovery" {
  description = "Whether the table can be restored to any second of the last 35 days."
  type        = bool
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table."
  type        = bool
  nullable    = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the table; null for AWS's own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
