# What the dashboard and the alarms are about, and what is notified.

variable "name" {
  description = "Name of the hub: the prefix of the dashboard, the alarms and the saved queries."
  type        = string
  nullable    = false
}

variable "functions" {
  description = "The functions, by what they do: connect, disconnect, send-message, publish, and where they exist authorizer, history, membership, deliver and census."
  type = map(object({
    name            = string
    log_group_name  = string
    timeout_seconds = number
  }))
  nullable = false

  validation {
    condition     = length(setsubtract(["connect", "disconnect", "publish", "send-message"], keys(var.functions))) == 0
    error_message = "functions must have connect, disconnect, publish and send-message: the dashboard shows their metrics."
  }
}

variable "api" {
  description = "The API's id and stage."
  type = object({
    id    = string
    stage = string
  })
  nullable = false
}

variable "table" {
  description = "Name of the connections table, and that of its index by session."
  type = object({
    name          = string
    session_index = string
  })
  nullable = false
}

variable "messages_table" {
  description = "Name of the table of messages; null without history."
  type        = string
}

variable "subscriptions_table" {
  description = "Name of the table of subscriptions; null without subscriptions."
  type        = string
}

variable "requests_per_second_quota" {
  description = "Requests per second that API Gateway grants the account in this region."
  type        = number
  nullable    = false
}

variable "alarm_topic_arns" {
  description = "SNS topics that are notified on ALARM and on OK."
  type        = list(string)
  nullable    = false
}

variable "region" {
  description = "Region of the hub."
  type        = string
  nullable    = false
}

variable "release" {
  description = "Release that was deployed last."
  type        = string
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
