# Every setting of a hub. `region` must be given, and who may connect: `auth`, or `allow_anonymous = true`.

variable "name" {
  description = "Name of the hub, and the prefix of everything it creates."
  type        = string
  default     = "websocket-hub"
  nullable    = false

  validation {
    # The longest name made from it, a role's ("{name}-send-message-{region}"), may have 64 characters.
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,31}$", var.name))
    error_message = "name must be 1 to 32 letters, digits and hyphens and begin with a letter."
  }
}

variable "region" {
  description = "AWS region of the hub: that of the provider which the module is given."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must look like eu-west-1, and be the region of the provider that the module is given."
  }
}

variable "tags" {
  description = "Tags of every resource that can carry them, beside the tag websocket-hub, which is the hub's name."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : length(key) <= 128 && !startswith(lower(key), "aws:")])
    error_message = "tags: a key has at most 128 characters and may not begin with \"aws:\", which AWS keeps for itself."
  }

  validation {
    condition     = !contains(keys(var.tags), "websocket-hub")
    error_message = "tags: websocket-hub is set by the module, to the hub's name."
  }
}

variable "stage" {
  description = "Stage of the API: the last part of its address."
  type        = string
  default     = "live"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,128}$", var.stage))
    error_message = "stage must be 1 to 128 letters, digits, hyphens and underscores."
  }
}

variable "websocket_endpoint" {
  description = "Base address of the @connections API, where the functions post, and of the address for clients: https://…, without a slash at the end. Default: the API's own. For a domain name of your own, see custom_domain."
  type        = string
  default     = null

  validation {
    condition     = var.websocket_endpoint == null || can(regex("^(https://[^/\\s?#]+|http://(127\\.0\\.0\\.1|localhost)(:[0-9]+)?)(/[^/\\s?#]+)*$", var.websocket_endpoint))
    error_message = "websocket_endpoint must be https://host/path without a slash at the end (http:// only for 127.0.0.1 and localhost). wss:// is the address for clients; the functions post to the same place by https://."
  }
}

variable "throttling_rate_limit" {
  description = "Steady-state request rate of each route, in requests per second; more are refused with 429."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.throttling_rate_limit > 0
    error_message = "throttling_rate_limit must be greater than 0: with 0 the API refuses every connection."
  }
}

variable "throttling_burst_limit" {
  description = "Burst of requests that each route accepts above throttling_rate_limit."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.throttling_burst_limit >= 1 && floor(var.throttling_burst_limit) == var.throttling_burst_limit
    error_message = "throttling_burst_limit must be a whole number of at least 1: with 0 the API refuses every connection."
  }
}

variable "detailed_metrics" {
  description = "Whether CloudWatch counts each route by itself as well. AWS charges for these metrics; those of the whole API are free."
  type        = bool
  default     = false
  nullable    = false
}

