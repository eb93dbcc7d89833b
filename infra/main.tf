# The hub: a table of connections, three functions and the WebSocket API that ties them together; with `auth` a function
# that stands at the door; one that counts the open connections; and what watches over them all.

locals {
  artifacts_dir        = coalesce(var.artifacts_dir, "${path.root}/../target/lambda")
  connections_endpoint = coalesce(var.websocket_endpoint, module.websocket_api.connections_endpoint)

  # Of this API's stage; with `auth`, send-message also closes the connections whose token has ended.
  connections_arn     = "${module.websocket_api.execution_arn}/${var.stage}"
  connections_methods = var.auth == null ? ["POST"] : ["POST", "DELETE"]
  # With `auth`, what comes over a socket past the authorizer is refused.
  guarded = var.auth == null ? {} : { REQUIRE_GRANT = "true" }

  # What each function is told and what it may do: nothing else is granted anywhere.
  functions = merge(local.hub, local.door, local.tally)

  hub = {
    connect = {
      description = "Records a new connection and its session."
      environment = merge({
        TABLE_NAME             = module.connections_table.name
        CONNECTION_TTL_SECONDS = var.connection_ttl_seconds
      }, local.guarded)
      statements = [
        { actions = ["dynamodb:PutItem"], resources = [module.connections_table.arn] },
      ]
    }
    disconnect = {
      description = "Forgets a connection that has closed."
      environment = {
        TABLE_NAME = module.connections_table.name
      }
      statements = [
        { actions = ["dynamodb:DeleteItem"], resources = [module.connections_table.arn] },
      ]
    }
    send-message = {
      description = "Delivers a message to every live connection of the sessions it names."
      environment = merge({
        TABLE_NAME         = module.connections_table.name
        SESSION_INDEX      = module.connections_table.session_index
        WEBSOCKET_ENDPOINT = local.connections_endpoint
        FANOUT_CONCURRENCY = var.fanout_concurrency
        MAX_MESSAGE_BYTES  = var.max_message_bytes
      }, local.guarded)
      statements = [
        { actions = ["dynamodb:Query"], resources = [module.connections_table.session_index_arn] },
        { actions = ["dynamodb:GetItem", "dynamodb:DeleteItem"], resources = [module.connections_table.arn] },
        { actions = ["execute-api:ManageConnections"], resources = [for method in local.connections_methods : "${local.connections_arn}/${method}/@connections/*"] },
      ]
    }
  }

  door = { for auth in var.auth[*] : "authorizer" => {
    description = "Admits connections that show a token."
    environment = merge({
      AUTH_ISSUER        = auth.issuer
      AUTH_AUDIENCE      = auth.audience
      AUTH_SESSION_CLAIM = auth.session_claim
      AUTH_SEND_CLAIM    = auth.send_claim
    }, auth.jwks_url == null ? {} : { AUTH_JWKS_URL = auth.jwks_url })
    statements = []
  } }

  tally = { for minutes in [var.census_minutes] : "census" => {
    description = "Counts the open connections."
    environment = {
      TABLE_NAME    = module.connections_table.name
      SESSION_INDEX = module.connections_table.session_index
    }
    statements = [
      { actions = ["dynamodb:Scan"], resources = [module.connections_table.session_index_arn] },
    ]
  } if minutes > 0 }
}

module "connections_table" {
  source = "./modules/connections_table"

  name                   = coalesce(var.table_name, "${var.name}-connections")
  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name               = "${var.name}-${each.key}"
  description        = each.value.description
  artifact           = "${local.artifacts_dir}/${each.key}/bootstrap.zip"
  architecture       = var.architecture
  memory_mb          = var.memory_mb[each.key]
  timeout_seconds    = var.timeout_seconds[each.key]
  environment        = each.value.environment
  statements         = each.value.statements
  log_level          = var.log_level
  log_retention_days = var.log_retention_days
  tracing            = var.tracing
}

module "api_gateway_account" {
  source = "./modules/api_gateway_account"
  count  = var.api_gateway_account_logging ? 1 : 0

  name = var.name
}

module "websocket_api" {
  source = "./modules/websocket_api"

  name                   = var.name
  stage                  = var.stage
  throttling_burst_limit = var.throttling_burst_limit
  throttling_rate_limit  = var.throttling_rate_limit
  detailed_metrics       = var.detailed_metrics

  access_log_retention_days = var.access_logs ? var.log_retention_days : null
  # Without the role, a stage with an access log is refused.
  depends_on = [module.api_gateway_account]

  authorizer = one([for key, function in module.function : function if key == "authorizer"])

  functions = {
    "$connect"    = module.function["connect"]
    "$disconnect" = module.function["disconnect"]
    sendMessage   = module.function["send-message"]
  }

  replies = {
    ping = jsonencode({ type = "pong" })
    "$default" = jsonencode({
      type    = "error"
      code    = "unknown_action"
      message = "No such action. Send a JSON object whose action is sendMessage or ping."
    })
  }
}

module "schedule" {
  source   = "./modules/schedule"
  for_each = local.tally

  function      = module.function[each.key]
  every_minutes = var.census_minutes
}

module "observability" {
  source = "./modules/observability"
  count  = var.observability ? 1 : 0

  name = var.name
  functions = { for key, function in module.function : key => {
    name            = function.name
    log_group_name  = function.log_group_name
    timeout_seconds = var.timeout_seconds[key]
  } }
  api                       = { id = module.websocket_api.api_id, stage = var.stage }
  table                     = { name = module.connections_table.name, session_index = module.connections_table.session_index }
  requests_per_second_quota = var.requests_per_second_quota
  alarm_topic_arns          = var.alarm_topic_arns
}
