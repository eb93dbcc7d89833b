# Trust and permissions of the roles. In another partition than aws, so that no policy depends on the usual one.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws-us-gov" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws-us-gov:iam::123456789012:role/own" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws-us-gov:iam::123456789012:policy/boundary" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws-us-gov:s3:::state" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws-us-gov:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  region         = "us-gov-west-1"
  repository     = "example/hub"
  repository_id  = "222"
  owner_id       = "111"
  environments   = ["prod", "production"]
  shared_account = true
}

run "trust" {
  command = plan

  assert {
    condition = {
      for name, role in merge({ plan = aws_iam_role.plan }, aws_iam_role.deploy) :
      name => toset(jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"])
      } == {
      plan       = toset(["repo:example/hub:pull_request", "repo:example/hub:ref:refs/heads/main", "repo:example@111/hub@222:pull_request", "repo:example@111/hub@222:ref:refs/heads/main"])
      prod       = toset(["repo:example/hub:environment:prod", "repo:example@111/hub@222:environment:prod"])
      production = toset(["repo:example/hub:environment:production", "repo:example@111/hub@222:environment:production"])
    }
    error_message = "the trusted subjects are not exactly both forms for the role's environment, or for pull requests and main"
  }

  assert {
    condition = {
      for name, role in merge({ plan = aws_iam_role.plan }, aws_iam_role.deploy) :
      name => { for key, value in jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals : key => value if !endswith(key, ":sub") }
      } == {
      plan       = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:repository_id" = "222" }
      prod       = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:repository_id" = "222", "token.actions.githubusercontent.com:ref" = "refs/heads/main" }
      production = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:repository_id" = "222", "token.actions.githubusercontent.com:ref" = "refs/heads/main" }
    }
    error_message = "the trust accepts a token for another audience, repository or branch"
  }

  assert {
    condition = alltrue([for role in concat([aws_iam_role.plan], values(aws_iam_role.deploy)) : alltrue([
      length(jsondecode(role.assume_role_policy).Statement) == 1,
      jsondecode(role.assume_role_policy).Statement[0].Action == "sts:AssumeRoleWithWebIdentity",
      jsondecode(role.assume_role_policy).Statement[0].Principal == { Federated = "arn:aws-us-gov:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" },
    ])])
    error_message = "the trust accepts another caller than GitHub's provider"
  }
}

run "sts_without_githubs_claims" {
  command = plan

  variables {
    github_claims = false
  }

  assert {
    condition = alltrue([for role in concat([aws_iam_role.plan], values(aws_iam_role.deploy)) :
      toset(keys(jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals)) == toset(["token.actions.githubusercontent.com:aud", "token.actions.githubusercontent.com:sub"])
    ])
    error_message = "a condition uses a claim although github_claims is off"
  }
}

run "partition" {
  command = plan

  variables {
    gateway_logs   = true
    custom_domains = { prod = ["chat.example.com"] }
    kms_key_arns   = ["arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"]
  }

  assert {
    condition = !strcontains(jsonencode(concat(
      [aws_iam_role_policy.plan.policy, aws_iam_role_policy_attachment.gateway_logs[0].policy_arn],
      values(aws_iam_role_policy.deploy)[*].policy, values(aws_iam_policy.boundary)[*].policy,
    )), "arn:aws:")
    error_message = "an ARN has another partition"
  }
}

run "longest_names" {
  command = plan

  variables {
    region         = "ap-northeast-1"
    name           = "a2345678901234567890"
    environments   = ["abcdefghijk", "abcdefghijl", "abcdefghijm", "abcdefghijn"]
    gateway_logs   = true
    custom_domains = { abcdefghijk = ["chat.eu.production.example.com", "chat.us.production.example.com"] }
    kms_key_arns   = ["arn:aws-us-gov:kms:ap-northeast-1:123456789012:key/11111111-2222-3333-4444-555555555555", "arn:aws-us-gov:kms:ap-northeast-1:123456789012:key/11111111-2222-3333-4444-666666666666"]
  }

  assert {
    # IAM's limits without white space: all inline policies of one role together, and one managed policy.
    condition = alltrue(concat(
      [for policy in concat([aws_iam_role_policy.plan.policy], values(aws_iam_role_policy.deploy)[*].policy) : length(policy) <= 10240],
      [for policy in values(aws_iam_policy.boundary)[*].policy : length(policy) <= 6144],
    ))
    error_message = "a policy is too long for IAM"
  }

  assert {
    condition     = alltrue([for name in concat([aws_iam_role.plan.name, aws_iam_role.gateway_logs[0].name], values(aws_iam_role.deploy)[*].name) : length(name) <= 64]) && length(aws_s3_bucket.state.bucket) <= 63
    error_message = "a name is too long"
  }
}

run "plan_only_reads" {
  command = plan

  variables {
    kms_key_arns = ["arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"]
  }

  assert {
    condition = alltrue([for action in flatten([for statement in jsondecode(aws_iam_role_policy.plan.policy).Statement : statement.Action]) :
      can(regex("^[a-z0-9]+:(Get|List|Describe)|^apigateway:GET$|^kms:Decrypt$", action))
    ])
    error_message = "the plan role may change something"
  }

  assert {
    condition = length(setintersection(
      flatten([for statement in jsondecode(aws_iam_role_policy.plan.policy).Statement : statement.Action]),
      ["dynamodb:GetItem", "logs:GetLogEvents", "logs:GetQueryResults"],
    )) == 0
    error_message = "the plan role may read rows, messages or logs"
  }

  assert {
    # Not the state of bootstrap.
    condition = toset(one([for statement in jsondecode(aws_iam_role_policy.plan.policy).Statement : statement.Resource if contains(flatten([statement.Action]), "s3:GetObject")])) == toset([
      "arn:aws-us-gov:s3:::state/prod/*", "arn:aws-us-gov:s3:::state/production/*",
    ])
    error_message = "the plan role reads states other than the hubs'"
  }
}

run "deploy_keeps_to_its_hub" {
  command = plan

  variables {
    custom_domains = { prod = ["chat.example.com"] }
    kms_key_arns   = ["arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"]
  }

  assert {
    # Every ARN with a name has the hub's whole name, and so is not production's.
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.deploy["prod"].policy).Statement : alltrue([
      for resource in flatten([statement.Resource]) : anytrue([
        can(regex("[:/]websocket-hub-prod-\\*(-us-gov-west-1)?$|:/aws/apigateway/websocket-hub-prod(:\\*)?$", resource)),
        can(regex("^arn:aws-us-gov:apigateway:us-gov-west-1::/|^arn:aws-us-gov:s3:::state(/prod/.*)?$|:key/k$|:role/aws-service-role/ops\\.apigateway\\.amazonaws\\.com/", resource)),
        resource == "*",
      ])
    ])])
    error_message = "the deploy role of prod reaches beyond its own hub and state"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.deploy["prod"].policy).Statement :
      !contains(flatten([statement.Resource]), "*") || alltrue([for action in flatten([statement.Action]) : can(regex("^(logs|cloudwatch):", action))])
    ])
    error_message = "more than saved queries and log delivery is granted on everything"
  }

  assert {
    # APIs, stages and domains are matched by name or tag.
    condition = alltrue(flatten([for statement in jsondecode(aws_iam_role_policy.deploy["prod"].policy).Statement : [for resource in flatten([statement.Resource]) :
      strcontains(jsonencode(try(statement.Condition, null)), "\"websocket-hub-prod\"") || can(regex("/(authorizers|deployments|integrations|routes)(/\\*)?$|/domainnames/chat\\.example\\.com(/apimappings(/\\*)?)?$", resource))
      if strcontains(resource, ":apigateway:") && flatten([statement.Action]) != ["apigateway:GET"]
    ]]))
    error_message = "the deploy role of prod may change an API, a stage or a domain of another hub"
  }

  assert {
    condition = alltrue(flatten([for statement in jsondecode(aws_iam_role_policy.deploy["prod"].policy).Statement : [for action in flatten([statement.Action]) :
      try(statement.Condition.StringEquals["iam:PermissionsBoundary"], "") == "arn:aws-us-gov:iam::123456789012:policy/boundary"
      if contains(["iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary"], action)
    ]]))
    error_message = "a deploy role may create a role, or give it permissions, without the boundary"
  }

  assert {
    condition = length([for action in flatten([for statement in jsondecode(aws_iam_role_policy.deploy["prod"].policy).Statement : statement.Action]) : action
      if can(regex("^iam:(Attach|DeleteRolePermissionsBoundary|.*Policy(Version)?$)", action)) && !contains(["iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:GetRolePolicy", "iam:UpdateAssumeRolePolicy"], action)
    ]) == 0
    error_message = "a deploy role may change or remove a boundary"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.deploy["prod"].policy).Statement :
      try(statement.Condition.StringEquals["iam:PassedToService"], "") == "lambda.amazonaws.com" if contains(flatten([statement.Action]), "iam:PassRole")
    ])
    error_message = "a deploy role may pass a role to another service than Lambda"
  }

  assert {
    condition     = !can(regex("lambda:InvokeFunction|\"[a-z0-9]+:\\*\"", aws_iam_role_policy.deploy["prod"].policy))
    error_message = "a deploy role may invoke functions, or has all actions of a service"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.deploy["production"].policy, "domainnames\"") && !strcontains(aws_iam_role_policy.deploy["production"].policy, "chat.example.com")
    error_message = "production may use the domain of prod"
  }
}

