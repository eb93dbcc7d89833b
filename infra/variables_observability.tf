# Observability: metrics, alarms, logs and traces.

variable "observability" {
  description = "Whether the hub has a dashboard, alarms and saved Logs Insights queries. The functions write their metrics in any case."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_topic_arns" {
  description = "SNS topics in the hub's region that are notified on ALARM and on OK. Without one, alarms are visible only on the dashboard."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[^:]+:sns:[^:]+:[0-9]{12}:[^:]+$", arn))])
    error_message = "alarm_topic_arns must be ARNs of SNS topics, such as arn:aws:sns:eu-west-1:123456789012:on-call."
  }
}

variable "census_minutes" {
  description = "Minutes between two counts of the open connections. A count reads the whole index by session."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.census_minutes >= 0 && var.census_minutes <= 1440 && floor(var.census_minutes) == var.census_minutes
    error_message = "census_minutes must be a whole number from 0 (never) to 1440 (once a day)."
  }
}

variable "log_level" {
  description = "Minimum level of the functions' log lines. Lines that carry metrics count as INFO."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "log_level must be TRACE, DEBUG, INFO, WARN, ERROR or FATAL."
  }

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO"], var.log_level) || (!var.observability && var.census_minutes == 0)
    error_message = "log_level must be TRACE, DEBUG or INFO unless observability = false and census_minutes = 0: at ${var.log_level} Lambda drops the lines that carry the metrics, which the alarms and the dashboard read."
  }
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs; 0 keeps them forever."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be 0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653: CloudWatch has no other periods."
  }
}

variable "access_logs" {
  description = "Whether API Gateway logs every connect, message and disconnect: time, route, connection, session, status and the caller's address, but no query string, header or message. It needs the account's role for API Gateway's logs, which infra/bootstrap creates with gateway_logs = true."
  type        = bool
  default     = false
  nullable    = false
}

variable "tracing" {
  description = "Whether X-Ray traces invocations of the functions. X-Ray samples the first invocation each second and 5 % of the others. WebSocket APIs themselves are not traced."
  type        = bool
  default     = false
  nullable    = false
}

variable "detailed_metrics" {
  description = "Whether CloudWatch also has API Gateway's metrics for each route. AWS charges for these; those of the whole API are free."
  type        = bool
  default     = false
  nullable    = false
}
