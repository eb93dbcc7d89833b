# What the functions and their policies need; `schema` and `settings` are for tests.

output "name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "schema" {
  description = "Keys of the table, the types of their attributes, and its indexes."
  value = {
    hash_key   = aws_dynamodb_table.this.hash_key
    range_key  = aws_dynamodb_table.this.range_key
    attributes = { for attribute in aws_dynamodb_table.this.attribute : attribute.name => attribute.type }
    indexes = { for index in aws_dynamodb_table.this.global_secondary_index : index.name => [
      index.hash_key, index.range_key, index.projection_type, sort(index.non_key_attributes)
    ] }
  }
}

output "settings" {
  description = "Protection and encryption of the table, and its tags."
  value = {
    point_in_time_recovery = one(aws_dynamodb_table.this.point_in_time_recovery).enabled
    deletion_protection    = aws_dynamodb_table.this.deletion_protection_enabled
    kms_key_arn            = one(aws_dynamodb_table.this.server_side_encryption).kms_key_arn
    tags                   = aws_dynamodb_table.this.tags
  }
}
