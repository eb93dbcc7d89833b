# Schema and settings of one table.

variable "name" {
  description = "Name of the table."
  type        = string
  nullable    = false
}

variable "hash_key" {
  description = "Attribute of the partition key."
  type        = string
  nullable    = false
}

variable "range_key" {
  description = "Attribute of the sort key; null for none."
  type        = string
  default     = null
}

variable "attributes" {
  description = "Types (S or N) of the attributes that are keys of the table or of its index."
  type        = map(string)
  nullable    = false
}

variable "index" {
  description = "Global secondary index: its keys, and the attributes that it holds besides keys; null for none."
  type = object({
    name               = string
    hash_key           = string
    range_key          = string
    non_key_attributes = list(string)
  })
  default = null
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
