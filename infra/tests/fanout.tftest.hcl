# Large messages: what `fanout` adds, that none of it exists without deliver, and which values are refused.

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
  target = module.function["deliver"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-deliver" }
}

run "off" {
  variables {
    fanout = { split = 0 }
  }

  assert {
    condition     = !contains(keys(output.function_names), "deliver") && !contains(keys(output.log_group_names), "deliver")
    error_message = "there is a function deliver although no chunk is handed over"
  }

  assert {
    condition     = alltrue([for function in module.function : length(setintersection(keys(function.settings.environment), ["DELIVER_FUNCTION", "FANOUT_SPLIT", "FANOUT_WORKERS", "FANOUT_RATE"])) == 0])
    error_message = "a function would hand over chunks although there is no function deliver"
  }

  assert {
    condition     = alltrue([for function in module.function : !strcontains(function.policy, "lambda:")])
    error_message = "a function may invoke another one although there is no function deliver"
  }

  assert {
    condition     = length([for name in module.observability[0].alarm_names : name if strcontains(name, "deliver-")]) == 0
    error_message = "there are alarms on a function that does not exist"
  }
}

run "on" {
  assert {
    condition     = output.function_names["deliver"] == "chat-deliver" && output.log_group_names["deliver"] == "/aws/lambda/chat-deliver"
    error_message = "there is no function deliver by default, or it is not named like the others"
  }

  assert {
    condition = module.function["deliver"].settings == {
      architecture = "x86_64"
      environment = tomap({
        RELEASE             = "v1.2.3-4-gabc"
        TABLE_NAME          = "chat-connections"
        SUBSCRIPTIONS_TABLE = "chat-subscriptions"
        WEBSOCKET_ENDPOINT  = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
        FANOUT_CONCURRENCY  = "64"
      })
      memory_mb       = 512
      timeout_seconds = 30
    }
    error_message = "deliver has other settings"
  }

  assert {
    condition = jsondecode(module.function["deliver"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["execute-api:ManageConnections"], Resource = ["arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/POST/@connections/*"] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-deliver:*"] },
    ]
    error_message = "deliver may do more than post to connections, delete rows of both tables and write its own log"
  }

  assert {
    condition = { for key, function in module.function : key => [
      for name in ["DELIVER_FUNCTION", "FANOUT_SPLIT", "FANOUT_WORKERS", "FANOUT_RATE"] : lookup(function.settings.environment, name, null)
      ] if length(setintersection(keys(function.settings.environment), ["DELIVER_FUNCTION", "FANOUT_SPLIT", "FANOUT_WORKERS", "FANOUT_RATE"])) > 0 } == {
      for key in ["publish", "send-message"] : key => ["arn:aws:lambda:eu-west-1:123456789012:function:chat-deliver:live", "4000", "4", "8000"]
    }
    error_message = "not exactly the sending functions have deliver's alias and the settings of its chunks"
  }

  assert {
    condition = { for key, function in module.function : key => [
      for statement in jsondecode(function.policy).Statement : statement if strcontains(jsonencode(statement), "lambda:")
      ] if strcontains(function.policy, "lambda:") } == {
      for key in ["publish", "send-message"] : key => [{ Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = ["arn:aws:lambda:eu-west-1:123456789012:function:chat-deliver:live"] }]
    }
    error_message = "a sending function may not invoke the alias of deliver or may do more, or another function may invoke it"
  }

  assert {
    condition     = !contains(values(module.websocket_api.routes), "chat-deliver")
    error_message = "clients can invoke deliver"
  }

  assert {
    condition     = length(setsubtract(["chat-deliver-errors", "chat-deliver-throttles", "chat-deliver-duration"], module.observability[0].alarm_names)) == 0
    error_message = "deliver lacks an alarm for errors, throttles or duration"
  }
}

run "chosen_settings" {
  variables {
    fanout             = { split = 500, workers = 9, rate = 2000 }
    memory_mb          = { deliver = 1024 }
    timeout_seconds    = { deliver = 60 }
    fanout_concurrency = 7
    straggler_seconds  = 9
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    subscriptions      = false
    allow_anonymous    = false
    auth               = { issuers = [{ issuer = "https://login.example.com/", audiences = ["chat"] }] }
  }

  assert {
    condition = alltrue([for key in ["publish", "send-message"] :
      [for name in ["FANOUT_SPLIT", "FANOUT_WORKERS", "FANOUT_RATE"] : module.function[key].settings.environment[name]] == ["500", "9", "2000"]
    ])
    error_message = "the sending functions do not get the chosen settings"
  }

  # The sending function closes sockets whose token has expired, and only frames of sockets need a grant.
  assert {
    condition = module.function["deliver"].settings == {
      architecture = "x86_64"
      environment = tomap({
        RELEASE            = "v1.2.3-4-gabc"
        TABLE_NAME         = "chat-connections"
        WEBSOCKET_ENDPOINT = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
        FANOUT_CONCURRENCY = "7"
      })
      memory_mb       = 1024
      timeout_seconds = 60
    }
    error_message = "deliver does not get the chosen settings"
  }

  # DynamoDB uses the key on behalf of the functions.
  assert {
    condition = slice(jsondecode(module.function["deliver"].policy).Statement, 0, 3) == [
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["execute-api:ManageConnections"], Resource = ["arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/POST/@connections/*"] },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = [var.kms_key_arn]
        Condition = { StringLike = { "kms:ViaService" = "dynamodb.eu-west-1.*" } }
      },
    ]
    error_message = "deliver cannot prune rows under the key, may close sockets, or may do more"
  }
}

