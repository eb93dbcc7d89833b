# What the functions and their policies need to know of the table.

output "name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "session_index" {
  description = "Name of the index by session."
  value       = local.session_index
}

output "session_index_arn" {
  description = "ARN of the index by session."
  value       = "${aws_dynamodb_table.this.arn}/index/${local.session_index}"
}
