# The role with which API Gateway writes access logs. An account has one for each region, so it belongs to no single hub.

resource "aws_iam_role" "gateway_logs" {
  count = var.gateway_logs ? 1 : 0

  name        = "${var.name}-gateway-logs-${var.region}"
  description = "Assumed by API Gateway to write the logs of every API in this account and region."

  permissions_boundary = var.permissions_boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "apigateway.amazonaws.com" }
    }]
  })

  lifecycle {
    # The account's setting would name a deleted role, and the logs of every API would stop.
    prevent_destroy = true
  }
}

# AWS's managed policy, since every API of the account uses the role, for log groups that are not known here.
resource "aws_iam_role_policy_attachment" "gateway_logs" {
  count = var.gateway_logs ? 1 : 0

  role       = aws_iam_role.gateway_logs[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  count = var.gateway_logs ? 1 : 0

  cloudwatch_role_arn = aws_iam_role.gateway_logs[0].arn

  # API Gateway accepts a role only once it has the permissions.
  depends_on = [aws_iam_role_policy_attachment.gateway_logs]

  lifecycle {
    prevent_destroy = true
  }
}
