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
  description = "The functions that answer routes, by route key; invoke_arn is that of the alias."
  type = map(object({
    name       = string
    alias      = string
    invoke_arn = string
  }))
  nullable = false
}

variable "authorizer" {
  description = "The function that admits connections; null admits all."
  type = object({
    name       = string
    alias      = string
    invoke_arn = string
  })
  default = null
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
  description = "Requests a second that each route accepts in the long run."
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
