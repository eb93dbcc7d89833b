# A hub in another partition than aws, and one whose provider works in another region than `region`.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
}

run "another_partition" {
  variables {
    region = "cn-north-1"
  }

  override_resource {
    target = module.websocket_api.aws_apigatewayv2_api.this
    values = {
      id            = "a1b2c3"
      api_endpoint  = "wss://a1b2c3.execute-api.cn-north-1.amazonaws.com.cn"
      execution_arn = "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2c3"
    }
  }

  assert {
    condition     = module.websocket_api.uris["$connect"] == "arn:aws-cn:apigateway:cn-north-1:lambda:path/2015-03-31/functions/arn:aws-cn:lambda:cn-north-1:123456789012:function:websocket-hub-connect:live/invocations"
    error_message = "the partition is not that of the API"
  }

  assert {
    condition     = module.function["publish"].settings.environment.DELIVER_FUNCTION == "arn:aws-cn:lambda:cn-north-1:123456789012:function:websocket-hub-deliver:live" && strcontains(module.function["publish"].policy, "\"arn:aws-cn:lambda:cn-north-1:123456789012:function:websocket-hub-deliver:live\"")
    error_message = "chunks go to a function of another partition or region"
  }

  assert {
    condition     = output.websocket_url == "wss://a1b2c3.execute-api.cn-north-1.amazonaws.com.cn/live"
    error_message = "the address is not the API's own"
  }
}

run "provider_of_another_region" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    name                   = "hub"
    region                 = "us-east-1"
    stage                  = "live"
    functions              = {}
    alias                  = "live"
    alias_arns             = {}
    replies                = {}
    throttling_burst_limit = 50
    throttling_rate_limit  = 100
    detailed_metrics       = false
    tags                   = {}
  }

  expect_failures = [aws_apigatewayv2_api.this]
}
