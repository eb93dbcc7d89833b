# What can be chosen about the API.

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
  description = "Names of the functions that answer routes, by route key: text that is known before the functions are."
  type        = map(string)
  nullable    = false
}

variable "authorizer" {
  description = "Name of the authorizer function; null admits every connection."
  type        = string
  default     = null
}

variable "alias" {
  description = "Alias through which the functions are called."
  type        = string
  nullable    = false
}

variable "alias_arns" {
  description = "ARN of that alias of each function, by the function's name: for the permissions alone, which come after the functions."
  type        = map(string)
  nullable    = false
}

variable "replies" {
  description = "The frames that answer the other routes, by route key. API Gateway reads them as Velocity templates, in which $ and # have a meaning."
  type        = map(string)
  nullable    = false
}

variable "throttling_burst_limit" {
  description = "Requests that each route accepts at once."
  type        = number
  nullable    = false
}

variable "throttling_rate_limit" {
  description = "Steady-state request rate of each route, in requests per second."
  type        = number
  nullable    = false
}

variable "detailed_metrics" {
  description = "Whether CloudWatch counts each route by itself as well."
  type        = bool
  nullable    = false
}

variable "access_log_retention_days" {
  description = "Days that the access log is kept, 0 for ever; null writes none."
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
