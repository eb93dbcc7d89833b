# The WebSocket API: which function or fixed reply answers which route, and at which address.

locals {
  # The function for each action that a client's frame can name.
  actions = merge(
    { sendMessage = "send-message" },
    local.has_history ? { history = "history" } : {},
    var.subscriptions ? { for action in ["hello", "subscribe", "unsubscribe"] : action => "membership" } : {},
  )
  routes = merge({ "$connect" = "connect", "$disconnect" = "disconnect" }, local.actions)
}

module "websocket_api" {
  source = "./modules/websocket_api"

  name                   = var.name
  region                 = var.region
  stage                  = var.stage
  throttling_burst_limit = var.throttling_burst_limit
  throttling_rate_limit  = var.throttling_rate_limit
  detailed_metrics       = var.detailed_metrics

  access_log_retention_days = var.access_logs ? var.log_retention_days : null
  kms_key_arn               = var.kms_key_arn
  tags                      = local.tags

  # Names, not attributes: modules/websocket_api says why.
  authorizer = var.auth == null ? null : "${var.name}-authorizer"
  functions  = { for route, function in local.routes : route => "${var.name}-${function}" }
  alias      = local.alias
  alias_arns = { for key, function in module.function : "${var.name}-${key}" => function.alias_arn }

  replies = {
    ping = jsonencode({ type = "pong" })
    "$default" = jsonencode({
      type    = "error"
      code    = "unknown_action"
      message = "No such action. Send a JSON object whose action is ${join(", ", keys(local.actions))} or ping."
    })
  }
}

module "custom_domain" {
  source = "./modules/custom_domain"
  count  = var.custom_domain == null ? 0 : 1

  name            = var.custom_domain.name
  certificate_arn = var.custom_domain.certificate_arn
  api_id          = module.websocket_api.api_id
  stage           = module.websocket_api.stage
  tags            = local.tags
}
