# What is invoked, and how often.

variable "function" {
  description = "The function; alias_arn is what is invoked."
  type = object({
    name      = string
    alias     = string
    alias_arn = string
  })
  nullable = false
}

variable "every_minutes" {
  description = "Minutes from one invocation to the next."
  type        = number
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
