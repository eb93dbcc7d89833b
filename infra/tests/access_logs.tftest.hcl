# The access log and the account's role for it: not there unless asked for, and nothing in it that could hold a token.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  artifacts_dir = "./tests/fixtures"

  name                   = "hub"
  stage                  = "live"
  throttling_burst_limit = 50
  throttling_rate_limit  = 100
  detailed_metrics       = false
  functions              = { "$connect" = { name = "hub-connect", alias = "live", invoke_arn = "arn:connect" } }
  replies                = {}
}

run "off" {
  assert {
    condition     = output.access_log_group_name == null && length(module.api_gateway_account) == 0
    error_message = "there is an access log, or a role for the whole account, that nobody asked for"
  }
}

run "on" {
  variables {
    access_logs                 = true
    api_gateway_account_logging = true
  }

  assert {
    condition     = output.access_log_group_name == "/aws/apigateway/hub" && length(module.api_gateway_account) == 1
    error_message = "there is no access log, or no role to write it under"
  }
}

run "off_by_itself" {
  module {
    source = "./modules/websocket_api"
  }

  assert {
    condition     = length(aws_apigatewayv2_stage.this.access_log_settings) == 0 && length(aws_cloudwatch_log_group.access) == 0
    error_message = "there is an access log that nobody asked for"
  }
}

run "on_by_itself" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    access_log_retention_days = 14
  }

  assert {
    condition     = aws_apigatewayv2_stage.this.access_log_settings[0].destination_arn == aws_cloudwatch_log_group.access["access"].arn && aws_cloudwatch_log_group.access["access"].retention_in_days == 14
    error_message = "the access log is written elsewhere, or kept too long"
  }

  # Each value is one of API Gateway's variables, and none of those in which the caller's own text may stand.
  assert {
    condition = alltrue([
      for variable in values(jsondecode(aws_apigatewayv2_stage.this.access_log_settings[0].format)) : can(regex(
        "^[$]context[.](requestTime|requestId|eventType|routeKey|status|connectionId|identity[.]sourceIp|authorizer[.](principalId|status)|integration[.]status|integrationLatency|error[.]responseType)$", variable
      ))
    ])
    error_message = "the access log holds something that was not looked at: a query string, a header or a message could hold a token"
  }

  assert {
    condition     = length(aws_apigatewayv2_stage.this.access_log_settings[0].format) < 3072
    error_message = "the format is longer than API Gateway takes"
  }
}

run "the_account_by_itself" {
  module {
    source = "./modules/api_gateway_account"
  }

  assert {
    condition     = aws_api_gateway_account.this.cloudwatch_role_arn == aws_iam_role.this.arn
    error_message = "API Gateway does not write under the role"
  }

  assert {
    condition     = aws_iam_role_policy_attachment.this.policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs" && jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Principal == { Service = "apigateway.amazonaws.com" }
    error_message = "API Gateway may not write logs, or somebody else may take its role"
  }
}
