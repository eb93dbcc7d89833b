# The resources that the dashboard and the alarms observe, and the topics that are notified.

variable "name" {
  description = "Name of the hub: the prefix of the dashboard, the alarms and the saved queries."
  type        = string
  nullable    = false
}

variable "functions" {
  description = "Functions by their role in the hub: connect, disconnect, send-message, publish and, if they exist, authorizer, history, membership, deliver and census."
  type = map(object({
    name            = string
    log_group_name  = string
    timeout_seconds = number
  }))
  nullable = false

  validation {
    condition     = length(setsubtract(["connect", "disconnect", "publish", "send-message"], keys(var.functions))) == 0
    error_message = "functions must include connect, disconnect, publish and send-message: the dashboard shows their metrics."
  }
}

variable "api" {
  description = "Id and stage of the API."
  type = object({
    id    = string
    stage = string
  })
  nullable = false
}

variable "table" {
  description = "Name of the connections table and of its index by session."
  type = object({
    name          = string
    session_index = string
  })
  nullable = false
}

variable "messages_table" {
  description = "Name of the messages table; null without history."
  type        = string
}

variable "subscriptions_table" {
  description = "Name of the subscriptions table; null without subscriptions."
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
  description = "Release that is deployed."
  type        = string
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}
