# What the functions, their policies and the hub's outputs need; the rest is for tests.

output "api_id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "execution_arn" {
  description = "ARN prefix of the API's stages and their routes."
  value       = aws_apigatewayv2_api.this.execution_arn
}

output "function_arn" {
  description = "ARN prefix of functions in the API's account and region, without a function's name."
  value       = local.function_arn
}

# From the API and not from the stage: send-message needs this address, and the stage depends on send-message.
output "connections_endpoint" {
  description = "Address of the @connections API."
  value       = "${replace(aws_apigatewayv2_api.this.api_endpoint, "/^ws/", "http")}/${var.stage}"
}

output "routes" {
  description = "Integration of each route: the name of a function, or a frame."
  value       = merge(var.functions, var.replies)
}

output "authorization" {
  description = "Authorization of each route: NONE or CUSTOM."
  value       = { for key, route in aws_apigatewayv2_route.this : key => route.authorization_type }
}

output "authorizer" {
  description = "Name of the authorizer function. Null without one."
  value       = one([for authorizer in aws_apigatewayv2_authorizer.this : authorizer.name])
}

output "deployment_hash" {
  description = "Hash of what the stage serves. A new hash is a new deployment."
  value       = aws_apigatewayv2_deployment.this.triggers.redeployment
}

output "access_log_group_name" {
  description = "Name of the access log's group. Null without an access log."
  value       = one([for group in aws_cloudwatch_log_group.access : group.name])
}

output "stage" {
  description = "Name of the stage. Unknown while it is replaced."
  value       = aws_apigatewayv2_stage.this.id
}

output "uris" {
  description = "URI by which API Gateway invokes the function of each route."
  value       = { for route, function in var.functions : route => local.uris[function] }
}
