# The permissions boundary: the most that a function of a hub can do, whatever its role permits. A role that deploys functions
# also writes their roles. It must set this boundary and cannot change it; otherwise it could give a function any permission.

locals {
  boundary_arns = { for environment, hub in local.hubs : environment => coalesce(var.permissions_boundary, try(aws_iam_policy.boundary[environment].arn, null)) }

  # Only through these services, never by a direct call to KMS.
  by_services = { StringLike = { "kms:ViaService" = ["dynamodb.${var.region}.*", "lambda.${var.region}.*"] } }
}

resource "aws_iam_policy" "boundary" {
  for_each = { for environment, hub in local.hubs : environment => hub if var.permissions_boundary == null }

  name        = "${var.name}-boundary-${each.key}-${var.region}"
  description = "Most that a function of ${each.value} can do."

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
        # AWS chooses the id of an API, so the ARN has no name to match.
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
