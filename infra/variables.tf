# The hub: its region, names and addresses.

variable "region" {
  description = "AWS region of the hub. It must be the region of the provider that the module receives."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must be the name of an AWS region, such as eu-west-1."
  }
}

variable "name" {
  description = "Name of the hub, and prefix of the names of everything it creates."
  type        = string
  default     = "websocket-hub"
  nullable    = false

  validation {
    # The longest name made from it, a role's ("{name}-send-message-{region}"), may have 64 characters.
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,31}$", var.name))
    error_message = "name must be 1 to 32 letters, digits and hyphens, beginning with a letter."
  }
}

variable "table_name" {
  description = "Name of the connections table. Default: {name}-connections."
  type        = string
  default     = null

  validation {
    condition     = var.table_name == null || can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.table_name))
    error_message = "table_name must be 3 to 255 letters, digits, dots, hyphens and underscores."
  }
}

variable "stage" {
  description = "Stage of the API, which is the last part of its address."
  type        = string
  default     = "live"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,128}$", var.stage))
    error_message = "stage must be 1 to 128 letters, digits, hyphens and underscores."
  }
}

variable "custom_domain" {
  description = <<-EOT
    Domain name for clients. Its DNS record must point to the output custom_domain_target. The functions keep posting to the API's own address. Default: none.

    - name: the domain name.
    - certificate_arn: ARN of the domain's ACM certificate, in the hub's region.
  EOT
  type = object({
    name            = string
    certificate_arn = string
  })
  default = null

  validation {
    condition     = var.custom_domain == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.custom_domain.name))
    error_message = "custom_domain.name must be a domain name in lower case, such as hub.example.com, without wss:// and without a path."
  }

  validation {
    condition     = var.custom_domain == null || can(regex("^arn:[^:]+:acm:[^:]+:[0-9]{12}:certificate/", var.custom_domain.certificate_arn))
    error_message = "custom_domain.certificate_arn must be the ARN of an ACM certificate: arn:aws:acm:eu-west-1:123456789012:certificate/…"
  }
}

variable "websocket_endpoint" {
  description = "Base address of the @connections API, to which the functions post. Without custom_domain, the address for clients is made from it too. Default: the API's own address."
  type        = string
  default     = null

  validation {
    condition     = var.websocket_endpoint == null || can(regex("^(https://[^/\\s?#]+|http://(127\\.0\\.0\\.1|localhost)(:[0-9]+)?)(/[^/\\s?#]+)*$", var.websocket_endpoint))
    error_message = "websocket_endpoint must be https://host/path without a slash at the end (http:// only for 127.0.0.1 and localhost). Clients connect to wss://, but the functions post to the same place by https://."
  }
}

variable "tags" {
  description = "Tags for every resource that can carry them, in addition to the tag websocket-hub, which holds the hub's name."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : length(key) <= 128 && !startswith(lower(key), "aws:")])
    error_message = "tags must have keys of at most 128 characters that do not begin with \"aws:\", a prefix that AWS reserves."
  }

  validation {
    condition     = !contains(keys(var.tags), "websocket-hub")
    error_message = "tags must be without the key websocket-hub: the module sets this tag to the hub's name."
  }
}
