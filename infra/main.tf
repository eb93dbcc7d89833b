# The hub: a table of connections, three functions and the WebSocket API that ties them together.

locals {
  artifacts_dir        = coalesce(var.artifacts_dir, "${path.root}/../target/lambda")
  connections_endpoint = coalesce(var.websocket_endpoint, module.websocket_api.connections_endpoint)

  # What each function is told and what it may do: nothing else is granted anywhere.
  functions = {
    connect = {
      description = "Records a new connection and its session."
      environment = {
        TABLE_NAME             = module.connections_table.name
        CONNECTION_TTL_SECONDS = var.connection_ttl_seconds
      }
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
      environment = {
        TABLE_NAME         = module.connections_table.name
        SESSION_INDEX      = module.connections_table.session_index
        WEBSOCKET_ENDPOINT = local.connections_endpoint
        FANOUT_CONCURRENCY = var.fanout_concurrency
        MAX_MESSAGE_BYTES  = var.max_message_bytes
      }
      statements = [
        { actions = ["dynamodb:Query"], resources = [module.connections_table.session_index_arn] },
        { actions = ["dynamodb:GetItem", "dynamodb:DeleteItem"], resources = [module.connections_table.arn] },
        { actions = ["execute-api:ManageConnections"], resources = ["${module.websocket_api.execution_arn}/${var.stage}/POST/@connections/*"] },
      ]
    }
  }
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
}

module "websocket_api" {
  source = "./modules/websocket_api"

  name                   = var.name
  stage                  = var.stage
  throttling_burst_limit = var.throttling_burst_limit
  throttling_rate_limit  = var.throttling_rate_limit
  detailed_metrics       = var.detailed_metrics

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