# What the rules of `auth` have in common.
locals {
  # Where keys are fetched: over HTTPS, or on the same machine. A placeholder such as {tenant} is no host, and <tenant> no path.
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
    JWT authentication: the issuers whose tokens may connect. Without it, allow_anonymous must be true. A token is a JWT that says who issued it (iss) and for whom (aud), and its claims name the sessions that its bearer may join, send to and subscribe to. docs/identity-providers.md has the settings for each provider.

    For each issuer:

    - issuer: the tokens' iss, to the letter. Without jwks_url an https:// URL.
    - audiences: the audience claim must hold one of them.
    - audience_claim: name of that claim; client_id for Cognito's access tokens, for example.
    - jwks_url: where the issuer's keys are. Default: where its OpenID discovery document says.
    - session_claim, send_claim, subscribe_claim: names of the claims that hold the sessions.
    - patterns: whether a * at the end of a session in these three claims stands for every session with that prefix. Otherwise a token with a * is refused.

    A claim's name is one at the top level, or, if it begins with /, a JSON pointer: /app_metadata/session_id.
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

  # A local made from var.auth would be a cycle, so each rule goes through the issuers by itself. can() and try() are there for
  # nulls, which Terraform lets through for what is required too.

  validation {
    condition     = var.auth == null || anytrue([for one in flatten(var.auth[*].issuers) : one != null])
    error_message = "auth.issuers must not be empty: list at least one { issuer = \"https://login.example.com/\", audiences = [\"chat\"] }, or leave auth out and set allow_anonymous = true."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : can(regex(local.issuer_pattern, one.issuer))])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}].issuer" if !can(regex(local.issuer_pattern, one.issuer))])} must be what tokens have as their iss, to the letter: not empty, without whitespace at either end and without control characters."
  }

  validation {
    condition     = length(distinct([for one in flatten(var.auth[*].issuers) : try(one.issuer, null)])) == length(flatten(var.auth[*].issuers))
    error_message = "auth.issuers: one issuer has one entry, with all of its audiences. Listed more than once: ${join(", ", [for text, entries in { for one in flatten(var.auth[*].issuers) : jsonencode(try(one.issuer, null)) => one... } : text if length(entries) > 1])}."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : try(one.jwks_url, null) != null || !can(regex(local.issuer_pattern, one.issuer)) || can(regex(local.discovery_pattern, one.issuer))])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}]" if try(one.jwks_url, null) == null && can(regex(local.issuer_pattern, one.issuer)) && !can(regex(local.discovery_pattern, one.issuer))])}: set jwks_url, since this issuer is no https:// URL at which keys can be looked up: without a query string, fragment or user, and without a placeholder such as {tenant} or <tenant> (http:// only for 127.0.0.1 and localhost)."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : try(one.jwks_url, null) == null || can(regex(local.jwks_url_pattern, one.jwks_url))])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}].jwks_url" if try(one.jwks_url, null) != null && !can(regex(local.jwks_url_pattern, one.jwks_url))])} must be an https:// URL without a fragment or user, and without a placeholder such as {tenant} or <tenant> (http:// only for 127.0.0.1 and localhost); leave it out to have it looked up."
  }

  validation {
    condition     = alltrue([for one in flatten(var.auth[*].issuers) : try(length(one.audiences) > 0 && alltrue([for text in one.audiences : trimspace(text) != ""]), one == null)])
    error_message = "${join(", ", [for index, one in flatten(var.auth[*].issuers) : "auth.issuers[${index}].audiences" if !try(length(one.audiences) > 0 && alltrue([for text in one.audiences : trimspace(text) != ""]), one == null)])} must list at least one audience, and none that is empty."
  }

  validation {
    condition     = alltrue(flatten([for one in flatten(var.auth[*].issuers) : [for name in local.claim_names : try(trimspace(one[name]) != "", true)]]))
    error_message = "${join(", ", flatten([for index, one in flatten(var.auth[*].issuers) : [for name in local.claim_names : "auth.issuers[${index}].${name}" if try(trimspace(one[name]) == "", false)]]))} must not be empty: write the name of a claim, or leave it out."
  }

  validation {
    condition     = alltrue(flatten([for one in flatten(var.auth[*].issuers) : [for name in local.claim_names : !can(regex(local.bad_pointer_pattern, one[name]))]]))
    error_message = "${join(", ", flatten([for index, one in flatten(var.auth[*].issuers) : [for name in local.claim_names : "auth.issuers[${index}].${name}" if can(regex(local.bad_pointer_pattern, one[name]))]]))}: a name that begins with / is a JSON pointer (RFC 6901). ~ is written ~0 in a JSON pointer, and a / within a name ~1."
  }

  # Bytes and not characters: three of them make four characters of base64.
  validation {
    condition     = floor(length(replace(base64encode(jsonencode(flatten(var.auth[*].issuers))), "=", "")) * 3 / 4) <= 3000
    error_message = "auth.issuers takes ${floor(length(replace(base64encode(jsonencode(flatten(var.auth[*].issuers))), "=", "")) * 3 / 4)} bytes as JSON, and may take 3000: Lambda gives a function 4 KB for its environment. List fewer issuers or audiences, or shorter ones."
  }
}

variable "allow_anonymous" {
  description = "Whether the hub is open to everyone: whoever knows the address can join any session, and subscribe and send to any. Must be true where auth is not set, and may not be where it is."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.allow_anonymous == (var.auth == null)
    error_message = var.allow_anonymous ? "auth and allow_anonymous = true contradict each other: remove one of them." : "This hub has no authentication. Set auth, or allow_anonymous = true if whoever knows the address may join any session, and subscribe and send to any."
  }
}

