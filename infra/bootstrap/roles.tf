# The roles of the workflows: one that plans, and one that deploys for each environment.

locals {
  issuer       = "token.actions.githubusercontent.com"
  provider_arn = coalesce(var.oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))

  # A job's token says in its subject where the job runs: for a pull request, on a branch, or in an environment, which GitHub
  # admits it to only after that environment's own rules, such as an approval, are met.
  contexts = merge(
    { plan = ["pull_request", "ref:refs/heads/main"] },
    { for environment in var.environments : environment => ["environment:${environment}"] },
  )

  # The ids are in the subjects of repositories that were made, renamed or moved since 2026-07-15, and in no older one's.
  owner_and_name = split("/", var.repository)
  repositories   = [var.repository, "${local.owner_and_name[0]}@${var.owner_id}/${local.owner_and_name[1]}@${var.repository_id}"]

  trust = { for who, contexts in local.contexts : who => jsonencode({
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
        # A name can be given up and taken by somebody else; an id cannot.
        { for claim, value in { repository_id = var.repository_id } : "${local.issuer}:${claim}" => value if var.github_claims },
        { for claim, value in { ref = "refs/heads/main" } : "${local.issuer}:${claim}" => value if var.github_claims && who != "plan" },
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
  description          = "Assumed by workflows of ${var.repository} to plan: reads the hubs' configuration, and nothing in their tables or logs."
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
  description          = "Assumed by the environment ${each.key} of ${var.repository} to deploy ${each.value}."
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
