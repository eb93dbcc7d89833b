# JWT authentication: what `auth` adds, and that without it nothing of that exists.

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

# Log groups of their own, so that a policy which names another function's is seen.
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
    error_message = "there is a function for tokens that nobody asked for"
  }

  assert {
    condition     = output.authorizer_arn == null
    error_message = "there is an authorizer to ask although the hub has none"
  }

  assert {
    condition     = module.websocket_api.authorizer == null && values(module.websocket_api.authorization) == [for route in keys(module.websocket_api.routes) : "NONE"]
    error_message = "a route is guarded although nobody asked for it"
  }

  assert {
    condition     = alltrue([for function in module.function : !contains(keys(function.settings.environment), "REQUIRE_GRANT")]) && !strcontains(module.function["send-message"].policy, "DELETE")
    error_message = "a function asks for grants that nobody gives, or send-message closes connections although no token ever ends"
  }
}

run "guarded" {
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
    error_message = "the authorizer is not set up as it should be"
  }

  assert {
    condition = jsondecode(module.function["authorizer"].policy).Statement == [
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["arn:aws:logs:eu-west-1:123456789012:log-group:of-authorizer:*"] },
    ]
    error_message = "the authorizer may do something else than write its own log"
  }

  assert {
    condition     = output.authorizer_arn == module.function["authorizer"].alias_arn
    error_message = "a token is explained by something else than the authorizer that runs"
  }

  assert {
    condition     = module.websocket_api.authorizer == "chat-authorizer"
    error_message = "another function is the authorizer"
  }

  assert {
    condition     = { for route, type in module.websocket_api.authorization : route => type if type != "NONE" } == { "$connect" = "CUSTOM" }
    error_message = "not exactly the handshake is guarded"
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
    error_message = "send-message may not close connections, or may do something else besides"
  }

  assert {
    condition     = [for key, function in module.function : key if lookup(function.settings.environment, "REQUIRE_GRANT", "false") == "true"] == ["connect", "membership", "publish", "send-message"]
    error_message = "a function would take what comes past the authorizer, or not close connections whose token has ended"
  }
}

run "guarded_as_chosen" {
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
    error_message = "the authorizer does not get what was chosen"
  }
}

run "the_authorizer_by_itself" {
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

  # A source that a handshake may lack, or spell in another way, refuses it before the authorizer is called.
  assert {
    condition = aws_apigatewayv2_authorizer.this["$connect"].identity_sources == toset([
      for variable in keys(aws_apigatewayv2_stage.this.stage_variables) : "stageVariables.${variable}"
    ])
    error_message = "the authorizer's identity source is not a variable that the stage has"
  }

  assert {
    condition     = aws_apigatewayv2_route.this["$connect"].authorizer_id == aws_apigatewayv2_authorizer.this["$connect"].id
    error_message = "the handshake is not guarded by the authorizer"
  }

  assert {
    condition = [for p in aws_lambda_permission.authorizer : [p.function_name, p.qualifier, p.principal, p.action, p.source_arn]] == [
      ["hub-authorizer", "live", "apigateway.amazonaws.com", "lambda:InvokeFunction", "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/authorizers/d4e5f6"],
    ]
    error_message = "API Gateway may not ask the authorizer, or somebody else may too"
  }
}

run "the_authorizer_is_removed" {
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
    condition     = output.deployment_hash != run.the_authorizer_by_itself.deployment_hash
    error_message = "an authorizer that comes or goes would never go live"
  }

  assert {
    condition     = length(aws_apigatewayv2_authorizer.this) == 0 && length(aws_lambda_permission.authorizer) == 0 && aws_apigatewayv2_route.this["$connect"].authorizer_id == null
    error_message = "something of the authorizer is left"
  }
}

run "another_function_as_the_authorizer" {
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
    condition     = output.deployment_hash != run.the_authorizer_by_itself.deployment_hash
    error_message = "another authorizer would never go live"
  }
}

# What is refused of one issuer among many, and what is accepted, tests/module.py lists.
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

run "issuers_of_all_kinds" {
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
    error_message = "the issuers are not passed on to the letter"
  }
}

run "nulls_for_what_may_be_left_out" {
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

# The JSON of one issuer, as long as it may be: in bytes, which are more than its characters.
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
    error_message = "this is not the longest list that a function gets"
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
