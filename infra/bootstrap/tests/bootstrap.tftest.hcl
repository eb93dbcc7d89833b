# Who may take on which role, and how far each reaches.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws-us-gov" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws-us-gov:iam::123456789012:role/own" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::state" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  repository   = "example/hub"
  environments = ["staging", "production"]
}

run "trust" {
  assert {
    condition = {
      for who, role in merge({ plan = aws_iam_role.plan }, aws_iam_role.deploy) :
      who => jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"]
      } == {
      plan       = "repo:example/hub:pull_request"
      staging    = "repo:example/hub:environment:staging"
      production = "repo:example/hub:environment:production"
    }
    error_message = "a role may be taken on from elsewhere than its own environment, or than a pull request"
  }

  assert {
    condition = alltrue([for role in concat([aws_iam_role.plan], values(aws_iam_role.deploy)) : alltrue([
      length(jsondecode(role.assume_role_policy).Statement) == 1,
      jsondecode(role.assume_role_policy).Statement[0].Action == "sts:AssumeRoleWithWebIdentity",
      jsondecode(role.assume_role_policy).Statement[0].Principal == { Federated = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" },
      jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com",
    ])])
    error_message = "a role may be taken on without a token of GitHub's for AWS"
  }
}

run "plan_only_reads" {
  assert {
    condition = alltrue([for action in flatten([for statement in jsondecode(aws_iam_role_policy.plan.policy).Statement : statement.Action]) :
      can(regex("^[a-z0-9]+:(Get|List|Describe)|^apigateway:GET$", action))
    ])
    error_message = "the role of pull requests may change something"
  }

  assert {
    condition = length(setintersection(
      flatten([for statement in jsondecode(aws_iam_role_policy.plan.policy).Statement : statement.Action]),
      ["dynamodb:GetItem", "logs:GetLogEvents", "logs:GetQueryResults"],
    )) == 0
    error_message = "the role of pull requests may read what the hub holds"
  }
}

run "deploy_keeps_to_its_hub" {
  assert {
    # What names a resource by its name names this hub's. APIs have no name, and the account's lists no resource.
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.deploy["staging"].policy).Statement : alltrue([
      for resource in flatten([statement.Resource]) :
      can(regex("websocket-hub-staging|^arn:aws:apigateway:eu-west-1::/|^arn:aws:s3:::state(/staging/.*)?$", resource)) || resource == "*"
    ])])
    error_message = "a deploy to staging reaches beyond its own hub and its own state"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.deploy["staging"].policy).Statement :
      !contains(flatten([statement.Resource]), "*") || alltrue([for action in flatten([statement.Action]) : can(regex("^(logs|cloudwatch):", action))])
    ])
    error_message = "more than saved queries and log delivery is granted on everything"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.deploy["staging"].policy).Statement :
      try(statement.Condition.StringEquals["iam:PassedToService"], "") == "lambda.amazonaws.com" if contains(flatten([statement.Action]), "iam:PassRole")
    ])
    error_message = "a role may be handed to something else than Lambda"
  }

  assert {
    condition     = alltrue([for policy in values(aws_iam_role_policy.deploy) : !can(regex("lambda:InvokeFunction|:\\*\"", policy.policy))])
    error_message = "a deploy may invoke functions, or all that a service has"
  }

  assert {
    # IAM's limit for all inline policies of one role together, white space not counted.
    condition     = alltrue([for policy in values(aws_iam_role_policy.deploy) : length(policy.policy) <= 10240])
    error_message = "the policy is too long for IAM"
  }
}

run "state_is_kept" {
  assert {
    condition = (
      aws_s3_bucket.state.bucket == "websocket-hub-state-123456789012-eu-west-1" &&
      aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" &&
      aws_s3_bucket_public_access_block.state.block_public_policy && aws_s3_bucket_public_access_block.state.restrict_public_buckets &&
      jsondecode(aws_s3_bucket_policy.state.policy).Statement[0] == {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = ["arn:aws:s3:::state", "arn:aws:s3:::state/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }
    )
    error_message = "a state could be lost, be public, or travel in the clear"
  }
}

run "provider_there_already" {
  variables {
    oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "an account can have one provider for GitHub only"
  }
}

run "malformed" {
  command = plan

  variables {
    repository        = "hub"
    name              = "Hub"
    environments      = ["eu-prod"]
    oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/example.com"
  }

  expect_failures = [var.repository, var.name, var.environments, var.oidc_provider_arn]
}

run "role_for_the_gateways_logs" {
  variables {
    gateway_logs = true
  }

  assert {
    condition     = aws_api_gateway_account.this[0].cloudwatch_role_arn == aws_iam_role.gateway_logs[0].arn
    error_message = "API Gateway does not write under the role"
  }

  assert {
    condition     = aws_iam_role_policy_attachment.gateway_logs[0].policy_arn == "arn:aws-us-gov:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs" && jsondecode(aws_iam_role.gateway_logs[0].assume_role_policy).Statement[0].Principal == { Service = "apigateway.amazonaws.com" }
    error_message = "API Gateway may not write logs, or something else may assume its role"
  }
}

run "role_of_another_stack" {
  assert {
    condition     = length(aws_iam_role.gateway_logs) == 0 && length(aws_api_gateway_account.this) == 0
    error_message = "the account's role is set although another stack has set it"
  }
}
