# Routes and settings of the API.

variable "name" {
  description = "Name of the API."
  type        = string
  nullable    = false
}

variable "stage" {
  description = "Name of the stage."
  type        = string
  nullable    = false
}

variable "functions" {
  description = "Name of the function that answers each route, by route key. Names are known before the functions exist."
  type        = map(string)
  nullable    = false
}

variable "authorizer" {
  description = "Name of the authorizer function; null admits every connection."
  type        = string
  default     = null
}

variable "alias" {
  description = "Alias through which API Gateway invokes the functions."
  type        = string
  nullable    = false
}

variable "alias_arns" {
  description = "ARN of each function's alias, by the function's name. Only the permissions use it, since they depend on the functions."
  type        = map(string)
  nullable    = false
}

variable "replies" {
  description = "Frame with which API Gateway itself answers each other route, by route key. It is a Velocity template, in which $ and # are special."
  type        = map(string)
  nullable    = false
}

variable "throttling_burst_limit" {
  description = "Burst of requests that each route accepts."
  type        = number
  nullable    = false
}

variable "throttling_rate_limit" {
  description = "Steady-state request rate of each route, in requests per second."
  type        = number
  nullable    = false
}

variable "detailed_metrics" {
  description = "Whether CloudWatch also has metrics for each route."
  type        = bool
  nullable    = false
}

variable "access_log_retention_days" {
  description = "Days for which CloudWatch keeps the access log; 0 keeps it forever, null writes none."
  type        = number
  default     = null
}

variable "region" {
  description = "Region of the API."
  type        = string
  nullable    = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the access log; null for AWS's own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
