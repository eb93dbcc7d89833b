# The WebSocket API: routes with their integrations, the authorizer, and the stage that serves them.

locals {
  # arn:{partition}:execute-api:{region}:{account}:{api}: partition and account without a data source.
  arn       = split(":", aws_apigatewayv2_api.this.execution_arn)
  partition = try(local.arn[1], "aws")
  account   = try(local.arn[4], "")

  # Prefix of the ARNs of the hub's functions.
  function_arn = "arn:${local.partition}:lambda:${var.region}:${local.account}:function"

  # Made from names, not from the functions' attributes. The deployment is create_before_destroy, and passes that on to
  # everything it depends on: a replaced function or table would conflict with its own name.
  uris = { for function in distinct(concat(values(var.functions), var.authorizer[*])) : function =>
    "arn:${local.partition}:apigateway:${var.region}:lambda:path/2015-03-31/functions/${local.function_arn}:${function}:${var.alias}/invocations"
  }

  # A route either invokes a function, or API Gateway itself answers it.
  integration_ids = merge(
    { for route, integration in aws_apigatewayv2_integration.function : route => integration.id },
    { for route, integration in aws_apigatewayv2_integration.reply : route => integration.id },
  )
  # Routes whose answer is a frame. The handshake is the answer to $connect, and after $disconnect no client listens.
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
      error_message = "region is ${var.region}, but the module's provider works in ${try(split(":", self.execution_arn)[3], "another")}. Pass the provider of that region (providers = { aws = aws.… }), or set region to the provider's."
    }
  }
}

# API Gateway does not cache the answers of authorizers of WebSocket APIs.
resource "aws_apigatewayv2_authorizer" "this" {
  for_each = { for function in var.authorizer[*] : "$connect" => function }

  api_id          = aws_apigatewayv2_api.this.id
  name            = each.value
  authorizer_type = "REQUEST"
  authorizer_uri  = local.uris[each.value]
  # API Gateway refuses a handshake that lacks an identity source without invoking the function. A token may be in any of three
  # places, and clients spell headers differently; the stage variable is always present.
  identity_sources = ["stageVariables.hub"]

  lifecycle {
    # API Gateway deletes an authorizer only once no route uses it.
    create_before_destroy = true
    # They exist for HTTP APIs only, but emulators of AWS report them.
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

# The fixed key "200" selects both templates, whatever the frame holds, so that frames which are not JSON get an answer as well.
resource "aws_apigatewayv2_integration" "reply" {
  for_each = var.replies

  api_id                        = aws_apigatewayv2_api.this.id
  integration_type              = "MOCK"
  request_templates             = { "200" = jsonencode({ statusCode = 200 }) }
  template_selection_expression = "200"

  lifecycle {
    create_before_destroy = true
    # They never change after creation, and emulators of AWS report them differently.
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
  # checkov:skip=CKV_AWS_309: with `auth`, $connect needs a token; the other routes serve sockets that the authorizer admitted
  for_each = local.integration_ids

  api_id                              = aws_apigatewayv2_api.this.id
  route_key                           = each.key
  target                              = "integrations/${each.value}"
  authorization_type                  = contains(keys(aws_apigatewayv2_authorizer.this), each.key) ? "CUSTOM" : "NONE"
  authorizer_id                       = try(aws_apigatewayv2_authorizer.this[each.key].id, null)
  route_response_selection_expression = contains(local.answered, each.key) ? "$default" : null
}

# Without a route response, API Gateway sends no answer to the client.
resource "aws_apigatewayv2_route_response" "this" {
  for_each = local.answered

  api_id             = aws_apigatewayv2_api.this.id
  route_id           = aws_apigatewayv2_route.this[each.key].id
  route_response_key = "$default"
}

resource "aws_lambda_permission" "this" {
  for_each = var.functions

  # Unique for each route, since two routes may invoke one function.
  statement_id = "InvokeFromRoute-${replace(each.key, "/[^a-zA-Z0-9_-]/", "")}"
  action       = "lambda:InvokeFunction"
  # From the alias's ARN, which is unknown while the alias is replaced: AWS deletes the permission with it.
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

  # A deployment is a snapshot, replaced when one of these arguments changes. Whole resources have attributes that are unknown
  # at every plan.
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
  # No query string and no header, not even the user agent: either may hold a token, and a header is text of the caller's
  # choice. No message either.
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
  # checkov:skip=CKV2_AWS_51: clients are browsers, which present tokens and not certificates
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
    # Either would default to 0, and API Gateway would refuse every connection with 429.
    throttling_burst_limit   = var.throttling_burst_limit
    throttling_rate_limit    = var.throttling_rate_limit
    detailed_metrics_enabled = var.detailed_metrics
    # Execution logs hold query strings and frames, and so tokens and messages.
    logging_level      = "OFF"
    data_trace_enabled = false
  }

  # A handshake before the permissions exist would get a 500.
  depends_on = [aws_lambda_permission.this, aws_lambda_permission.authorizer]
}