run "no_limit" {
  variables {
    fanout = { rate = 0 }
  }

  assert {
    condition     = module.function["publish"].settings.environment.FANOUT_RATE == "0"
    error_message = "a rate of 0 (no limit) is replaced by the default"
  }
}

run "small_quota" {
  variables {
    requests_per_second_quota = 2500
  }

  assert {
    condition     = module.function["publish"].settings.environment.FANOUT_RATE == "2000"
    error_message = "the rate does not follow the quota"
  }
}

run "quota_not_divisible" {
  variables {
    requests_per_second_quota = 1111
  }

  assert {
    condition     = module.function["publish"].settings.environment.FANOUT_RATE == "888"
    error_message = "80 % of the quota is not rounded down to a whole number"
  }
}

run "quota_above_the_highest_rate" {
  variables {
    requests_per_second_quota = 5000000
  }

  assert {
    condition     = module.function["publish"].settings.environment.FANOUT_RATE == "1000000"
    error_message = "the default rate exceeds what the functions accept"
  }
}

run "split_negative" {
  command = plan

  variables {
    fanout = { split = -1 }
  }

  expect_failures = [var.fanout]
}

run "split_too_large" {
  command = plan

  variables {
    fanout = { split = 1000001 }
  }

  expect_failures = [var.fanout]
}

run "split_not_whole" {
  command = plan

  variables {
    fanout = { split = 2000.5 }
  }

  expect_failures = [var.fanout]
}

run "no_workers" {
  command = plan

  variables {
    fanout = { workers = 0 }
  }

  expect_failures = [var.fanout]
}

run "too_many_workers" {
  command = plan

  variables {
    fanout = { workers = 101, rate = 0 }
  }

  expect_failures = [var.fanout]
}

run "workers_not_whole" {
  command = plan

  variables {
    fanout = { workers = 1.5 }
  }

  expect_failures = [var.fanout]
}

run "too_slow_for_a_chunk" {
  command = plan

  variables {
    fanout = { workers = 100 }
  }

  expect_failures = [var.fanout]
}

run "rate_negative" {
  command = plan

  variables {
    fanout = { split = 0, rate = -1 }
  }

  expect_failures = [var.fanout]
}

run "rate_too_high" {
  command = plan

  variables {
    fanout = { rate = 1000001 }
  }

  expect_failures = [var.fanout]
}

run "rate_not_whole" {
  command = plan

  variables {
    fanout = { rate = 1000.5 }
  }

  expect_failures = [var.fanout]
}

run "too_slow_for_a_chunk_with_a_small_quota" {
  command = plan

  variables {
    requests_per_second_quota = 624
  }

  expect_failures = [var.fanout]
}

run "smallest_quota" {
  command = plan

  variables {
    requests_per_second_quota = 625
  }
}

run "small_quota_without_deliver" {
  command = plan

  variables {
    requests_per_second_quota = 1
    fanout                    = { split = 0 }
  }
}

run "rate_with_a_small_quota" {
  command = plan

  variables {
    requests_per_second_quota = 1
    fanout                    = { rate = 500 }
  }
}

run "smallest_fanout" {
  command = plan

  variables {
    fanout = { split = 1, workers = 1, rate = 2 }
  }
}

run "largest_fanout" {
  command = plan

  variables {
    fanout          = { split = 1000000, workers = 100, rate = 1000000 }
    memory_mb       = { deliver = 10240 }
    timeout_seconds = { deliver = 900 }
  }
}