run "boundary" {
  command = plan

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_policy.boundary["prod"].policy).Statement : alltrue([
      for resource in flatten([statement.Resource]) :
      can(regex("[:/]websocket-hub-prod-\\*$", resource)) || can(regex("^(xray|execute-api):", flatten([statement.Action])[0]))
    ])])
    error_message = "the boundary of prod reaches beyond its hub"
  }

  assert {
    condition = toset([for action in flatten([for statement in jsondecode(aws_iam_policy.boundary["prod"].policy).Statement : statement.Action]) : split(":", action)[0]]) == toset([
      "dynamodb", "execute-api", "lambda", "logs", "xray",
    ])
    error_message = "the boundary allows other services than those of the hub"
  }
}

run "boundary_of_the_account" {
  command = plan

  variables {
    permissions_boundary = "arn:aws-us-gov:iam::123456789012:policy/corporate"
    gateway_logs         = true
  }

  assert {
    condition = (
      length(aws_iam_policy.boundary) == 0 && output.permissions_boundary_arns["prod"] == var.permissions_boundary &&
      alltrue([for role in concat([aws_iam_role.plan], values(aws_iam_role.deploy), aws_iam_role.gateway_logs) : role.permissions_boundary == var.permissions_boundary])
    )
    error_message = "a role lacks the boundary that the account requires"
  }
}

