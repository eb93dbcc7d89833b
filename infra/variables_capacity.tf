# Capacity and pace: quotas, throttles, fan-out, memory and timeouts.

variable "requests_per_second_quota" {
  description = "Requests per second that API Gateway grants this account in this region. Service Quotas shows it as \"Throttle rate\": 10,000 in most regions, 2,500 in some (such as af-south-1 and eu-south-1), more once AWS has raised it. The hub's posts to connections count towards it. This variable does not change the quota: the default of fanout.rate and the alarm posts-near-quota are derived from it."
  type        = number
  default     = 10000
  nullable    = false

  validation {
    condition     = var.requests_per_second_quota > 0
    error_message = "requests_per_second_quota must be greater than 0."
  }
}

variable "throttling_rate_limit" {
  description = "Steady-state requests per second of each route. API Gateway refuses more with 429."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.throttling_rate_limit > 0
    error_message = "throttling_rate_limit must be greater than 0: at 0 the API refuses every connection."
  }
}

variable "throttling_burst_limit" {
  description = "Burst of requests that each route accepts above throttling_rate_limit."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.throttling_burst_limit >= 1 && floor(var.throttling_burst_limit) == var.throttling_burst_limit
    error_message = "throttling_burst_limit must be a whole number of at least 1: at 0 the API refuses every connection."
  }
}

locals {
  # 80 % of the quota, as a whole number, and at most what the functions accept.
  default_fanout_rate = min(1000000, floor(var.requests_per_second_quota * 4 / 5))
}

variable "fanout" {
  description = <<-EOT
    How a message to very many connections is shared between functions. send-message and publish post to the first recipients themselves, and hand over the others to the function deliver in full chunks, several at a time. They also post to recipients that do not fill a chunk, or that deliver failed to post to.

    - split: recipients of a message that the sending function posts to itself before it hands over any. A chunk has 2,000 connections, or `split` if that is less. 0: it posts to all of them, and the hub has no function deliver.
    - workers: maximum concurrent chunks of one message. Each is an invocation and counts towards the account's concurrent executions. More workers at the same rate only slow each other down.
    - rate: maximum posts per second of one message across all functions, retries included, once it has handed over a chunk. Each invocation of deliver may use rate / (workers + 1), and the sending function whatever the running ones leave of it. 0 means no limit. Default: 80 % of requests_per_second_quota.
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
    error_message = "fanout.split must be a whole number from 0 (no function deliver) to 1000000."
  }

  validation {
    condition     = var.fanout.workers >= 1 && var.fanout.workers <= 100 && floor(var.fanout.workers) == var.fanout.workers
    error_message = "fanout.workers must be a whole number from 1 to 100. For no function deliver, set fanout.split = 0."
  }

  validation {
    condition     = var.fanout.rate == null ? true : var.fanout.rate >= 0 && var.fanout.rate <= 1000000 && floor(var.fanout.rate) == var.fanout.rate
    error_message = "fanout.rate must be a whole number from 0 (no limit) to 1000000."
  }

  # A slower worker would not finish a chunk in the time that a message sent over a socket has, and so would get none.
  validation {
    condition     = coalesce(var.fanout.rate, -1) == 0 || 20 * floor(coalesce(var.fanout.rate, local.default_fanout_rate) / max(1, var.fanout.workers + 1)) >= min(2000, var.fanout.split)
    error_message = "fanout must be fast enough for a worker to post a chunk within 20 s: at a rate of ${coalesce(var.fanout.rate, local.default_fanout_rate)}, each of ${var.fanout.workers} workers may make ${floor(coalesce(var.fanout.rate, local.default_fanout_rate) / max(1, var.fanout.workers + 1))} posts per second, and a chunk has ${min(2000, var.fanout.split)}. Decrease fanout.workers or fanout.split, or increase fanout.rate if the account's quota allows it (the default is 80 % of requests_per_second_quota; Service Quotas shows the quota)."
  }
}

variable "fanout_concurrency" {
  description = "Maximum concurrent posts in one invocation of send-message, publish or deliver. An invocation starts with a few, and increases their number while posts succeed."
  type        = number
  default     = 64
  nullable    = false

  validation {
    condition     = var.fanout_concurrency >= 1 && var.fanout_concurrency <= 512 && floor(var.fanout_concurrency) == var.fanout_concurrency
    error_message = "fanout_concurrency must be a whole number from 1 to 512: a function has 1,024 file descriptors for everything it does."
  }
}

variable "straggler_seconds" {
  description = "Seconds without any result, after which a receipt no longer waits for the last recipients; three times as long if no recipient has answered."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.straggler_seconds >= 1 && var.straggler_seconds <= 60 && floor(var.straggler_seconds) == var.straggler_seconds
    error_message = "straggler_seconds must be a whole number from 1 to 60."
  }
}

variable "connection_ttl_seconds" {
  description = "Seconds after which the hub forgets a connection whose disconnect it has not seen. API Gateway closes every socket after 2 h; the default adds half an hour."
  type        = number
  default     = 9000
  nullable    = false

  validation {
    condition     = var.connection_ttl_seconds >= 7200 && var.connection_ttl_seconds <= 86400 && floor(var.connection_ttl_seconds) == var.connection_ttl_seconds
    error_message = "connection_ttl_seconds must be a whole number from 7200 to 86400: a socket may live 2 h, and with less it would stop receiving messages while it is open."
  }
}

variable "memory_mb" {
  description = "Memory of each function in MB. Processor time is proportional to it."
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
    error_message = "memory_mb must be a whole number from 128 to 10240 for each function."
  }
}

variable "timeout_seconds" {
  description = "Timeout of each function in seconds. API Gateway waits at most 29 s for send-message, history and membership. publish, which backends invoke, may need up to 900 s for its largest messages. deliver needs a second or two for a chunk, and longer at a low fanout.rate."
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
    error_message = "timeout_seconds must be a whole number from 1 to 900 for each function."
  }

  validation {
    condition     = var.timeout_seconds.authorizer >= 8
    error_message = "timeout_seconds.authorizer must be at least 8: it makes up to two requests to an issuer, of up to 3 s each."
  }
}
