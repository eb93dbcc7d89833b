# The role under which API Gateway writes logs: one for a whole account and region, and so not the hub's alone. Destroying this
# removes the role; the account's setting still names it until another one is set.

data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_iam_role" "this" {
  name = "${var.name}-gateway-logs-${data.aws_region.current.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "apigateway.amazonaws.com" }
    }]
  })
}

# AWS's own policy: every API of the account writes under this role, to log groups that the hub cannot know.
resource "aws_iam_role_policy_attachment" "this" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  cloudwatch_role_arn = aws_iam_role.this.arn

  # API Gateway tries what the role may do before it accepts it.
  depends_on = [aws_iam_role_policy_attachment.this]
}