variable "custom_domain" {
  description = "Domain name for clients, and the ARN of its ACM certificate in the hub's region. The output custom_domain_target is what the DNS record must point to. The functions keep posting to the API's own address."
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
    error_message = "custom_domain.certificate_arn must be the ARN of an ACM certificate in the hub's region: arn:aws:acm:eu-west-1:123456789012:certificate/…"
  }
}

variable "permissions_boundary" {
  description = "ARN of an IAM policy that becomes the permissions boundary of every role. Default: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:[^:]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy: arn:aws:iam::123456789012:policy/…"
  }
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of your own for the tables, the logs and the functions' environment. Its policy must let CloudWatch Logs use it: docs/security.md has the statement. Default: the keys that AWS owns or manages."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, arn:aws:kms:eu-west-1:123456789012:key/…, and not of an alias."
  }
}

variable "artifacts_dir" {
  description = "Folder of the built functions: <artifacts_dir>/<function>/bootstrap.zip and <artifacts_dir>/release.json. Default: target/lambda beside infra/, where scripts/build.sh puts them."
  type        = string
  default     = null

  validation {
    condition     = var.artifacts_dir != ""
    error_message = "artifacts_dir must name a folder; leave it out to use target/lambda."
  }
}

variable "architecture" {
  description = "Instruction set architecture of the functions: x86_64, or arm64, which costs a fifth less. Must be the one that the zips were built for."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "memory_mb" {
  description = "Memory of each function in MB. Processor time comes in proportion."
  type = object({
    authorizer   = optional(number, 256)
    census       = optional(number, 256)
    connect      = optional(number, 256)
    deliver      = optional(number, 512)
    disconnect   = optional(number, 256)
    history      = optional(number, 256)
    membership   = optional(number, 256)
    publish      = optional(number, 512)
    send-message = optional(number, 512)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for mb in values(var.memory_mb) : mb >= 128 && mb <= 10240 && floor(mb) == mb])
    error_message = "memory_mb: each must be a whole number from 128 to 10240."
  }
}

variable "timeout_seconds" {
  description = "Timeout of each function in seconds. API Gateway waits 29 s for send-message, history and membership, whatever they have here; publish, which backends invoke, may take up to 900 s for its largest messages. deliver takes a second or two for a chunk of a message, and longer where fanout gives it a low rate."
  type = object({
    authorizer   = optional(number, 10)
    census       = optional(number, 60)
    connect      = optional(number, 10)
    deliver      = optional(number, 30)
    disconnect   = optional(number, 10)
    history      = optional(number, 10)
    membership   = optional(number, 10)
    publish      = optional(number, 30)
    send-message = optional(number, 30)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for seconds in values(var.timeout_seconds) : seconds >= 1 && seconds <= 900 && floor(seconds) == seconds])
    error_message = "timeout_seconds: each must be a whole number from 1 to 900."
  }

  validation {
    condition     = var.timeout_seconds.authorizer >= 8
    error_message = "timeout_seconds: authorizer must be at least 8, because its issuer may take 3 s for each of two questions."
  }
}

variable "fanout_concurrency" {
  description = "Most posts under way at once in one invocation of send-message, publish or deliver. It begins with a few."
  type        = number
  default     = 64
  nullable    = false

  validation {
    condition     = var.fanout_concurrency >= 1 && var.fanout_concurrency <= 512 && floor(var.fanout_concurrency) == var.fanout_concurrency
    error_message = "fanout_concurrency must be a whole number from 1 to 512: a function has 1,024 file descriptors for all it does."
  }
}

locals {
  # 80 % of the quota, whole, and no more than a function takes.
  default_fanout_rate = min(1000000, floor(var.requests_per_second_quota * 4 / 5))
}

