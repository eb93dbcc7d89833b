# The role under which API Gateway writes access logs: one for a whole account and region, and so no single hub's. Destroying
# it stops the logs of all: the account's setting names the role until another one is set.

data "aws_partition" "current" {}

resource "aws_iam_role" "gateway_logs" {
  count = var.gateway_logs ? 1 : 0

  name        = "${var.name}-gateway-logs-${local.region}"
  description = "Under this, API Gateway writes the logs of every API in this account and region."

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "apigateway.amazonaws.com" }
    }]
  })
}

# AWS's own policy: every API of the account writes under this role, to log groups that are not known here.
resource "aws_iam_role_policy_attachment" "gateway_logs" {
  count = var.gateway_logs ? 1 : 0

  role       = aws_iam_role.gateway_logs[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  count = var.gateway_logs ? 1 : 0

  cloudwatch_role_arn = aws_iam_role.gateway_logs[0].arn

  # API Gateway tests the role's permissions before it accepts it.
  depends_on = [aws_iam_role_policy_attachment.gateway_logs]
}
