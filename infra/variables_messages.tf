# Messages: size, history and subscriptions.

variable "max_message_bytes" {
  description = "Largest delivery in bytes, the whole frame included. API Gateway carries 32 KiB in one frame, and up to 128 KiB in several."
  type        = number
  default     = 32768
  nullable    = false

  validation {
    condition     = var.max_message_bytes >= 1 && var.max_message_bytes <= 131072 && floor(var.max_message_bytes) == var.max_message_bytes
    error_message = "max_message_bytes must be a whole number from 1 to 131072 (128 KiB, API Gateway's limit)."
  }

  validation {
    condition     = var.history_seconds == 0 || var.max_message_bytes <= 129024
    error_message = "max_message_bytes must be at most 129024 (126 KiB) if history_seconds is set: the frame that answers `history` holds a whole delivery, and API Gateway carries 128 KiB."
  }
}

variable "history_seconds" {
  description = "Seconds for which the hub stores a session's messages, so that clients can fetch what they missed. Messages are then numbered, and written to a table before they are posted. Setting it back to 0 deletes that table."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.history_seconds == 0 || (var.history_seconds >= 300 && var.history_seconds <= 604800 && floor(var.history_seconds) == var.history_seconds)
    error_message = "history_seconds must be 0 (no history) or a whole number from 300 (5 minutes) to 604800 (a week)."
  }
}

variable "subscriptions" {
  description = "Whether a connection can subscribe to sessions other than its own. Every message then reads the subscribers of each of its sessions. Setting it to false deletes the subscriptions table."
  type        = bool
  default     = true
  nullable    = false
}
