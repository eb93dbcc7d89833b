# JWT authentication: what `auth` adds, and that none of it exists otherwise.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alias      = "live"
  alias_arns = { for name in ["hub-another", "hub-authorizer", "hub-connect"] : name => "arn:aws:lambda:eu-west-1:123456789012:function:${name}:live" }

  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
  tags            = {}
}

# Distinct log groups, so that a policy which names another function's fails the test.
override_resource {
  target = module.function["authorizer"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-authorizer" }
}

override_resource {
  target = module.function["send-message"].aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:of-send-message" }
}

override_resource {
  target = module.subscriptions_table[0].aws_dynamodb_table.this
  values = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions" }
}

run "open" {
  assert {
    condition     = sort(keys(output.function_names)) == tolist(["census", "connect", "deliver", "disconnect", "membership", "publish", "send-message"])
    error_message = "there is an authorizer function without auth"
  }

  assert {
    condition     = output.authorizer_arn == null
    error_message = "there is an ARN of the authorizer without auth"
  }

  assert {
    condition     = module.websocket_api.authorizer == null && values(module.websocket_api.authorization) == [for route in keys(module.websocket_api.routes) : "NONE"]
    error_message = "a route needs a token without auth"
  }

  assert {
    condition     = alltrue([for function in module.function : !contains(keys(function.settings.environment), "REQUIRE_GRANT")]) && !strcontains(module.function["send-message"].policy, "DELETE")
    error_message = "without auth, a function requires grants, or send-message may close connections"
  }
}

run "with_tokens" {
  variables {
    name            = "chat"
    allow_anonymous = false
    auth            = { issuers = [{ issuer = "https://login.example.com/", audiences = ["chat"] }] }
  }

  assert {
    condition     = output.function_names["authorizer"] == "chat-authorizer" && output.log_group_names["authorizer"] == "/aws/lambda/chat-authorizer"
    error_message = "the authorizer is not named like the other functions"
  }

  assert {
    condition = module.function["authorizer"].settings == {
      architecture = "x86_64"
      environment = tomap({
        RELEASE = "v1.2.3-4-gabc"
        AUTH_ISSUERS = jsonencode([{
          issuer          = "https://login.example.com/"
          audiences       = ["chat"]
          audience_claim  = "aud"
          jwks_url        = null
          session_claim   = "session_id"
          send_claim      = "send_to"
          subscribe_claim = "subscribe_to"
          patterns        = false
        }])
      })
      memory_mb       = 256
      timeout_seconds = 10
    }
    error_message = "the authorizer has other settings"
  }

  assert {
    condition = jsondecode(module.function["authorizer"].policy).Statement == [
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-authorizer:*"] },
    ]
    error_message = "the authorizer may do more than write its own log"
  }

  assert {
    condition     = output.authorizer_arn == module.function["authorizer"].alias_arn
    error_message = "authorizer_arn is not the alias of the authorizer"
  }

  assert {
    condition     = module.websocket_api.authorizer == "chat-authorizer"
    error_message = "another function is the authorizer"
  }

  assert {
    condition     = { for route, type in module.websocket_api.authorization : route => type if type != "NONE" } == { "$connect" = "CUSTOM" }
    error_message = "the routes that need a token are not exactly $connect"
  }

  assert {
    condition = jsondecode(module.function["send-message"].policy).Statement == [
      { Effect = "Allow", Action = ["dynamodb:Query"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections/index/session_id-index"] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["execute-api:ManageConnections"], Resource = [
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/POST/@connections/*",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/live/DELETE/@connections/*",
      ] },
      { Effect = "Allow", Action = ["dynamodb:DeleteItem", "dynamodb:Query"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/subscriptions"] },
      { Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = ["arn:aws:lambda:eu-west-1:123456789012:function:chat-deliver:live"] },
      { Effect = "Allow", Action = ["dynamodb:GetItem"], Resource = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-send-message:*"] },
    ]
    error_message = "send-message may not close connections, or may do more"
  }

  assert {
    condition     = [for key, function in module.function : key if lookup(function.settings.environment, "REQUIRE_GRANT", "false") == "true"] == ["connect", "membership", "publish", "send-message"]
    error_message = "a function accepts connections that did not pass the authorizer, or does not close those whose token has expired"
  }
}

run "chosen_settings" {
  variables {
    allow_anonymous = false
    auth = { issuers = [
      {
        issuer          = "http://127.0.0.1:8081"
        audiences       = ["hub", "hub-mobile"]
        jwks_url        = "http://127.0.0.1:8081/keys?set=1"
        session_claim   = "sub"
        send_claim      = "https://example.com/send_to"
        subscribe_claim = "rooms"
        patterns        = true
      },
      {
        issuer          = "accounts.example.com"
        audiences       = ["web"]
        audience_claim  = "azp"
        jwks_url        = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
        session_claim   = "/app_metadata/session_id"
        send_claim      = "/app_metadata/a~1b"
        subscribe_claim = "/app_metadata/c~0d"
      },
    ] }
    memory_mb       = { authorizer = 128 }
    timeout_seconds = { authorizer = 20 }
  }

  assert {
    condition = module.function["authorizer"].settings == {
      architecture = "x86_64"
      environment = tomap({
        RELEASE = "v1.2.3-4-gabc"
        AUTH_ISSUERS = jsonencode([
          {
            issuer          = "http://127.0.0.1:8081"
            audiences       = ["hub", "hub-mobile"]
            audience_claim  = "aud"
            jwks_url        = "http://127.0.0.1:8081/keys?set=1"
            session_claim   = "sub"
            send_claim      = "https://example.com/send_to"
            subscribe_claim = "rooms"
            patterns        = true
          },
          {
            issuer          = "accounts.example.com"
            audiences       = ["web"]
            audience_claim  = "azp"
            jwks_url        = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
            session_claim   = "/app_metadata/session_id"
            send_claim      = "/app_metadata/a~1b"
            subscribe_claim = "/app_metadata/c~0d"
            patterns        = false
          },
        ])
      })
      memory_mb       = 128
      timeout_seconds = 20
    }
    error_message = "the authorizer does not get the chosen settings"
  }
}

run "authorizer_of_the_api" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    name                   = "hub"
    stage                  = "live"
    throttling_burst_limit = 50
    throttling_rate_limit  = 100
    detailed_metrics       = false
    functions              = { "$connect" = "hub-connect" }
    replies                = {}
    authorizer             = "hub-authorizer"
  }

  assert {
    condition = [for authorizer in aws_apigatewayv2_authorizer.this : [authorizer.authorizer_type, authorizer.authorizer_uri]] == [
      ["REQUEST", "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:hub-authorizer:live/invocations"],
    ]
    error_message = "the authorizer is not the function that was given"
  }

  # API Gateway refuses a handshake that lacks an identity source, or spells it differently, without invoking the authorizer.
  assert {
    condition = aws_apigatewayv2_authorizer.this["$connect"].identity_sources == toset([
      for variable in keys(aws_apigatewayv2_stage.this.stage_variables) : "stageVariables.${variable}"
    ])
    error_message = "the authorizer's identity source is not a variable that the stage has"
  }

  assert {
    condition     = aws_apigatewayv2_route.this["$connect"].authorizer_id == aws_apigatewayv2_authorizer.this["$connect"].id
    error_message = "$connect does not use the authorizer"
  }

  assert {
    condition = [for p in aws_lambda_permission.authorizer : [p.function_name, p.qualifier, p.principal, p.action, p.source_arn]] == [
      ["hub-authorizer", "live", "apigateway.amazonaws.com", "lambda:InvokeFunction", "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/authorizers/d4e5f6"],
    ]
    error_message = "API Gateway may not invoke the authorizer, or another service may"
  }
}

run "authorizer_removed" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    name                   = "hub"
    stage                  = "live"
    throttling_burst_limit = 50
    throttling_rate_limit  = 100
    detailed_metrics       = false
    functions              = { "$connect" = "hub-connect" }
    replies                = {}
  }

  assert {
    condition     = output.deployment_hash != run.authorizer_of_the_api.deployment_hash
    error_message = "adding or removing an authorizer makes no new deployment"
  }

  assert {
    condition     = length(aws_apigatewayv2_authorizer.this) == 0 && length(aws_lambda_permission.authorizer) == 0 && aws_apigatewayv2_route.this["$connect"].authorizer_id == null
    error_message = "a part of the authorizer remains"
  }
}

run "authorizer_replaced" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    name                   = "hub"
    stage                  = "live"
    throttling_burst_limit = 50
    throttling_rate_limit  = 100
    detailed_metrics       = false
    functions              = { "$connect" = "hub-connect" }
    replies                = {}
    authorizer             = "hub-another"
  }

  assert {
    condition     = output.deployment_hash != run.authorizer_of_the_api.deployment_hash
    error_message = "replacing the authorizer makes no new deployment"
  }
}

# tests/test_issuers.py lists which single issuers are refused and accepted.
run "no_issuers" {
  command = plan

  variables {
    allow_anonymous = false
    auth            = { issuers = [] }
  }

  expect_failures = [var.auth]
}

run "issuers_null" {
  command = plan

  variables {
    allow_anonymous = false
    auth            = { issuers = null }
  }

  expect_failures = [var.auth]
}

run "all_kinds_of_issuers" {
  command = plan

  variables {
    allow_anonymous = false
    auth = { issuers = [
      { issuer = "https://login.example.com:8443/tenant/v2.0/", audiences = ["hub"], jwks_url = "https://keys.example.com?tenant=1" },
      { issuer = "https://login.example.com:8443/tenant/v2.0", audiences = ["hub"] },
      { issuer = "http://login.example.com?tenant=1", audiences = ["hub"], jwks_url = "https://keys.example.com" },
      { issuer = "my app", audiences = ["hub"], jwks_url = "http://localhost:8081/keys" },
    ] }
  }

  assert {
    condition = jsondecode(module.function["authorizer"].settings.environment.AUTH_ISSUERS)[*].issuer == [
      "https://login.example.com:8443/tenant/v2.0/",
      "https://login.example.com:8443/tenant/v2.0",
      "http://login.example.com?tenant=1",
      "my app",
    ]
    error_message = "the issuers are not passed on unchanged"
  }
}

run "nulls_for_optional_attributes" {
  command = plan

  variables {
    allow_anonymous = false
    auth = { issuers = [{
      issuer          = "https://login.example.com/"
      audiences       = ["chat"]
      audience_claim  = null
      jwks_url        = null
      session_claim   = null
      send_claim      = null
      subscribe_claim = null
      patterns        = null
    }] }
  }

  assert {
    condition = module.function["authorizer"].settings.environment.AUTH_ISSUERS == jsonencode([{
      issuer          = "https://login.example.com/"
      audiences       = ["chat"]
      audience_claim  = "aud"
      jwks_url        = null
      session_claim   = "session_id"
      send_claim      = "send_to"
      subscribe_claim = "subscribe_to"
      patterns        = false
    }])
    error_message = "a null is not the same as an attribute that is left out"
  }
}

# The longest JSON of one issuer. The limit counts bytes, of which it has more than characters.
run "issuers_of_3000_bytes" {
  command = plan

  variables {
    allow_anonymous = false
    auth = { issuers = [{
      issuer    = "https://login.example.com/"
      audiences = ["${join("", [for n in range(700) : "éé"])}x"]
    }] }
  }

  assert {
    condition     = length(trimsuffix(base64encode(module.function["authorizer"].settings.environment.AUTH_ISSUERS), "=")) == 4000
    error_message = "the issuers are not the longest list that is allowed"
  }
}

run "issuers_of_3001_bytes" {
  command = plan

  variables {
    allow_anonymous = false
    auth = { issuers = [{
      issuer    = "https://login.example.com/"
      audiences = ["${join("", [for n in range(700) : "éé"])}xx"]
    }] }
  }

  expect_failures = [var.auth]
}
