# The WebSocket API: its routes, what answers each, and the stage that makes them live.

locals {
  # arn:{partition}:execute-api:{region}:{account}:{api}, the one place where the module learns these three.
  arn       = split(":", aws_apigatewayv2_api.this.execution_arn)
  partition = try(local.arn[1], "aws")
  account   = try(local.arn[4], "")

  # Of any function of the hub, without its name.
  function_arn = "arn:${local.partition}:lambda:${var.region}:${local.account}:function"

  # Text made from names, and not the functions' own attributes. The deployment is created before it is destroyed, and so is
  # all that it depends on: a function or a table that is replaced would meet its own name.
  uris = { for function in distinct(concat(values(var.functions), var.authorizer[*])) : function =>
    "arn:${local.partition}:apigateway:${var.region}:lambda:path/2015-03-31/functions/${local.function_arn}:${function}:${var.alias}/invocations"
  }

  # A route either invokes a function or is answered by API Gateway itself.
  integration_ids = merge(
    { for route, integration in aws_apigatewayv2_integration.function : route => integration.id },
    { for route, integration in aws_apigatewayv2_integration.reply : route => integration.id },
  )
  # A frame from a client gets an answer. $connect is answered by the handshake, and after $disconnect no client listens.
  answered = setsubtract(concat(keys(var.functions), keys(var.replies)), ["$connect", "$disconnect"])
}

resource "aws_apigatewayv2_api" "this" {
  name                       = var.name
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
  tags                       = var.tags

  lifecycle {
    postcondition {
      condition     = try(split(":", self.execution_arn)[3], var.region) == var.region
      error_message = "region is ${var.region}, but the provider works in ${try(split(":", self.execution_arn)[3], "another")}: give the module the provider of its region (providers = { aws = aws.… }), or set region to the provider's."
    }
  }
}

# Its answers are not cached: API Gateway cannot for WebSockets.
resource "aws_apigatewayv2_authorizer" "this" {
  for_each = { for function in var.authorizer[*] : "$connect" => function }

  api_id          = aws_apigatewayv2_api.this.id
  name            = each.value
  authorizer_type = "REQUEST"
  authorizer_uri  = local.uris[each.value]
  # API Gateway refuses a handshake that lacks a source before it calls the function. A token may be in any of three places,
  # and headers come in each client's own spelling; the stage's variable is always there.
  identity_sources = ["stageVariables.hub"]

  lifecycle {
    # A route lets go of it before it is deleted, which API Gateway insists on.
    create_before_destroy = true
    # For HTTP APIs only; not every implementation of the AWS API leaves it out of what it reports.
    ignore_changes = [authorizer_payload_format_version, jwt_configuration]
  }
}

resource "aws_apigatewayv2_integration" "function" {
  for_each = var.functions

  api_id               = aws_apigatewayv2_api.this.id
  integration_type     = "AWS_PROXY"
  integration_method   = "POST"
  integration_uri      = local.uris[each.value]
  timeout_milliseconds = 29000

  lifecycle {
    create_before_destroy = true
  }
}

# Both templates are chosen by a fixed name, "200", and never by what the frame holds: one that is no JSON is answered too.
resource "aws_apigatewayv2_integration" "reply" {
  for_each = var.replies

  api_id                        = aws_apigatewayv2_api.this.id
  integration_type              = "MOCK"
  request_templates             = { "200" = jsonencode({ statusCode = 200 }) }
  template_selection_expression = "200"

  lifecycle {
    create_before_destroy = true
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

  # One for each route, since two routes may lead to one function.
  statement_id = "InvokeFromRoute-${replace(each.key, "/[^a-zA-Z0-9_-]/", "")}"
  action       = "lambda:InvokeFunction"
  # From the alias: unknown while that is replaced, with which AWS deletes the permission.
  function_name = split(":", var.alias_arns[each.value])[6]
  qualifier     = var.alias
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/*/${each.key}"
}

resource "aws_lambda_permission" "authorizer" {
  for_each = aws_apigatewayv2_authorizer.this

  statement_id  = "InvokeFromAuthorizer"
  action        = "lambda:InvokeFunction"
  function_name = split(":", var.alias_arns[var.authorizer])[6]
  qualifier     = var.alias
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
  # checkov:skip=CKV_AWS_158: a variable (kms_key_arn); no line holds a message, a token or a query string
  for_each = { for days in var.access_log_retention_days[*] : "access" => days }

  name              = "/aws/apigateway/${var.name}"
  retention_in_days = each.value
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_apigatewayv2_stage" "this" {
  # checkov:skip=CKV_AWS_76: a variable (access_logs), because it needs a role that all APIs of the account share
  # checkov:skip=CKV2_AWS_51: clients are browsers, which show tokens and not certificates
  api_id        = aws_apigatewayv2_api.this.id
  name          = var.stage
  deployment_id = aws_apigatewayv2_deployment.this.id
  tags          = var.tags
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
