# Subscriptions: what `subscriptions` adds, and that none of it exists otherwise.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
  name            = "chat"
}

# Distinct ARNs, so that a policy which names another table or another function's log fails the test.
override_resource {
  target = module.subscriptions_table[0].aws_dynamodb_table.this
  values = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions" }
}

override_resource {
  target = module.messages_table[0].aws_dynamodb_table.this
  values = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/messages" }
}

override_resource {
  target = module.function["membership"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-membership" }
}

run "off" {
  variables {
    subscriptions = false
  }

  assert {
    condition     = length(module.subscriptions_table) == 0 && output.subscriptions_table_name == null
    error_message = "there is a subscriptions table without subscriptions"
  }

  assert {
    condition     = !contains(keys(output.function_names), "membership") && !contains(keys(output.log_group_names), "membership")
    error_message = "there is a function membership without subscriptions"
  }

  assert {
    condition     = toset(keys(module.websocket_api.routes)) == toset(["$connect", "$default", "$disconnect", "ping", "sendMessage"]) && endswith(jsondecode(module.websocket_api.routes["$default"]).message, "whose action is sendMessage or ping.")
    error_message = "there are routes of membership without subscriptions"
  }

  assert {
    condition     = alltrue([for function in module.function : !contains(keys(function.settings.environment), "SUBSCRIPTIONS_TABLE")])
    error_message = "a function has the subscriptions table without subscriptions"
  }

  assert {
    condition     = alltrue([for function in module.function : !strcontains(function.policy, "dynamodb:BatchWriteItem") && !strcontains(function.policy, "table/subscriptions")])
    error_message = "a function has permissions for subscriptions without subscriptions"
  }
}

run "on" {
  assert {
    condition     = output.subscriptions_table_name == "chat-subscriptions"
    error_message = "there are no subscriptions by default, or their table is not named {name}-subscriptions"
  }

  assert {
    condition     = output.function_names["membership"] == "chat-membership" && output.log_group_names["membership"] == "/aws/lambda/chat-membership"
    error_message = "the function is not named like the others"
  }

  assert {
    condition = module.function["membership"].settings == {
      architecture    = "x86_64"
      environment     = tomap({ RELEASE = "v1.2.3-4-gabc", TABLE_NAME = "chat-connections", SUBSCRIPTIONS_TABLE = "chat-subscriptions" })
      memory_mb       = 256
      timeout_seconds = 10
    }
    error_message = "membership has other settings"
  }

  assert {
    condition = jsondecode(module.function["membership"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:GetItem", "dynamodb:UpdateItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["dynamodb:BatchWriteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-membership:*"] },
    ]
    error_message = "membership may do more than read and update a connection, write and delete subscriptions, and write its own log"
  }

  assert {
    condition = { for key, function in module.function : key => flatten([
      for statement in jsondecode(function.policy).Statement : statement.Action if contains(statement.Resource, "arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions")
      ]) if strcontains(function.policy, "table/subscriptions") } == {
      deliver      = ["dynamodb:DeleteItem"]
      disconnect   = ["dynamodb:BatchWriteItem"]
      membership   = ["dynamodb:BatchWriteItem"]
      publish      = ["dynamodb:DeleteItem", "dynamodb:Query"]
      send-message = ["dynamodb:DeleteItem", "dynamodb:Query"]
    }
    error_message = "a function has too few or too many permissions on the subscriptions table"
  }

  assert {
    condition     = [for key, function in module.function : key if lookup(function.settings.environment, "SUBSCRIPTIONS_TABLE", "") == "chat-subscriptions"] == ["deliver", "disconnect", "membership", "publish", "send-message"]
    error_message = "not exactly the functions that use subscriptions have their table"
  }

  assert {
    condition     = { for route, function in module.websocket_api.routes : route => function if function == "chat-membership" } == { for route in ["hello", "subscribe", "unsubscribe"] : route => "chat-membership" }
    error_message = "membership does not answer exactly hello, subscribe and unsubscribe"
  }

  assert {
    condition     = endswith(module.websocket_api.uris["subscribe"], ":function:chat-membership:live/invocations")
    error_message = "the route does not lead to the function's alias"
  }

  assert {
    condition     = endswith(jsondecode(module.websocket_api.routes["$default"]).message, "whose action is hello, sendMessage, subscribe, unsubscribe or ping.")
    error_message = "the answer to an unknown action does not name all known ones"
  }

  assert {
    condition     = length(setsubtract(["chat-membership-errors", "chat-membership-throttles", "chat-membership-duration"], module.observability[0].alarm_names)) == 0
    error_message = "membership lacks an alarm for errors, throttles or duration"
  }
}

run "with_history" {
  variables {
    history_seconds = 300
    memory_mb       = { membership = 512 }
    timeout_seconds = { membership = 20 }
    kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/1"
    allow_anonymous = false
    auth            = { issuers = [{ issuer = "https://login.example.com/", audiences = ["chat"] }] }
  }

  assert {
    condition = module.function["membership"].settings == {
      architecture = "x86_64"
      environment = tomap({
        RELEASE             = "v1.2.3-4-gabc"
        TABLE_NAME          = "chat-connections"
        SUBSCRIPTIONS_TABLE = "chat-subscriptions"
        MESSAGES_TABLE      = "chat-messages"
        REQUIRE_GRANT       = "true"
      })
      memory_mb       = 512
      timeout_seconds = 20
    }
    error_message = "membership does not get the chosen settings, or answers connections that did not pass the authorizer"
  }

  # DynamoDB uses the key on behalf of the functions.
  assert {
    condition = slice(jsondecode(module.function["membership"].policy).Statement, 2, 4) == [
      { Effect = "Allow", Action = ["dynamodb:GetItem", "dynamodb:UpdateItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/messages"] },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = [var.kms_key_arn]
        Condition = { StringLike = { "kms:ViaService" = "dynamodb.eu-west-1.*" } }
      },
    ]
    error_message = "membership cannot read the latest offset, cannot use the tables under the key, or may do more"
  }

  assert {
    condition     = !contains(keys(module.function["history"].settings.environment), "SUBSCRIPTIONS_TABLE") && !strcontains(module.function["history"].policy, "table/subscriptions")
    error_message = "history has the subscriptions table, although it reads subscriptions from the connection's row"
  }

  assert {
    condition     = alltrue([for route in ["hello", "subscribe", "unsubscribe"] : module.websocket_api.authorization[route] == "NONE"])
    error_message = "a route other than $connect needs a token, which API Gateway does not support"
  }

  assert {
    condition     = endswith(jsondecode(module.websocket_api.routes["$default"]).message, "whose action is hello, history, sendMessage, subscribe, unsubscribe or ping.")
    error_message = "the answer to an unknown action does not name all known ones"
  }
}
