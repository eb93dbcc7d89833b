# What clients, backends and scripts need to know of a hub.

output "websocket_url" {
  description = "Address for clients; add ?session_id=… to it, after a / where it is a custom domain."
  value       = replace(local.clients_endpoint, "/^http/", "ws")
}

output "connections_endpoint" {
  description = "Address under which the functions post to connections (the @connections API)."
  value       = local.connections_endpoint
}

output "name" {
  description = "Name of the hub, as applied."
  value       = var.name
}

output "region" {
  description = "Region of the hub."
  value       = var.region
}

output "release" {
  description = "Release of the functions, as applied; after a rollback the aliases run an older one."
  value       = local.release
}

output "open_to_everyone" {
  description = "Whether anyone who knows the address can join any session, and subscribe and send to any: OPEN TO EVERYONE."
  value       = var.auth == null
}

output "custom_domain_target" {
  description = "Where the DNS record of custom_domain points: name, and zone_id for an alias record. Null without a custom domain."
  value       = one(module.custom_domain[*].target)
}

output "publish_arn" {
  description = "ARN by which backends invoke publish: lambda:InvokeFunction on it is the one permission they need."
  value       = module.function["publish"].alias_arn
}

output "authorizer_arn" {
  description = "ARN by which scripts/explain-token.sh asks the authorizer about a token: the alias of the authorizer; null without auth."
  value       = var.auth == null ? null : module.function["authorizer"].alias_arn
}

output "api_id" {
  description = "Id of the WebSocket API, and its dimension in CloudWatch."
  value       = module.websocket_api.api_id
}

output "table_name" {
  description = "Name of the connections table."
  value       = module.connections_table.name
}

output "messages_table_name" {
  description = "Name of the table of messages; null without history."
  value       = one(module.messages_table[*].name)
}

output "subscriptions_table_name" {
  description = "Name of the table of subscriptions; null without subscriptions."
  value       = one(module.subscriptions_table[*].name)
}

output "function_names" {
  description = "Name in AWS of each function: connect, disconnect, send-message and publish, with auth also authorizer, with history_seconds history, with subscriptions membership, deliver where fanout.split is above 0, and census where open connections are counted."
  value       = { for key, function in module.function : key => function.name }
}

output "alias" {
  description = "Alias through which each function is called, also by backends: {function name}:{alias}. It names the version that runs."
  value       = local.alias
}

output "log_group_names" {
  description = "CloudWatch log group of each function."
  value       = { for key, function in module.function : key => function.log_group_name }
}

output "access_log_group_name" {
  description = "CloudWatch log group of API Gateway's access log; null where there is none."
  value       = module.websocket_api.access_log_group_name
}
