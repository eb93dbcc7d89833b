# What clients, backends and scripts need to know about a hub.

output "websocket_url" {
  description = "Address for clients. Add `?session_id=…`, after a `/` if it is a custom domain."
  value       = replace(local.clients_endpoint, "/^http/", "ws")
}

output "connections_endpoint" {
  description = "Address of the @connections API, to which the functions post."
  value       = local.connections_endpoint
}

output "name" {
  description = "Name of the hub, as last applied."
  value       = var.name
}

output "region" {
  description = "Region of the hub."
  value       = var.region
}

output "release" {
  description = "Release that was applied last. After a rollback the aliases run an older one."
  value       = local.release
}

output "open_to_everyone" {
  description = "Whether the hub is open to everyone (`allow_anonymous`)."
  value       = var.auth == null
}

output "custom_domain_target" {
  description = "Target of custom_domain's DNS record: `name`, and `zone_id` for an alias record. Null without a custom domain."
  value       = one(module.custom_domain[*].target)
}

output "publish_arn" {
  description = "ARN by which backends invoke publish. lambda:InvokeFunction on it is the only permission they need."
  value       = module.function["publish"].alias_arn
}

output "authorizer_arn" {
  description = "ARN of the authorizer's alias, which scripts/explain-token.sh invokes. Null without auth."
  value       = var.auth == null ? null : module.function["authorizer"].alias_arn
}

output "api_id" {
  description = "Id of the WebSocket API, which is also its dimension in CloudWatch."
  value       = module.websocket_api.api_id
}

output "table_name" {
  description = "Name of the connections table."
  value       = module.connections_table.name
}

output "messages_table_name" {
  description = "Name of the messages table. Null without history."
  value       = one(module.messages_table[*].name)
}

output "subscriptions_table_name" {
  description = "Name of the subscriptions table. Null without subscriptions."
  value       = one(module.subscriptions_table[*].name)
}

output "function_names" {
  description = "Name in AWS of each function: connect, disconnect, send-message and publish; authorizer with auth, history with history_seconds, membership with subscriptions, deliver with fanout.split above 0, and census with census_minutes above 0."
  value       = { for key, function in module.function : key => function.name }
}

output "alias" {
  description = "Alias through which API Gateway, the schedule and backends invoke each function, as `{function name}:{alias}`. It points to the version that runs."
  value       = local.alias
}

output "log_group_names" {
  description = "CloudWatch log group of each function."
  value       = { for key, function in module.function : key => function.log_group_name }
}

output "access_log_group_name" {
  description = "CloudWatch log group of API Gateway's access log. Null without access_logs."
  value       = module.websocket_api.access_log_group_name
}
