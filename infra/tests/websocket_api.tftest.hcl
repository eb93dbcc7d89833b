# The API: integrations of the routes, permissions to invoke the functions, throttles, and what makes a new deployment.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alias = "live"
  alias_arns = { for name in [
    "hub-another",
    "hub-connect",
    "hub-disconnect",
    "hub-one",
    "hub-send-message",
  ] : name => "arn:aws:lambda:eu-west-1:123456789012:function:${name}:live" }

  name                   = "hub"
  region                 = "eu-west-1"
  tags                   = {}
  stage                  = "live"
  throttling_burst_limit = 50
  throttling_rate_limit  = 100
  detailed_metrics       = false

  functions = {
    "$connect"    = "hub-connect"
    "$disconnect" = "hub-disconnect"
    sendMessage   = "hub-send-message"
  }

  replies = {
    ping       = "{\"type\":\"pong\"}"
    "$default" = "{\"type\":\"error\"}"
  }
}

run "first" {
  module {
    source = "./modules/websocket_api"
  }

  assert {
    condition     = aws_apigatewayv2_api.this.protocol_type == "WEBSOCKET" && aws_apigatewayv2_api.this.route_selection_expression == "$request.body.action"
    error_message = "frames are not routed by their action"
  }

  assert {
    condition     = { for key, route in aws_apigatewayv2_route.this : key => route.route_key } == { for key in ["$connect", "$disconnect", "$default", "ping", "sendMessage"] : key => key }
    error_message = "there is a route too many or too few"
  }

  assert {
    condition = alltrue(concat(
      [for key, integration in aws_apigatewayv2_integration.function : aws_apigatewayv2_route.this[key].target == "integrations/${integration.id}"],
      [for key, integration in aws_apigatewayv2_integration.reply : aws_apigatewayv2_route.this[key].target == "integrations/${integration.id}"],
    ))
    error_message = "a route has the integration of another"
  }

  assert {
    condition = alltrue([
      for key, integration in aws_apigatewayv2_integration.function :
      integration.integration_type == "AWS_PROXY" && integration.integration_method == "POST" && integration.integration_uri == "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:${var.functions[key]}:live/invocations" && integration.timeout_milliseconds == 29000
    ])
    error_message = "a route does not invoke its function"
  }

  assert {
    condition     = keys(aws_apigatewayv2_integration.reply) == ["$default", "ping"] && alltrue([for integration in aws_apigatewayv2_integration.reply : integration.integration_type == "MOCK"])
    error_message = "ping and $default are not answered by API Gateway itself"
  }

  # A MOCK integration answers only if its request template, selected by key, gives a status, and its response template is selected.
  assert {
    condition = alltrue([
      for integration in aws_apigatewayv2_integration.reply :
      jsondecode(integration.request_templates[integration.template_selection_expression]) == { statusCode = 200 }
    ])
    error_message = "a MOCK integration has no status"
  }

  assert {
    condition = alltrue([
      for key, response in aws_apigatewayv2_integration_response.reply :
      response.integration_id == aws_apigatewayv2_integration.reply[key].id && response.integration_response_key == "$default" && response.response_templates[response.template_selection_expression] == var.replies[key]
    ])
    error_message = "a MOCK integration would not answer with its frame"
  }

  assert {
    condition = { for key, route in aws_apigatewayv2_route.this : key => route.route_response_selection_expression if route.route_response_selection_expression != null } == {
      "$default"  = "$default"
      ping        = "$default"
      sendMessage = "$default"
    }
    error_message = "not exactly the routes of connected clients send answers"
  }

  assert {
    condition = (
      keys(aws_apigatewayv2_route_response.this) == ["$default", "ping", "sendMessage"] &&
      alltrue([for key, response in aws_apigatewayv2_route_response.this : response.route_response_key == "$default" && response.route_id == aws_apigatewayv2_route.this[key].id])
    )
    error_message = "a route lacks the response that sends its answer"
  }

  assert {
    condition = { for permission in aws_lambda_permission.this : permission.function_name => [permission.qualifier, permission.principal, permission.action, permission.source_arn] } == {
      hub-connect      = ["live", "apigateway.amazonaws.com", "lambda:InvokeFunction", "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/*/$connect"]
      hub-disconnect   = ["live", "apigateway.amazonaws.com", "lambda:InvokeFunction", "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/*/$disconnect"]
      hub-send-message = ["live", "apigateway.amazonaws.com", "lambda:InvokeFunction", "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/*/sendMessage"]
    }
    error_message = "a route may not invoke its function, or another caller may"
  }

  assert {
    condition = (
      aws_apigatewayv2_stage.this.name == "live" &&
      aws_apigatewayv2_stage.this.deployment_id == aws_apigatewayv2_deployment.this.id &&
      aws_apigatewayv2_stage.this.auto_deploy != true
    )
    error_message = "the stage does not serve the deployment"
  }

  assert {
    condition = (
      aws_apigatewayv2_stage.this.default_route_settings[0].throttling_burst_limit == 50 &&
      aws_apigatewayv2_stage.this.default_route_settings[0].throttling_rate_limit == 100 &&
      !aws_apigatewayv2_stage.this.default_route_settings[0].detailed_metrics_enabled
    )
    error_message = "the throttles or the metrics are not as chosen"
  }

  assert {
    condition     = aws_apigatewayv2_stage.this.default_route_settings[0].logging_level == "OFF" && aws_apigatewayv2_stage.this.default_route_settings[0].data_trace_enabled == false
    error_message = "execution logs are on, which hold tokens and messages"
  }
}

run "deployment_kept" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    stage                  = "beta"
    throttling_burst_limit = 60
    throttling_rate_limit  = 200
    detailed_metrics       = true
  }

  assert {
    condition     = output.deployment_hash == run.first.deployment_hash
    error_message = "there is a new deployment although the API serves the same"
  }

  assert {
    condition     = aws_apigatewayv2_stage.this.default_route_settings[0].detailed_metrics_enabled
    error_message = "detailed_metrics has no effect"
  }
}

run "reply_changed" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    replies = {
      ping       = "{\"type\":\"PONG\"}"
      "$default" = "{\"type\":\"error\"}"
    }
  }

  assert {
    condition     = output.deployment_hash != run.first.deployment_hash
    error_message = "a changed reply makes no new deployment"
  }
}

run "function_changed" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    functions = {
      "$connect"    = "hub-connect"
      "$disconnect" = "hub-disconnect"
      sendMessage   = "hub-another"
    }
  }

  assert {
    condition     = output.deployment_hash != run.first.deployment_hash
    error_message = "a route's new function makes no new deployment"
  }
}

run "deployment_restored" {
  module {
    source = "./modules/websocket_api"
  }

  assert {
    condition     = output.deployment_hash == run.first.deployment_hash
    error_message = "the hash depends on more than what the API serves"
  }
}

run "route_added" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    replies = {
      ping       = "{\"type\":\"pong\"}"
      hello      = "{\"type\":\"hello\"}"
      "$default" = "{\"type\":\"error\"}"
    }
  }

  assert {
    condition     = output.deployment_hash != run.first.deployment_hash
    error_message = "a new route makes no new deployment"
  }
}

run "two_routes_to_one_function" {
  module {
    source = "./modules/websocket_api"
  }

  variables {
    functions = {
      "$connect" = "hub-one"
      history    = "hub-one"
    }
  }

  assert {
    condition     = { for route, permission in aws_lambda_permission.this : route => permission.statement_id } == { "$connect" = "InvokeFromRoute-connect", history = "InvokeFromRoute-history" }
    error_message = "the permissions of two routes to one function conflict"
  }
}
