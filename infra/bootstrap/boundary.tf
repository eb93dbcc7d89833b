# The most that a function of a hub can do, whatever permissions its role is given. Who deploys functions also writes their
# roles: without a boundary that they must set and cannot change, they could give a function all that the account has.

locals {
  boundary_arns = { for environment, hub in local.hubs : environment => coalesce(var.permissions_boundary, try(aws_iam_policy.boundary[environment].arn, null)) }

  # Only on behalf of a caller of these services, never by a call to KMS itself.
  by_services = { StringLike = { "kms:ViaService" = ["dynamodb.${var.region}.*", "lambda.${var.region}.*"] } }
}

resource "aws_iam_policy" "boundary" {
  for_each = { for environment, hub in local.hubs : environment => hub if var.permissions_boundary == null }

  name        = "${var.name}-boundary-${each.key}-${var.region}"
  description = "The most that a function of ${each.value} can do."

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem"]
          Resource = "${local.arn.dynamodb}:table/${each.value}-*"
        },
        { Effect = "Allow", Action = "lambda:InvokeFunction", Resource = "${local.arn.lambda}:function:${each.value}-*" },
        # An API is known by an id that AWS chooses: here is no name to go by.
        { Effect = "Allow", Action = "execute-api:ManageConnections", Resource = "${local.arn.execute-api}:*/*/*/@connections/*" },
        { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = "${local.arn.logs}:log-group:/aws/lambda/${each.value}-*" },
        { Effect = "Allow", Action = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], Resource = "*" },
      ],
      [for actions in [["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]] : {
        Effect    = "Allow"
        Action    = actions
        Resource  = var.kms_key_arns
        Condition = local.by_services
      } if length(var.kms_key_arns) > 0],
    )
  })
}
