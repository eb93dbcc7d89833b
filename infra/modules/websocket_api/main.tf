# The WebSocket API: its routes, what answers each, and the stage that makes them live.

locals {
  # A route either invokes a function or is answered by API Gateway itself.
  integration_ids = merge(
    { for route, integration in aws_apigatewayv2_integration.function : route => integration.id },
    { for route, integration in aws_apigatewayv2_integration.reply : route => integration.id },
  )
  # A frame from a client gets an answer. $connect is answered by the handshake, and after $disconnect nobody listens.
  answered = setsubtract(concat(keys(var.functions), keys(var.replies)), ["$connect", "$disconnect"])
}

resource "aws_apigatewayv2_api" "this" {
  name                       = var.name
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
}

# Its answers are not cached: API Gateway cannot for WebSockets.
resource "aws_apigatewayv2_authorizer" "this" {
  for_each = { for authorizer in var.authorizer[*] : "$connect" => authorizer }

  api_id          = aws_apigatewayv2_api.this.id
  name            = each.value.name
  authorizer_type = "REQUEST"
  authorizer_uri  = each.value.invoke_arn
  # API Gateway refuses a handshake that lacks a source before it calls the function. A token may be in any of three places,
  # and headers come in each client's own spelling; the stage's variable is always there.
  identity_sources = ["stageVariables.hub"]

  lifecycle {
    # For HTTP APIs only; not every implementation of the AWS API leaves it out of what it reports.
    ignore_changes = [authorizer_payload_format_version, jwt_configuration]
  }
}

resource "aws_apigatewayv2_integration" "function" {
  for_each = var.functions

  api_id               = aws_apigatewayv2_api.this.id
  integration_type     = "AWS_PROXY"
  integration_method   = "POST"
  integration_uri      = each.value.invoke_arn
  timeout_milliseconds = 29000
}

# Both templates are chosen by a fixed name, "200", and never by what the frame holds: one that is no JSON is answered too.
resource "aws_apigatewayv2_integration" "reply" {
  for_each = var.replies

  api_id                        = aws_apigatewayv2_api.this.id
  integration_type              = "MOCK"
  request_templates             = { "200" = jsonencode({ statusCode = 200 }) }
  template_selection_expression = "200"

  lifecycle {
    # These two never change after creation, and not every implementation of the AWS API reports them as they were given.
    ignore_changes = [integration_method, template_selection_expression]
  }
}

resource "aws_apigatewayv2_integration_response" "reply" {
  for_each = var.replies

  api_id                        = aws_apigatewayv2_api.this.id
  integration_id                = aws_apigatewayv2_integration.reply[each.key].id
  integration_response_key      = "$default"
  response_templates            = { "200" = each.value }
  template_selection_expression = "200"
}

resource "aws_apigatewayv2_route" "this" {
  # checkov:skip=CKV_AWS_309: with `auth`, $connect asks for a token; the other routes serve sockets that were let in
  for_each = local.integration_ids

  api_id                              = aws_apigatewayv2_api.this.id
  route_key                           = each.key
  target                              = "integrations/${each.value}"
  authorization_type                  = contains(keys(aws_apigatewayv2_authorizer.this), each.key) ? "CUSTOM" : "NONE"
  authorizer_id                       = try(aws_apigatewayv2_authorizer.this[each.key].id, null)
  route_response_selection_expression = contains(local.answered, each.key) ? "$default" : null
}

# Without one, no answer reaches the client.
resource "aws_apigatewayv2_route_response" "this" {
  for_each = local.answered

  api_id             = aws_apigatewayv2_api.this.id
  route_id           = aws_apigatewayv2_route.this[each.key].id
  route_response_key = "$default"
}

resource "aws_lambda_permission" "this" {
  for_each = var.functions

  statement_id  = "InvokeFromRoute"
  action        = "lambda:InvokeFunction"
  function_name = each.value.name
  qualifier     = each.value.alias
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/*/${each.key}"
}

resource "aws_lambda_permission" "authorizer" {
  for_each = aws_apigatewayv2_authorizer.this

  statement_id  = "InvokeFromAuthorizer"
  action        = "lambda:InvokeFunction"
  function_name = var.authorizer.name
  qualifier     = var.authorizer.alias
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/authorizers/${each.value.id}"
}

resource "aws_apigatewayv2_deployment" "this" {
  api_id = aws_apigatewayv2_api.this.id

  # A deployment is a snapshot: it is taken anew when one of these arguments changes, and only then. Whole resources would not
  # do, since they hold attributes that are unknown at every plan.
  triggers = {
    redeployment = sha256(jsonencode([
      aws_apigatewayv2_api.this.route_selection_expression,
      [for r in aws_apigatewayv2_route.this : [r.route_key, r.target, r.authorization_type, contains(local.answered, r.route_key)]],
      [for a in aws_apigatewayv2_authorizer.this : [a.id, a.authorizer_type, a.authorizer_uri, a.identity_sources]],
      [for i in aws_apigatewayv2_integration.function : [i.integration_type, i.integration_method, i.integration_uri, i.timeout_milliseconds]],
      [for i in aws_apigatewayv2_integration.reply : [i.integration_type, i.request_templates]],
      [for r in aws_apigatewayv2_integration_response.reply : [r.integration_response_key, r.response_templates, r.template_selection_expression]],
      [for r in aws_apigatewayv2_route_response.this : r.route_response_key],
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  # No query string and no header, the user agent among them: a token may stand in either, and a header is text of the
  # caller's. Nor any message.
  access_log_format = jsonencode({ for name, variable in {
    time              = "requestTime"
    request_id        = "requestId"
    event             = "eventType"
    route             = "routeKey"
    status            = "status"
    connection_id     = "connectionId"
    ip                = "identity.sourceIp"
    session_id        = "authorizer.principalId"
    authorizer_status = "authorizer.status"
    integration       = "integration.status"
    latency_ms        = "integrationLatency"
    error             = "error.responseType"
  } : name => "$context.${variable}" })
}

resource "aws_cloudwatch_log_group" "access" {
  # checkov:skip=CKV_AWS_158: encrypted by CloudWatch itself; no line holds a message, a token or a query string
  for_each = { for days in var.access_log_retention_days[*] : "access" => days }

  name              = "/aws/apigateway/${var.name}"
  retention_in_days = each.value
}

resource "aws_apigatewayv2_stage" "this" {
  # checkov:skip=CKV_AWS_76: a variable (access_logs), because it needs a role that all APIs of the account share
  # checkov:skip=CKV2_AWS_51: clients are browsers, which show tokens and not certificates
  api_id        = aws_apigatewayv2_api.this.id
  name          = var.stage
  deployment_id = aws_apigatewayv2_deployment.this.id
  # The authorizer's identity source.
  stage_variables = { hub = var.name }

  dynamic "access_log_settings" {
    for_each = aws_cloudwatch_log_group.access

    content {
      destination_arn = access_log_settings.value.arn
      format          = local.access_log_format
    }
  }

  default_route_settings {
    # Left out, either would be 0 and every connection refused with 429.
    throttling_burst_limit   = var.throttling_burst_limit
    throttling_rate_limit    = var.throttling_rate_limit
    detailed_metrics_enabled = var.detailed_metrics
    # The gateway's own logs would hold query strings and frames: tokens and messages.
    logging_level      = "OFF"
    data_trace_enabled = false
  }

  # A socket that opens before the permissions are there gets a 500.
  depends_on = [aws_lambda_permission.this, aws_lambda_permission.authorizer]
}