variable "fanout" {
  description = <<-EOT
    How a message to very many connections is shared out. send-message and publish post to the first of them themselves and hand the rest to the function deliver, in full chunks, several of which are under way at once. What fills no chunk, and what deliver fails to do, they post themselves.

    - split: recipients of a message that they post to themselves before they hand out any. A chunk has 2,000 connections, or as many as `split` where that is less. 0 hands out nothing, and there is no function deliver.
    - workers: most chunks of one message under way at once. Each is an invocation and counts towards the account's concurrent executions. More of them without a higher rate only make each slower.
    - rate: most posts per second of one message over all functions once a chunk is handed out, repeated attempts included. Each invocation of deliver may make rate / (workers + 1) of them, and the function that hands out what those at work leave. Default: 80 % of requests_per_second_quota. 0 is no bound.
  EOT
  type = object({
    split   = optional(number, 4000)
    workers = optional(number, 4)
    rate    = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.fanout.split >= 0 && var.fanout.split <= 1000000 && floor(var.fanout.split) == var.fanout.split
    error_message = "fanout.split must be a whole number from 0 (nothing is handed out) to 1000000."
  }

  validation {
    condition     = var.fanout.workers >= 1 && var.fanout.workers <= 100 && floor(var.fanout.workers) == var.fanout.workers
    error_message = "fanout.workers must be a whole number from 1 to 100; fanout.split = 0 hands out nothing."
  }

  validation {
    condition     = var.fanout.rate == null ? true : var.fanout.rate >= 0 && var.fanout.rate <= 1000000 && floor(var.fanout.rate) == var.fanout.rate
    error_message = "fanout.rate must be a whole number from 0 (no bound) to 1000000."
  }

  # Otherwise no chunk would be done in the time that a message has over a socket, and so none is handed out.
  validation {
    condition     = coalesce(var.fanout.rate, -1) == 0 || 20 * floor(coalesce(var.fanout.rate, local.default_fanout_rate) / max(1, var.fanout.workers + 1)) >= min(2000, var.fanout.split)
    error_message = "fanout: at a rate of ${coalesce(var.fanout.rate, local.default_fanout_rate)}, each of ${var.fanout.workers} workers may make ${floor(coalesce(var.fanout.rate, local.default_fanout_rate) / max(1, var.fanout.workers + 1))} posts per second, and would need more than 20 s for a chunk of ${min(2000, var.fanout.split)}. Set fanout.workers to less, fanout.rate to more if the account's quota allows it (by default it is 80 % of requests_per_second_quota, which Service Quotas shows), or fanout.split to less."
  }
}

variable "ca_bundle" {
  description = "PEM file of the certificate authorities that the functions trust, as they see it. By default Amazon's own for AWS and the machine's for other addresses. /etc/pki/tls/certs/ca-bundle.crt is the machine's: for a proxy or a partition that Amazon's roots do not cover, at some milliseconds for each start."
  type        = string
  default     = null

  validation {
    condition     = var.ca_bundle == null || can(regex("^/[^ ]+$", var.ca_bundle))
    error_message = "ca_bundle must be an absolute path, such as /etc/pki/tls/certs/ca-bundle.crt."
  }
}

variable "straggler_seconds" {
  description = "How long a message's receipt waits for the last recipients once none of them is settled any more; three times as long where none could be reached."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.straggler_seconds >= 1 && var.straggler_seconds <= 60 && floor(var.straggler_seconds) == var.straggler_seconds
    error_message = "straggler_seconds must be a whole number from 1 to 60."
  }
}

variable "max_message_bytes" {
  description = "Largest delivery in bytes, frame and all. API Gateway carries 32 KiB in one frame, and up to 128 KiB in several; with history_seconds at most 126 KiB."
  type        = number
  default     = 32768
  nullable    = false

  validation {
    condition     = var.max_message_bytes >= 1 && var.max_message_bytes <= 131072 && floor(var.max_message_bytes) == var.max_message_bytes
    error_message = "max_message_bytes must be a whole number from 1 to 131072 (128 KiB, API Gateway's limit)."
  }

  validation {
    condition     = var.history_seconds == 0 || var.max_message_bytes <= 129024
    error_message = "max_message_bytes must be at most 129024 (126 KiB) where history_seconds is set: the frame that answers `history` holds a whole delivery, and API Gateway carries 128 KiB."
  }
}

variable "history_seconds" {
  description = "Seconds for which a session's messages are kept, so that its clients can fetch what they missed: 300 (5 minutes) to 604800 (a week). Messages are then numbered, and stored before they are posted: 2 write units for each session of a message of up to 1 KB ($1.25 per million), 34 for 32 KB ($21). Default: 0, no history; set back to 0, it deletes the table of messages."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.history_seconds == 0 || (var.history_seconds >= 300 && var.history_seconds <= 604800 && floor(var.history_seconds) == var.history_seconds)
    error_message = "history_seconds must be 0 (no history) or a whole number from 300 (5 minutes) to 604800 (a week)."
  }
}

