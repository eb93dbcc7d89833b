# The table of live connections, and the index that finds those of a session.

locals {
  session_index = "session_id-index"
}

resource "aws_dynamodb_table" "this" {
  # checkov:skip=CKV_AWS_119: a variable (kms_key_arn); encrypted with the key that AWS manages otherwise
  # checkov:skip=CKV_AWS_28: a variable; a restored row is worth nothing, since its socket has closed meanwhile
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "connection_id"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "connection_id"
    type = "S"
  }

  attribute {
    name = "session_id"
    type = "S"
  }

  global_secondary_index {
    name               = local.session_index
    hash_key           = "session_id"
    range_key          = "connection_id"
    projection_type    = "INCLUDE"
    non_key_attributes = ["connected_at", "expires_at"]
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }
}
