# What callers and the dashboard need; `policy` and `settings` are for tests.

output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "alias" {
  description = "Name of the alias that callers use."
  value       = aws_lambda_alias.this.name
}

output "alias_arn" {
  description = "ARN of the alias. Unknown while the function is replaced."
  value       = aws_lambda_alias.this.arn
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "policy" {
  description = "All of the function's permissions, as an IAM policy in JSON."
  value       = aws_iam_role_policy.this.policy
}

output "settings" {
  description = "How the function runs."
  value = {
    architecture    = one(aws_lambda_function.this.architectures)
    environment     = one(aws_lambda_function.this.environment).variables
    memory_mb       = aws_lambda_function.this.memory_size
    timeout_seconds = aws_lambda_function.this.timeout
  }
}