variable "subscriptions" {
  description = "Whether a connection can subscribe to sessions beside its own. A message then reads the subscribers of each of its sessions: one read unit for every 34 subscribers or so, and one where there are none ($0.13 per million). Set to false, it deletes the table of subscriptions."
  type        = bool
  default     = true
  nullable    = false
}

variable "census_minutes" {
  description = "Minutes from one count of the open connections to the next; 0 counts none. A count reads the whole index: at 5 minutes some $0.14 a month for each 10,000 open connections."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.census_minutes >= 0 && var.census_minutes <= 1440 && floor(var.census_minutes) == var.census_minutes
    error_message = "census_minutes must be a whole number from 0 (never) to 1440 (once a day)."
  }
}

variable "log_level" {
  description = "Minimum level of the functions' log lines. Above INFO, Lambda also drops the lines that carry the metrics, which count as INFO: that needs observability = false and census_minutes = 0."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "log_level must be TRACE, DEBUG, INFO, WARN, ERROR or FATAL."
  }

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO"], var.log_level) || (!var.observability && var.census_minutes == 0)
    error_message = "log_level ${var.log_level} would drop the metrics that the alarms and the dashboard read, since their lines count as INFO. Use INFO, DEBUG or TRACE, or set observability = false and census_minutes = 0."
  }
}

variable "access_logs" {
  description = "Whether API Gateway logs every connect, message and disconnect: time, route, connection, session, status and the caller's address, and neither query string nor headers nor messages. Needs the account's role for API Gateway's logs, which infra/bootstrap sets with gateway_logs = true. Costs some $0.15 per million lines."
  type        = bool
  default     = false
  nullable    = false
}

variable "tracing" {
  description = "Whether X-Ray traces the functions' invocations ($5 per million traces; X-Ray takes the first each second and 5 % of the others). WebSocket APIs themselves are not traced."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps the logs; 0 keeps them for ever."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch knows: 0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "observability" {
  description = "Whether there is a dashboard, alarms and saved Logs Insights queries. At list prices $7 to $9.50 a month for each hub: $3 for the dashboard (an account has three free) and $0.10 for each of 40 to 64 metrics under alarm (ten free). The hub's own metrics, up to 52 at $0.30 (ten free), are written in any case."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_topic_arns" {
  description = "SNS topics in the hub's region that are notified on ALARM and on OK. Without one, alarms are seen on the dashboard only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[^:]+:sns:[^:]+:[0-9]{12}:[^:]+$", arn))])
    error_message = "alarm_topic_arns: each must be an SNS topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:on-call."
  }
}

variable "requests_per_second_quota" {
  description = "Requests per second that API Gateway grants this account in this region (Service Quotas, \"Throttle rate\"): 10,000 in most regions, 2,500 in some, such as af-south-1 and eu-south-1, and more once AWS has raised it. The hub's posts to connections count. It changes nothing at AWS: fanout.rate and an alarm are made from it."
  type        = number
  default     = 10000
  nullable    = false

  validation {
    condition     = var.requests_per_second_quota > 0
    error_message = "requests_per_second_quota must be greater than 0."
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

variable "connection_ttl_seconds" {
  description = "Seconds after which a connection without a disconnect is removed. API Gateway ends every socket after 2 h; the default is half an hour more."
  type        = number
  default     = 9000
  nullable    = false

  validation {
    condition     = var.connection_ttl_seconds >= 7200 && var.connection_ttl_seconds <= 86400 && floor(var.connection_ttl_seconds) == var.connection_ttl_seconds
    error_message = "connection_ttl_seconds must be a whole number from 7200 to 86400: a socket may live 2 h, and with less it would stop receiving while it is open."
  }
}

variable "point_in_time_recovery" {
  description = "Whether the tables can be restored to any second of the last 35 days. Off by default: a row is worth nothing once its socket has closed, and messages expire."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the tables. scripts/destroy.sh then refuses before it removes anything; a plain `terraform destroy` removes the API and its address first, and fails at the tables."
  type        = bool
  default     = false
  nullable    = false
}
