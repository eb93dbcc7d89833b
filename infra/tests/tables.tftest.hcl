# The schemas of the tables, on which the functions rely, and their options.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
  history_seconds = 300

  name                   = "hub"
  point_in_time_recovery = false
  deletion_protection    = false
  tags                   = { team = "chat" }
}

run "schemas" {
  assert {
    condition = jsonencode(module.connections_table.schema) == jsonencode({
      hash_key   = "connection_id"
      range_key  = null
      attributes = { connection_id = "S", session_id = "S" }
      indexes    = { "session_id-index" = ["session_id", "connection_id", "INCLUDE", ["connected_at", "expires_at"]] }
    })
    error_message = "the connections table is not keyed by connection, or its index not by session with both times"
  }

  assert {
    condition = jsonencode(module.messages_table[0].schema) == jsonencode({
      hash_key   = "session_id"
      range_key  = "offset"
      attributes = { session_id = "S", offset = "N" }
      indexes    = {}
    })
    error_message = "the messages table is not keyed by session and offset, or has an index"
  }

  assert {
    condition = jsonencode(module.subscriptions_table[0].schema) == jsonencode({
      hash_key   = "session_id"
      range_key  = "connection_id"
      attributes = { connection_id = "S", session_id = "S" }
      indexes    = {}
    })
    error_message = "the subscriptions table is not keyed by session and connection, or has an index"
  }

  assert {
    condition     = alltrue([for table in [module.connections_table, module.messages_table[0], module.subscriptions_table[0]] : jsonencode({ for name, value in table.settings : name => value if name != "kms_key_arn" }) == jsonencode({ point_in_time_recovery = false, deletion_protection = false, tags = { team = "chat", websocket-hub = "hub" } })])
    error_message = "a table lacks the tags, or an option is on by default"
  }
}

run "recovery_protection_and_key" {
  variables {
    point_in_time_recovery = true
    deletion_protection    = true
    kms_key_arn            = "arn:aws:kms:eu-west-1:123456789012:key/1"
  }

  assert {
    condition     = alltrue([for table in [module.connections_table, module.messages_table[0], module.subscriptions_table[0]] : jsonencode(table.settings) == jsonencode({ point_in_time_recovery = true, deletion_protection = true, kms_key_arn = var.kms_key_arn, tags = { team = "chat", websocket-hub = "hub" } })])
    error_message = "a table is not recoverable, protected or encrypted with the given key"
  }
}

run "one_table" {
  module {
    source = "./modules/table"
  }

  variables {
    hash_key   = "session_id"
    attributes = { session_id = "S" }
  }

  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires_at"
    error_message = "expired items are never deleted"
  }

  assert {
    condition     = aws_dynamodb_table.this.server_side_encryption[0].enabled && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "the table is not encrypted, or not on demand"
  }
}
