# The role under which API Gateway writes access logs: one for a whole account and region, and so no single hub's.

resource "aws_iam_role" "gateway_logs" {
  count = var.gateway_logs ? 1 : 0

  name        = "${var.name}-gateway-logs-${var.region}"
  description = "Under this, API Gateway writes the logs of every API in this account and region."

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
    # The account's setting would name a role that is gone, and every API's logs would stop.
    prevent_destroy = true
  }
}

# AWS's own policy: every API of the account writes under this role, to log groups that are not known here.
resource "aws_iam_role_policy_attachment" "gateway_logs" {
  count = var.gateway_logs ? 1 : 0

  role       = aws_iam_role.gateway_logs[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  count = var.gateway_logs ? 1 : 0

  cloudwatch_role_arn = aws_iam_role.gateway_logs[0].arn

  # API Gateway tests the role's permissions before it accepts it.
  depends_on = [aws_iam_role_policy_attachment.gateway_logs]

  lifecycle {
    prevent_destroy = true
  }
}
