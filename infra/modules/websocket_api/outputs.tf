# What the functions, their policies and the outside need to know of the API.

output "api_id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "execution_arn" {
  description = "ARN prefix of the API's stages and what is below them."
  value       = aws_apigatewayv2_api.this.execution_arn
}

output "function_arn" {
  description = "ARN prefix of functions beside the API, to which a name is added; nothing of a function is known by it."
  value       = local.function_arn
}

# From the API and not from the stage: send-message is told this address, and the stage comes after send-message.
output "connections_endpoint" {
  description = "Address of the @connections API."
  value       = "${replace(aws_apigatewayv2_api.this.api_endpoint, "/^ws/", "http")}/${var.stage}"
}

output "routes" {
  description = "What answers each route: the name of a function, or a frame."
  value       = merge(var.functions, var.replies)
}

output "authorization" {
  description = "How each route is guarded: NONE or CUSTOM."
  value       = { for key, route in aws_apigatewayv2_route.this : key => route.authorization_type }
}

output "authorizer" {
  description = "Name of the function that admits connections; null where all are admitted."
  value       = one([for authorizer in aws_apigatewayv2_authorizer.this : authorizer.name])
}

output "deployment_hash" {
  description = "Hash of what the stage serves; another hash means another deployment."
  value       = aws_apigatewayv2_deployment.this.triggers.redeployment
}

output "access_log_group_name" {
  description = "Name of the access log's group; null where there is no access log."
  value       = one([for group in aws_cloudwatch_log_group.access : group.name])
}

output "stage" {
  description = "Name of the stage; unknown while it is replaced."
  value       = aws_apigatewayv2_stage.this.id
}

output "uris" {
  description = "By which URI API Gateway invokes the function of each route."
  value       = { for route, function in var.functions : route => local.uris[function] }
}
