# The access log: off by default, and without any variable that could hold a token.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alias = "live"
  alias_arns = { for name in [
    "hub-connect",
  ] : name => "arn:aws:lambda:eu-west-1:123456789012:function:${name}:live" }

  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"

  name                   = "hub"
  tags                   = {}
  stage                  = "live"
  throttling_burst_limit = 50
  throttling_rate_limit  = 100
  detailed_metrics       = false
  functions              = { "$connect" = "hub-connect" }
  replies                = {}
}

run "off" {
  assert {
    condition     = output.access_log_group_name == null
    error_message = "there is an access log although access_logs is off"
  }
}

run "on" {
  variables {
    access_logs = true
  }

  assert {
    condition     = output.access_log_group_name == "/aws/apigateway/hub"
    error_message = "there is no access log"
  }
}

run "stage_without_log" {
  module {
    source = "./modules/websocket_api"
  }

  assert {
    condition     = length(aws_apigatewayv2_stage.this.access_log_settings) == 0 && length(aws_cloudwatch_log_group.access) == 0
    error_message = "there is an access log although access_logs is off"
  }
}

run "stage_with_log" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    access_log_retention_days = 14
  }

  assert {
    condition     = aws_apigatewayv2_stage.this.access_log_settings[0].destination_arn == aws_cloudwatch_log_group.access["access"].arn && aws_cloudwatch_log_group.access["access"].retention_in_days == 14
    error_message = "the access log has another name or retention"
  }

  # Each value is a variable of API Gateway that cannot hold text of the caller's.
  assert {
    condition = alltrue([
      for variable in values(jsondecode(aws_apigatewayv2_stage.this.access_log_settings[0].format)) : can(regex(
        "^[$]context[.](requestTime|requestId|eventType|routeKey|status|connectionId|identity[.]sourceIp|authorizer[.](principalId|status)|integration[.]status|integrationLatency|error[.]responseType)$", variable
      ))
    ])
    error_message = "the access log has a variable that is not on this list: a query string, a header or a message could hold a token"
  }

  assert {
    condition     = length(aws_apigatewayv2_stage.this.access_log_settings[0].format) < 3072
    error_message = "the format is longer than API Gateway accepts"
  }
}
