# History: what `history_seconds` adds, that none of it exists otherwise, and which values are refused.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
  name            = "chat"
  subscriptions   = false
}

# Distinct ARNs, so that a policy which names another table or another function's log fails the test.
override_resource {
  target = module.messages_table[0].aws_dynamodb_table.this
  values = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/messages" }
}

override_resource {
  target = module.function["history"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-history" }
}

run "off" {
  assert {
    condition     = length(module.messages_table) == 0 && output.messages_table_name == null
    error_message = "there is a messages table without history"
  }

  assert {
    condition     = !contains(keys(output.function_names), "history") && !contains(keys(output.log_group_names), "history")
    error_message = "there is a function history without history"
  }

  assert {
    condition     = !contains(keys(module.websocket_api.routes), "history") && !strcontains(module.websocket_api.routes["$default"], "history")
    error_message = "there is a route history without history"
  }

  assert {
    condition     = alltrue([for function in module.function : length(setintersection(keys(function.settings.environment), ["MESSAGES_TABLE", "HISTORY_SECONDS"])) == 0])
    error_message = "a function has settings of the history without history"
  }

  assert {
    condition     = alltrue([for function in module.function : !strcontains(function.policy, "dynamodb:UpdateItem") && !strcontains(function.policy, "table/messages")])
    error_message = "a function has permissions for the history without history"
  }
}

run "on" {
  variables {
    history_seconds = 86400
  }

  assert {
    condition     = output.messages_table_name == "chat-messages"
    error_message = "the messages table is not named {name}-messages"
  }

  assert {
    condition     = output.function_names["history"] == "chat-history" && output.log_group_names["history"] == "/aws/lambda/chat-history"
    error_message = "the function is not named like the others"
  }

  assert {
    condition = module.function["history"].settings == {
      architecture    = "x86_64"
      environment     = tomap({ RELEASE = "v1.2.3-4-gabc", TABLE_NAME = "chat-connections", MESSAGES_TABLE = "chat-messages" })
      memory_mb       = 256
      timeout_seconds = 10
    }
    error_message = "history has other settings"
  }

  assert {
    condition = jsondecode(module.function["history"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:GetItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/messages"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-history:*"] },
    ]
    error_message = "history may do more than read a connection, read and complete messages, and write its own log"
  }

  assert {
    condition = { for key, function in module.function : key => flatten([
      for statement in jsondecode(function.policy).Statement : statement.Action if contains(statement.Resource, "arn:aws:dynamodb:eu-west-1:123456789012:table/messages")
      ]) if strcontains(function.policy, "table/messages") && key != "history" } == {
      publish      = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      send-message = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
    }
    error_message = "a sending function may not store messages or may do more, or another function may store them"
  }

  assert {
    condition = { for key, function in module.function : key => [
      for name in ["MESSAGES_TABLE", "HISTORY_SECONDS"] : function.settings.environment[name]
      ] if contains(keys(function.settings.environment), "HISTORY_SECONDS") } == {
      publish      = ["chat-messages", "86400"]
      send-message = ["chat-messages", "86400"]
    }
    error_message = "not exactly the sending functions have the messages table and its retention"
  }

  assert {
    condition     = module.websocket_api.routes["history"] == "chat-history" && endswith(module.websocket_api.uris["history"], ":function:chat-history:live/invocations")
    error_message = "the route does not lead to the function's alias"
  }

  assert {
    condition = alltrue([
      for route in keys(module.websocket_api.routes) : strcontains(jsondecode(module.websocket_api.routes["$default"]).message, route) if !startswith(route, "$")
    ])
    error_message = "the answer to an unknown action does not name all known ones"
  }

  assert {
    condition     = length(setsubtract(["chat-history-errors", "chat-history-throttles", "chat-history-duration"], module.observability[0].alarm_names)) == 0
    error_message = "history lacks an alarm for errors, throttles or duration"
  }
}

run "chosen_settings" {
  variables {
    history_seconds = 300
    memory_mb       = { history = 512 }
    timeout_seconds = { history = 20 }
    kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/1"
    allow_anonymous = false
    auth            = { issuers = [{ issuer = "https://login.example.com/", audiences = ["chat"] }] }
  }

  assert {
    condition     = module.function["history"].settings.memory_mb == 512 && module.function["history"].settings.timeout_seconds == 20 && module.function["publish"].settings.environment.HISTORY_SECONDS == "300"
    error_message = "history does not get the chosen settings"
  }

  assert {
    condition     = module.function["history"].settings.environment.REQUIRE_GRANT == "true" && module.websocket_api.authorization["history"] == "NONE"
    error_message = "history answers connections that did not pass the authorizer"
  }

  # DynamoDB uses the key on behalf of the functions.
  assert {
    condition = [for statement in jsondecode(module.function["history"].policy).Statement : statement if try(statement.Condition, null) != null] == [{
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      Resource  = [var.kms_key_arn]
      Condition = { StringLike = { "kms:ViaService" = "dynamodb.eu-west-1.*" } }
    }]
    error_message = "history cannot use the tables under the key, or may use the key for another purpose"
  }
}

run "history_too_short" {
  command = plan

  variables {
    history_seconds = 299
  }

  expect_failures = [var.history_seconds]
}

run "history_too_long" {
  command = plan

  variables {
    history_seconds = 604801
  }

  expect_failures = [var.history_seconds]
}

run "history_not_whole" {
  command = plan

  variables {
    history_seconds = 300.5
  }

  expect_failures = [var.history_seconds]
}

run "history_negative" {
  command = plan

  variables {
    history_seconds = -300
  }

  expect_failures = [var.history_seconds]
}

run "message_too_large_with_history" {
  command = plan

  variables {
    history_seconds   = 300
    max_message_bytes = 129025
  }

  expect_failures = [var.max_message_bytes]
}

run "shortest_history" {
  command = plan

  variables {
    history_seconds   = 300
    max_message_bytes = 129024
  }
}

run "longest_history" {
  command = plan

  variables {
    history_seconds = 604800
    memory_mb       = { history = 10240 }
    timeout_seconds = { history = 900 }
  }
}
