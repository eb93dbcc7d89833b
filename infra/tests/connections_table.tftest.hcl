# The table's shape, which the functions rely on.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                   = "connections"
  point_in_time_recovery = false
  deletion_protection    = false
  tags                   = { team = "chat" }
}

run "table" {
  module {
    source = "./modules/connections_table"
  }

  assert {
    condition     = aws_dynamodb_table.this.tags == tomap({ team = "chat" })
    error_message = "the table does not have the tags"
  }

  assert {
    condition     = aws_dynamodb_table.this.name == "connections" && aws_dynamodb_table.this.hash_key == "connection_id" && aws_dynamodb_table.this.range_key == null
    error_message = "the key is not connection_id alone"
  }

  assert {
    condition     = { for attribute in aws_dynamodb_table.this.attribute : attribute.name => attribute.type } == { connection_id = "S", session_id = "S" }
    error_message = "the keys are not the strings connection_id and session_id"
  }

  assert {
    condition = [for index in aws_dynamodb_table.this.global_secondary_index : [
      index.name, index.hash_key, index.range_key, index.projection_type, sort(index.non_key_attributes)
    ]] == [["session_id-index", "session_id", "connection_id", "INCLUDE", tolist(["connected_at", "expires_at"])]]
    error_message = "the index does not find the connections of a session, with both times"
  }

  assert {
    condition     = output.session_index == one(aws_dynamodb_table.this.global_secondary_index).name && output.session_index_arn == "${aws_dynamodb_table.this.arn}/index/session_id-index"
    error_message = "the outputs do not name the index that is there"
  }

  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires_at"
    error_message = "dead connections would stay for ever"
  }

  assert {
    condition     = aws_dynamodb_table.this.server_side_encryption[0].enabled && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "the table is not encrypted, or not paid by request"
  }

  assert {
    condition     = !aws_dynamodb_table.this.point_in_time_recovery[0].enabled && !aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "what was not asked for is on"
  }
}

run "recovery_and_protection" {
  module {
    source = "./modules/connections_table"
  }

  variables {
    point_in_time_recovery = true
    deletion_protection    = true
  }

  assert {
    condition     = aws_dynamodb_table.this.point_in_time_recovery[0].enabled && aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "what was asked for is off"
  }
}

run "key_of_the_users" {
  module {
    source = "./modules/connections_table"
  }

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1"
  }

  assert {
    condition     = aws_dynamodb_table.this.server_side_encryption[0].enabled && aws_dynamodb_table.this.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    error_message = "the table is not encrypted with the given key"
  }
}
