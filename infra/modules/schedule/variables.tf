# The function, and how often it runs.

variable "function" {
  description = "Function to invoke, through alias_arn."
  type = object({
    name      = string
    alias     = string
    alias_arn = string
  })
  nullable = false
}

variable "every_minutes" {
  description = "Minutes between two invocations."
  type        = number
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
