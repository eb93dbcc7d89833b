# The domain and its certificate, and the API stage that it leads to.

variable "name" {
  description = "Domain name, such as hub.example.com."
  type        = string
  nullable    = false
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate for the domain, in the API's region."
  type        = string
  nullable    = false
}

variable "api_id" {
  description = "Id of the API."
  type        = string
  nullable    = false
}

variable "stage" {
  description = "Stage that the domain leads to."
  type        = string
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
