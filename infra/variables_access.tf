# Who may connect: exactly one of `auth` and `allow_anonymous = true`.

# What the rules of `auth` have in common.
locals {
  # Keys are fetched over HTTPS, or from the same machine. A placeholder such as {tenant} is not a host, and <tenant> not a path.
  port              = "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
  key_origin        = "(https://[A-Za-z0-9._-]+|http://(127\\.0\\.0\\.1|localhost))${local.port}"
  discovery_pattern = "^${local.key_origin}(/[^\\s\\p{Cc}?#\"<>`{}]*)?$"
  jwks_url_pattern  = "^${local.key_origin}([/?][^\\s\\p{Cc}#\"<>`{}]*)?$"

  issuer_pattern      = "^[^\\p{Z}\\p{Cc}]([^\\p{Cc}]*[^\\p{Z}\\p{Cc}])?$"
  claim_names         = ["audience_claim", "session_claim", "send_claim", "subscribe_claim"]
  bad_pointer_pattern = "(?s)^/.*~([^01]|$)"
}

variable "auth" {
  description = <<-EOT
    JWT authentication: the issuers whose tokens may connect. The claims of a token name the sessions that its bearer may join, send to and subscribe to. docs/identity-providers.md has the settings for each provider. A setting names a claim at the top level of the token, or, if it begins with `/`, by a JSON pointer such as `/app_metadata/session_id`. Default: none.

    - issuer: the iss claim of the issuer's tokens. An https:// URL unless jwks_url is set.
    - audiences: a token's audience must be one of these.
    - audience_claim: claim that holds the audience; client_id for Cognito's access tokens, for example.
    - jwks_url: address of the issuer's public keys. Default: the one in its OpenID discovery document.
    - session_claim: claim that holds the sessions that the bearer may join.
    - send_claim: claim that holds the sessions to which the bearer may send.
    - subscribe_claim: claim that holds the sessions to which the bearer may subscribe.
    - patterns: whether a session ending in `*` in these three claims stands for every session with that prefix. If false, the authorizer refuses a token with a `*`.
  EOT
  type = object({
    issuers = list(object({
      issuer          = string
      audiences       = list(string)
      audience_claim  = optional(string, "aud")
      jwks_url        = optional(string)
      session_claim   = optional(string, "session_id")
      send_claim      = optional(string, "send_to")
      subscribe_claim = optional(string, "subscribe_to")
      patterns        = optional(bool, false)
    }))
  })
  default = null

  # A local made from var.auth would be a cycle, so each rule walks the issuers by itself. can() and try() handle nulls, which
  # Terraform admits even for required attributes.

  validation {
    condition     = var.auth == null || anytrue([for one in flatten(var.auth[*].issuers) : one != null])
    error_message = "auth must have at least one issuer: add one, such as { issuer = \"https://login.example.com/\", audiences = [\"chat\"] }, or remove auth and set allow_anonymous = true."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : can(regex(local.issuer_pattern, one.issuer))])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}].issuer" if !can(regex(local.issuer_pattern, one.issuer))])} must be exactly the iss of the tokens: not empty, without whitespace at either end and without control characters."
  }

  validation {
    condition     = length(distinct([for one in flatten(var.auth[*].issuers) : try(one.issuer, null)])) == length(flatten(var.auth[*].issuers))
    error_message = "auth must have one entry for each issuer: list all of its audiences there. Listed more than once: ${join(", ", [for text, entries in { for one in flatten(var.auth[*].issuers) : jsonencode(try(one.issuer, null)) => one... } : text if length(entries) > 1])}."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : try(one.jwks_url, null) != null || !can(regex(local.issuer_pattern, one.issuer)) || can(regex(local.discovery_pattern, one.issuer))])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}]" if try(one.jwks_url, null) == null && can(regex(local.issuer_pattern, one.issuer)) && !can(regex(local.discovery_pattern, one.issuer))])}: set jwks_url, because the keys cannot be discovered from this issuer. Discovery needs an https:// URL without a query string, fragment, user or placeholder such as {tenant} or <tenant> (http:// only for 127.0.0.1 and localhost)."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : try(one.jwks_url, null) == null || can(regex(local.jwks_url_pattern, one.jwks_url))])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}].jwks_url" if try(one.jwks_url, null) != null && !can(regex(local.jwks_url_pattern, one.jwks_url))])} must be an https:// URL without a fragment, user or placeholder such as {tenant} or <tenant> (http:// only for 127.0.0.1 and localhost). Remove it to have it discovered."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : try(length(one.audiences) > 0 && alltrue([for text in one.audiences : trimspace(text) != ""]), one == null)])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}].audiences" if !try(length(one.audiences) > 0 && alltrue([for text in one.audiences : trimspace(text) != ""]), one == null)])} must be a list of at least one audience, none of them empty."
  }

  validation {
    condition     = alltrue(flatten([for one in flatten(var.auth[*].issuers) : [for name in local.claim_names : try(trimspace(one[name]) != "", true)]]))
    error_message = "${join(", ", flatten([for index, one in flatten(var.auth[*].issuers) : [for name in local.claim_names : "auth.issuers[${index}].${name}" if try(trimspace(one[name]) == "", false)]]))} must not be empty: write the name of a claim, or remove it."
  }

  validation {
    condition     = alltrue(flatten([for one in flatten(var.auth[*].issuers) : [for name in local.claim_names : !can(regex(local.bad_pointer_pattern, one[name]))]]))
    error_message = "${join(", ", flatten([for index, one in flatten(var.auth[*].issuers) : [for name in local.claim_names : "auth.issuers[${index}].${name}" if can(regex(local.bad_pointer_pattern, one[name]))]]))} must be a valid JSON pointer (RFC 6901), since it begins with /: write ~ as ~0, and a / inside a name as ~1."
  }

  # Bytes and not characters: three of them make four characters of base64.
  validation {
    condition     = floor(length(replace(base64encode(jsonencode(flatten(var.auth[*].issuers))), "=", "")) * 3 / 4) <= 3000
    error_message = "auth must have at most 3000 bytes as JSON: this list takes ${floor(length(replace(base64encode(jsonencode(flatten(var.auth[*].issuers))), "=", "")) * 3 / 4)} bytes, and Lambda limits a function's environment to 4 KB. List fewer or shorter issuers and audiences."
  }
}

variable "allow_anonymous" {
  description = "Whether the hub is open to everyone: whoever knows the address can join any session, and subscribe and send to any."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.allow_anonymous == (var.auth == null)
    error_message = var.allow_anonymous ? "auth and allow_anonymous = true contradict each other: remove one of them." : "This hub has no authentication. Set auth, or allow_anonymous = true if whoever knows the address may join any session, and subscribe and send to any."
  }
}
