# What Terraform needs to read and to write a hub, service by service. HUB stands for the hub's name, the prefix of all it
# creates. None of it reads a row, a log line or a message, and none invokes a function.

locals {
  arn = { for service in ["cloudwatch", "dynamodb", "events", "lambda", "logs"] : service => "arn:aws:${service}:${local.region}:${local.account}" }

  parts = [
    {
      resources = ["${local.arn.lambda}:function:HUB-*"]
      read      = ["lambda:GetAlias", "lambda:GetFunction", "lambda:GetFunctionCodeSigningConfig", "lambda:GetFunctionConfiguration", "lambda:GetPolicy", "lambda:ListAliases", "lambda:ListTags", "lambda:ListVersionsByFunction"]
      write     = ["lambda:AddPermission", "lambda:CreateAlias", "lambda:CreateFunction", "lambda:DeleteAlias", "lambda:DeleteFunction", "lambda:DeleteFunctionConcurrency", "lambda:PublishVersion", "lambda:PutFunctionConcurrency", "lambda:RemovePermission", "lambda:TagResource", "lambda:UntagResource", "lambda:UpdateAlias", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"]
    },
    {
      resources = ["arn:aws:iam::${local.account}:role/HUB-*"]
      read      = ["iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:ListRoleTags"]
      write     = ["iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePermissionsBoundary", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"]
    },
    {
      resources = ["${local.arn.dynamodb}:table/HUB-*"]
      read      = ["dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource"]
      write     = ["dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:TagResource", "dynamodb:UntagResource", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive"]
    },
    {
      resources = ["${local.arn.logs}:log-group:/aws/lambda/HUB-*", "${local.arn.logs}:log-group:/aws/apigateway/HUB*"]
      read      = ["logs:ListTagsForResource"]
      write     = ["logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteRetentionPolicy", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource"]
    },
    {
      resources = ["${local.arn.cloudwatch}:alarm:HUB*", "arn:aws:cloudwatch::${local.account}:dashboard/HUB*"]
      read      = ["cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource"]
      write     = ["cloudwatch:DeleteAlarms", "cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"]
    },
    {
      resources = ["${local.arn.events}:rule/HUB-*"]
      read      = ["events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"]
      write     = ["events:DeleteRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:TagResource", "events:UntagResource"]
    },
    {
      # An API is known by an id that AWS chooses: there is no name here to go by.
      resources = ["arn:aws:apigateway:${local.region}::/apis", "arn:aws:apigateway:${local.region}::/apis/*", "arn:aws:apigateway:${local.region}::/tags/*"]
      read      = ["apigateway:GET"]
      write     = ["apigateway:DELETE", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT"]
    },
    {
      # These know no resource: they list, or they belong to the account as a whole (saved queries, delivery of access logs).
      resources = ["*"]
      read      = ["cloudwatch:DescribeAlarms", "logs:DescribeLogGroups", "logs:DescribeQueryDefinitions", "logs:GetLogDelivery", "logs:ListLogDeliveries"]
      write     = ["logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DeleteQueryDefinition", "logs:PutQueryDefinition", "logs:UpdateLogDelivery"]
    },
  ]
}