run "state_is_kept" {
  command = plan

  assert {
    condition = (
      aws_s3_bucket.state.bucket == "websocket-hub-state-123456789012-us-gov-west-1" &&
      aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" &&
      aws_s3_bucket_public_access_block.state.block_public_policy && aws_s3_bucket_public_access_block.state.restrict_public_buckets &&
      jsondecode(aws_s3_bucket_policy.state.policy).Statement[0] == {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = ["arn:aws-us-gov:s3:::state", "arn:aws-us-gov:s3:::state/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }
    )
    error_message = "the state bucket lacks versions, privacy or TLS"
  }
}

run "existing_oidc_provider" {
  command = plan

  variables {
    oidc_provider_arn = "arn:aws-us-gov:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "a second OIDC provider would be created for GitHub"
  }
}

run "malformed" {
  command = plan

  variables {
    region               = "Ireland"
    repository           = "example@111/hub@222"
    repository_id        = "hub"
    owner_id             = "0"
    name                 = "hub-"
    environments         = ["eu-prod"]
    oidc_provider_arn    = "arn:aws:iam::123456789012:oidc-provider/example.com"
    permissions_boundary = "corporate"
    kms_key_arns         = ["arn:aws:kms:eu-west-1:123456789012:alias/hub"]
  }

  expect_failures = [
    var.region, var.repository, var.repository_id, var.owner_id, var.name, var.environments, var.oidc_provider_arn, var.permissions_boundary,
    var.kms_key_arns,
  ]
}

run "malformed_domains" {
  command = plan

  variables {
    custom_domains = { prod = ["https://chat.example.com"] }
  }

  expect_failures = [var.custom_domains]
}

run "domains_of_an_unknown_environment" {
  command = plan

  variables {
    custom_domains = { staging = ["chat.example.com"] }
  }

  expect_failures = [var.custom_domains]
}

run "reserved_environment_names" {
  command = plan

  variables {
    environments = ["deploy"]
  }

  expect_failures = [var.environments]
}

run "second_environment_without_shared_account" {
  command = plan

  variables {
    shared_account = false
  }

  expect_failures = [var.environments]
}

run "role_for_gateway_logs" {
  command = plan

  variables {
    gateway_logs = true
  }

  assert {
    condition     = aws_api_gateway_account.this[0].cloudwatch_role_arn == aws_iam_role.gateway_logs[0].arn
    error_message = "the account's setting does not name the role"
  }

  assert {
    condition     = aws_iam_role_policy_attachment.gateway_logs[0].policy_arn == "arn:aws-us-gov:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs" && jsondecode(aws_iam_role.gateway_logs[0].assume_role_policy).Statement[0].Principal == { Service = "apigateway.amazonaws.com" }
    error_message = "API Gateway may not write logs, or another service may assume its role"
  }
}

run "no_role_for_gateway_logs" {
  command = plan

  assert {
    condition     = length(aws_iam_role.gateway_logs) == 0 && length(aws_api_gateway_account.this) == 0
    error_message = "the account's setting changes although gateway_logs is off"
  }
}
