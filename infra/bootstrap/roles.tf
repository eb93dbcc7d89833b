# The roles of the workflows: one to plan, and for each environment one to deploy.

locals {
  issuer       = "token.actions.githubusercontent.com"
  provider_arn = coalesce(var.oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))

  # The subject of a job's token names where the job runs: for a pull request, on a branch, or in an environment. GitHub admits a
  # job to an environment only after that environment's rules, such as an approval, are met.
  contexts = merge(
    { plan = ["pull_request", "ref:refs/heads/main"] },
    { for environment in var.environments : environment => ["environment:${environment}"] },
  )

  # Repositories that were created, renamed or transferred since 2026-07-15 have the ids in their subjects; older ones do not.
  owner_and_name = split("/", var.repository)
  repositories   = [var.repository, "${local.owner_and_name[0]}@${var.owner_id}/${local.owner_and_name[1]}@${var.repository_id}"]

  trust = { for role, contexts in local.contexts : role => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.provider_arn }
      Condition = { StringEquals = merge(
        {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = [for pair in setproduct(local.repositories, contexts) : "repo:${pair[0]}:${pair[1]}"]
        },
        # Another owner can take over a name that was given up, but not an id.
        { for claim, value in { repository_id = var.repository_id } : "${local.issuer}:${claim}" => value if var.github_claims },
        { for claim, value in { ref = "refs/heads/main" } : "${local.issuer}:${claim}" => value if var.github_claims && role != "plan" },
      ) }
    }]
  }) }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.oidc_provider_arn == null ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "plan" {
  name                 = "${var.name}-plan-${var.region}"
  description          = "Assumed by workflows of ${var.repository} to plan. Reads the configuration of the hubs, but not their tables or logs."
  assume_role_policy   = local.trust["plan"]
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "plan" {
  name = "plan"
  role = aws_iam_role.plan.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        { Effect = "Allow", Action = "s3:ListBucket", Resource = aws_s3_bucket.state.arn },
        { Effect = "Allow", Action = "s3:GetObject", Resource = [for environment in var.environments : "${aws_s3_bucket.state.arn}/${environment}/*"] },
      ],
      [for part in local.read : {
        Effect   = "Allow"
        Action   = part.actions
        Resource = distinct(flatten([for hub in values(local.hubs) : [for resource in part.resources : replace(resource, "HUB", hub)]]))
      }],
      [for actions in [["kms:Decrypt", "kms:DescribeKey"]] : {
        Effect    = "Allow"
        Action    = actions
        Resource  = var.kms_key_arns
        Condition = local.by_services
      } if length(var.kms_key_arns) > 0],
    )
  })
}

resource "aws_iam_role" "deploy" {
  for_each = local.hubs

  name                 = "${var.name}-deploy-${each.key}-${var.region}"
  description          = "Assumed by workflows of ${var.repository} in the environment ${each.key} to deploy ${each.value}."
  assume_role_policy   = local.trust[each.key]
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "deploy" {
  for_each = local.hubs

  name = "deploy"
  role = aws_iam_role.deploy[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        { Effect = "Allow", Action = "s3:ListBucket", Resource = aws_s3_bucket.state.arn },
        { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = "${aws_s3_bucket.state.arn}/${each.key}/*" },
        { Effect = "Allow", Action = "s3:DeleteObject", Resource = "${aws_s3_bucket.state.arn}/${each.key}/*.tflock" },
      ],
      [for part in concat(local.read, local.write, try(local.domains[each.key], []), local.keys) : merge({
        Effect   = "Allow"
        Action   = part.actions
        Resource = [for resource in part.resources : replace(resource, "HUB", each.value)]
        },
        try({ Condition = jsondecode(replace(replace(jsonencode(part.condition), "HUB", each.value), "BOUNDARY", local.boundary_arns[each.key])) }, {}),
      )],
    )
  })
}
