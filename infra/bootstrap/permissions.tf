# IAM permissions that Terraform needs to read and to write a hub, by service. HUB stands for the hub's name, the prefix of
# everything it creates, and BOUNDARY for the ARN of its functions' boundary. No permission reads a row, a log line or a message,
# or invokes a function.

locals {
  functions = ["${local.arn.lambda}:function:HUB-*"]
  # Roles are global; their names end in the region.
  roles      = ["${local.arn.iam}:role/HUB-*-${var.region}"]
  tables     = ["${local.arn.dynamodb}:table/HUB-*"]
  alarms     = ["${local.arn.alarm}:HUB-*", "${local.arn.dashboard}/HUB-*"]
  rules      = ["${local.arn.events}:rule/HUB-*"]
  log_groups = ["${local.arn.logs}:log-group:/aws/lambda/HUB-*", "${local.arn.logs}:log-group:/aws/apigateway/HUB", "${local.arn.logs}:log-group:/aws/apigateway/HUB:*"]
  apis       = "${local.arn.apigateway}/apis"

  read = [
    { resources = local.functions, actions = ["lambda:GetAlias", "lambda:GetFunction", "lambda:GetFunctionCodeSigningConfig", "lambda:GetFunctionConfiguration", "lambda:GetPolicy", "lambda:ListTags", "lambda:ListVersionsByFunction"] },
    { resources = local.roles, actions = ["iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:ListRoleTags"] },
    { resources = local.tables, actions = ["dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource"] },
    { resources = local.log_groups, actions = ["logs:ListTagsForResource"] },
    { resources = local.alarms, actions = ["cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource"] },
    { resources = local.rules, actions = ["events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"] },
    { resources = [for path in ["apis", "apis/*", "domainnames/*", "tags/*"] : "${local.arn.apigateway}/${path}"], actions = ["apigateway:GET"] },
    # These actions apply to no particular resource: they list, or belong to the account (saved queries, delivery of access logs).
    { resources = ["*"], actions = ["cloudwatch:DescribeAlarms", "logs:DescribeLogGroups", "logs:DescribeQueryDefinitions", "logs:GetLogDelivery", "logs:ListLogDeliveries"] },
  ]

  write = [
    { resources = local.functions, actions = ["lambda:AddPermission", "lambda:CreateAlias", "lambda:CreateFunction", "lambda:DeleteAlias", "lambda:DeleteFunction", "lambda:PublishVersion", "lambda:RemovePermission", "lambda:TagResource", "lambda:UntagResource", "lambda:UpdateAlias", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"] },
    { resources = local.roles, actions = ["iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"] },
    # A role without the boundary can be neither created nor given permissions, and no role can lose it.
    { resources = local.roles, actions = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"], condition = { StringEquals = { "iam:PermissionsBoundary" = "BOUNDARY" } } },
    { resources = local.roles, actions = ["iam:PassRole"], condition = { StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } } },
    { resources = local.tables, actions = ["dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:TagResource", "dynamodb:UntagResource", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive"] },
    { resources = local.log_groups, actions = ["logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteRetentionPolicy", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource"] },
    { resources = local.alarms, actions = ["cloudwatch:DeleteAlarms", "cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"] },
    { resources = local.rules, actions = ["events:DeleteRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:TagResource", "events:UntagResource"] },

    # AWS chooses the id of an API, so these match the API's name and the stage's tag.
    { resources = [local.apis], actions = ["apigateway:POST"], condition = { StringEquals = { "apigateway:Request/ApiName" = "HUB" } } },
    { resources = ["${local.apis}/*"], actions = ["apigateway:DELETE", "apigateway:PATCH"], condition = { StringEquals = { "apigateway:Resource/ApiName" = "HUB" }, StringEqualsIfExists = { "apigateway:Request/ApiName" = "HUB" } } },
    { resources = ["${local.apis}/*/stages"], actions = ["apigateway:POST"], condition = { StringEquals = { "aws:RequestTag/websocket-hub" = "HUB" } } },
    { resources = ["${local.apis}/*/stages/*"], actions = ["apigateway:DELETE", "apigateway:PATCH"], condition = { StringEquals = { "aws:ResourceTag/websocket-hub" = "HUB" } } },
    # The parts of an API have neither a name nor a tag: the reason for `shared_account`.
    { resources = flatten([for part in ["authorizers", "deployments", "integrations", "routes"] : ["${local.apis}/*/${part}", "${local.apis}/*/${part}/*"]]), actions = ["apigateway:DELETE", "apigateway:PATCH", "apigateway:POST"] },
    # Creating a resource with tags also authorizes a tagging call, which may lack the resource's own tags.
    { resources = ["${local.arn.apigateway}/tags/*"], actions = ["apigateway:DELETE", "apigateway:POST", "apigateway:PUT"], condition = { StringEqualsIfExists = { "aws:RequestTag/websocket-hub" = "HUB", "aws:ResourceTag/websocket-hub" = "HUB" } } },

    { resources = ["*"], actions = ["logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DeleteQueryDefinition", "logs:PutQueryDefinition", "logs:UpdateLogDelivery"] },
  ]

  domains = { for environment, names in var.custom_domains : environment => [
    { resources = ["${local.arn.apigateway}/domainnames"], actions = ["apigateway:POST"], condition = { StringEquals = { "aws:RequestTag/websocket-hub" = "HUB" } } },
    {
      resources = flatten([for name in names : [for rest in ["", "/apimappings", "/apimappings/*"] : "${local.arn.apigateway}/domainnames/${name}${rest}"]])
      actions   = ["apigateway:DELETE", "apigateway:PATCH", "apigateway:POST"]
    },
    # For an account's first domain, API Gateway creates its service-linked role.
    {
      resources = ["${local.arn.iam}:role/aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway"]
      actions   = ["iam:CreateServiceLinkedRole"]
      condition = { StringEquals = { "iam:AWSServiceName" = "ops.apigateway.amazonaws.com" } }
    },
  ] }

  keys = [for part in [
    { resources = local.log_groups, actions = ["logs:AssociateKmsKey", "logs:DisassociateKmsKey"] },
    { resources = var.kms_key_arns, actions = ["kms:DescribeKey"] },
    { resources = var.kms_key_arns, actions = ["kms:CreateGrant"], condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } } },
    { resources = var.kms_key_arns, actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"], condition = local.by_services },
  ] : part if length(var.kms_key_arns) > 0]
}
