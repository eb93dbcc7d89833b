# What shows that the role is in place.

output "role_arn" {
  description = "ARN of the role under which API Gateway writes logs in this account and region."
  value       = aws_api_gateway_account.this.cloudwatch_role_arn
}
