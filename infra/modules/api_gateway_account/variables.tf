# How the role is named.

variable "name" {
  description = "Prefix of the role's name."
  type        = string
  nullable    = false
}
