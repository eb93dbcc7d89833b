# For tests.

output "expression" {
  description = "Schedule expression of EventBridge."
  value       = aws_cloudwatch_event_rule.this.schedule_expression
}

output "target_arn" {
  description = "ARN of the invoked alias."
  value       = aws_cloudwatch_event_target.this.arn
}
