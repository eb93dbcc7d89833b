# What can be chosen about a function.

variable "name" {
  description = "Name of the function."
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

variable "architecture" {
  description = "Processor the executable is built for: x86_64 or arm64."
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
  description = "What the function may do, besides writing to its own log group."
  type = list(object({
    actions   = list(string)
    resources = list(string)
  }))
  nullable = false
}

variable "log_level" {
  description = "Least important line that the function writes."
  type        = string
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that the log is kept; 0 for ever."
  type        = number
  nullable    = false
}

variable "tracing" {
  description = "Whether X-Ray traces the invocations."
  type        = bool
  nullable    = false
}
