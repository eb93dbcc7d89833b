# What describes the schedule to people and tests.

output "expression" {
  description = "The schedule, as EventBridge writes it."
  value       = aws_cloudwatch_event_rule.this.schedule_expression
}

output "target_arn" {
  description = "ARN of what is invoked."
  value       = aws_cloudwatch_event_target.this.arn
}
