# The whole hub: names, permissions and environments of the functions, routes and addresses.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
}

override_resource {
  target = module.subscriptions_table[0].aws_dynamodb_table.this
  values = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions" }
}

# Distinct log groups, so that a policy which names another function's fails the test.
override_resource {
  target = module.function["connect"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-connect" }
}

override_resource {
  target = module.function["disconnect"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-disconnect" }
}

override_resource {
  target = module.function["send-message"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-send-message" }
}

override_resource {
  target = module.function["publish"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-publish" }
}

override_resource {
  target = module.function["census"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-census" }
}

run "defaults" {
  assert {
    condition = output.function_names == {
      census       = "websocket-hub-census"
      connect      = "websocket-hub-connect"
      deliver      = "websocket-hub-deliver"
      disconnect   = "websocket-hub-disconnect"
      membership   = "websocket-hub-membership"
      publish      = "websocket-hub-publish"
      send-message = "websocket-hub-send-message"
    }
    error_message = "the functions are not named {name}-{function}"
  }

  assert {
    condition = output.log_group_names == {
      census       = "/aws/lambda/websocket-hub-census"
      connect      = "/aws/lambda/websocket-hub-connect"
      deliver      = "/aws/lambda/websocket-hub-deliver"
      disconnect   = "/aws/lambda/websocket-hub-disconnect"
      membership   = "/aws/lambda/websocket-hub-membership"
      publish      = "/aws/lambda/websocket-hub-publish"
      send-message = "/aws/lambda/websocket-hub-send-message"
    }
    error_message = "the log groups are not /aws/lambda/{name}-{function}"
  }

  assert {
    condition     = output.alias == "live" && alltrue([for uri in values(module.websocket_api.uris) : endswith(uri, ":live/invocations")])
    error_message = "a caller does not use the alias, and would not follow a rollback"
  }

  assert {
    condition     = output.table_name == "websocket-hub-connections"
    error_message = "the table is not named {name}-connections"
  }

  assert {
    condition     = output.api_id == "a1b2c3"
    error_message = "api_id is not the API's id"
  }

  # The whole policy of each function, so that an additional action fails the test.

  assert {
    condition = jsondecode(module.function["connect"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:PutItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-connect:*"] },
    ]
    error_message = "connect may do more than put rows and write its own log"
  }

  assert {
    condition = jsondecode(module.function["disconnect"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["dynamodb:BatchWriteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-disconnect:*"] },
    ]
    error_message = "disconnect may do more than delete rows and subscriptions and write its own log"
  }

  assert {
    condition = jsondecode(module.function["send-message"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:Query"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections/index/session_id-index"] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["execute-api:ManageConnections"], Resource = ["arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/POST/@connections/*"] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem", "dynamodb:Query"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions"] },
      { Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = ["arn:aws:lambda:eu-west-1:123456789012:function:websocket-hub-deliver:live"] },
      { Effect = "Allow", Action = ["dynamodb:GetItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-send-message:*"] },
    ]
    error_message = "send-message may do more than query the index and the subscriptions, read a row, delete rows of both, post to connections, invoke deliver and write its own log"
  }

  assert {
    condition = jsondecode(module.function["publish"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:Query"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections/index/session_id-index"] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["execute-api:ManageConnections"], Resource = ["arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/POST/@connections/*"] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem", "dynamodb:Query"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions"] },
      { Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = ["arn:aws:lambda:eu-west-1:123456789012:function:websocket-hub-deliver:live"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-publish:*"] },
    ]
    error_message = "publish may do more than query the index and the subscriptions, delete rows of both, post to connections, invoke deliver and write its own log"
  }

  assert {
    condition     = output.publish_arn == module.function["publish"].alias_arn && module.function["publish"].settings == module.function["send-message"].settings
    error_message = "publish_arn is another function's, or publish has other settings than send-message"
  }

  assert {
    condition = jsondecode(module.function["census"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:Scan"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections/index/session_id-index"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-census:*"] },
    ]
    error_message = "census may do more than count the index and write its own log"
  }

  assert {
    condition = module.function["census"].settings == {
      architecture    = "x86_64"
      environment     = tomap({ RELEASE = "v1.2.3-4-gabc", TABLE_NAME = "websocket-hub-connections", SESSION_INDEX = "session_id-index" })
      memory_mb       = 256
      timeout_seconds = 60
    }
    error_message = "census has other settings"
  }

  assert {
    condition     = module.schedule["census"].expression == "rate(5 minutes)" && module.schedule["census"].target_arn == module.function["census"].alias_arn
    error_message = "the schedule is not every 5 minutes, or does not invoke the alias"
  }

  assert {
    condition = module.function["connect"].settings == {
      architecture    = "x86_64"
      environment     = tomap({ RELEASE = "v1.2.3-4-gabc", TABLE_NAME = "websocket-hub-connections", CONNECTION_TTL_SECONDS = "9000" })
      memory_mb       = 256
      timeout_seconds = 10
    }
    error_message = "connect has other settings"
  }

  assert {
    condition = module.function["disconnect"].settings == {
      architecture    = "x86_64"
      environment     = tomap({ RELEASE = "v1.2.3-4-gabc", TABLE_NAME = "websocket-hub-connections", SUBSCRIPTIONS_TABLE = "websocket-hub-subscriptions" })
      memory_mb       = 256
      timeout_seconds = 10
    }
    error_message = "disconnect has other settings"
  }

  assert {
    condition = module.function["send-message"].settings == {
      architecture = "x86_64"
      environment = tomap({
        RELEASE             = "v1.2.3-4-gabc"
        TABLE_NAME          = "websocket-hub-connections"
        SUBSCRIPTIONS_TABLE = "websocket-hub-subscriptions"
        SESSION_INDEX       = "session_id-index"
        WEBSOCKET_ENDPOINT  = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
        FANOUT_CONCURRENCY  = "64"
        STRAGGLER_SECONDS   = "5"
        MAX_MESSAGE_BYTES   = "32768"
        DELIVER_FUNCTION    = "arn:aws:lambda:eu-west-1:123456789012:function:websocket-hub-deliver:live"
        FANOUT_SPLIT        = "4000"
        FANOUT_WORKERS      = "4"
        FANOUT_RATE         = "8000"
      })
      memory_mb       = 512
      timeout_seconds = 30
    }
    error_message = "send-message has other settings"
  }

  assert {
    condition = { for route, answer in module.websocket_api.routes : route => answer if !contains(["ping", "$default"], route) } == {
      "$connect"    = "websocket-hub-connect"
      "$disconnect" = "websocket-hub-disconnect"
      sendMessage   = "websocket-hub-send-message"
      hello         = "websocket-hub-membership"
      subscribe     = "websocket-hub-membership"
      unsubscribe   = "websocket-hub-membership"
    }
    error_message = "a route invokes the wrong function, or there is one too many or too few"
  }

  assert {
    condition     = jsondecode(module.websocket_api.routes["ping"]) == { type = "pong" }
    error_message = "ping is not answered by a pong frame"
  }

  assert {
    condition     = jsondecode(module.websocket_api.routes["$default"]).type == "error" && jsondecode(module.websocket_api.routes["$default"]).code == "unknown_action"
    error_message = "an unknown action is not answered by an unknown_action error frame"
  }

  assert {
    condition = alltrue([
      for route in keys(module.websocket_api.routes) : strcontains(jsondecode(module.websocket_api.routes["$default"]).message, route) if !startswith(route, "$")
    ])
    error_message = "the answer to an unknown action does not name all known ones"
  }

  assert {
    condition     = output.connections_endpoint == "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
    error_message = "connections_endpoint is not the API's own address by https"
  }

  assert {
    condition     = output.websocket_url == "wss://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
    error_message = "websocket_url is not the API's own address by wss"
  }
}

run "chosen_settings" {
  variables {
    name                   = "Chat"
    stage                  = "beta"
    table_name             = "people.online"
    artifacts_dir          = "./tests/fixtures/arm64"
    architecture           = "arm64"
    memory_mb              = { send-message = 1024 }
    timeout_seconds        = { send-message = 300, connect = 5 }
    fanout_concurrency     = 7
    straggler_seconds      = 9
    ca_bundle              = "/etc/pki/tls/certs/ca-bundle.crt"
    max_message_bytes      = 131072
    connection_ttl_seconds = 7200
    census_minutes         = 1
  }

  assert {
    condition     = module.schedule["census"].expression == "rate(1 minute)"
    error_message = "the schedule does not have the chosen interval"
  }

  assert {
    condition     = output.function_names["send-message"] == "Chat-send-message" && output.table_name == "people.online"
    error_message = "a chosen name is not used"
  }

  assert {
    condition     = output.websocket_url == "wss://a1b2c3.execute-api.eu-west-1.amazonaws.com/beta"
    error_message = "the address does not end in the chosen stage"
  }

  assert {
    condition     = strcontains(module.function["send-message"].policy, "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/beta/POST/@connections/*")
    error_message = "send-message may not post to the chosen stage"
  }

  assert {
    condition = (
      module.function["connect"].settings.environment.TABLE_NAME == "people.online" &&
      module.function["connect"].settings.environment.CONNECTION_TTL_SECONDS == "7200" &&
      module.function["connect"].settings.timeout_seconds == 5 &&
      module.function["connect"].settings.memory_mb == 256
    )
    error_message = "connect does not get the chosen settings, or not the default of the others"
  }

  assert {
    condition = (
      module.function["send-message"].settings.environment.FANOUT_CONCURRENCY == "7" &&
      module.function["send-message"].settings.environment.STRAGGLER_SECONDS == "9" &&
      module.function["send-message"].settings.environment.MAX_MESSAGE_BYTES == "131072" &&
      module.function["send-message"].settings.memory_mb == 1024 &&
      module.function["send-message"].settings.timeout_seconds == 300 &&
      module.function["send-message"].settings.architecture == "arm64"
    )
    error_message = "send-message does not get the chosen settings"
  }

  assert {
    condition     = alltrue([for function in module.function : function.settings.environment.AWS_CA_BUNDLE == "/etc/pki/tls/certs/ca-bundle.crt"])
    error_message = "a function does not trust the chosen authorities"
  }
}

run "key_and_boundary" {
  variables {
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
  }

  # DynamoDB uses the key on behalf of the functions.
  assert {
    condition = alltrue([for function in module.function : [
      for statement in jsondecode(function.policy).Statement : statement if try(statement.Condition, null) != null
      ] == [{
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = [var.kms_key_arn]
        Condition = { StringLike = { "kms:ViaService" = "dynamodb.eu-west-1.*" } }
    }]])
    error_message = "a function cannot use the table under the key, or may use the key for another purpose"
  }
}
