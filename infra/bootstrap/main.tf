# What the delivery pipeline stands on, applied once by a person: the bucket of the Terraform states, and the roles that
# GitHub's workflows assume without any key.

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  region  = data.aws_region.current.name
  issuer  = "token.actions.githubusercontent.com"
  hubs    = { for environment in var.environments : environment => "${var.name}-${environment}" }
}

resource "aws_s3_bucket" "state" {
  # checkov:skip=CKV_AWS_18: who reads the state is in CloudTrail; a second bucket for logs would want the same care again
  # checkov:skip=CKV_AWS_144: a lost region is answered by deploying to another; the hub keeps nothing worth copying
  # checkov:skip=CKV_AWS_145: encrypted with the key that AWS manages; the state holds names and no secret
  # checkov:skip=CKV2_AWS_62: nothing waits for a state to change

  # No `force_destroy`: AWS refuses to delete it while it holds a state.
  bucket = "${var.name}-state-${local.account}-${local.region}"
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket = aws_s3_bucket.state.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "old-states"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days           = 90
      newer_noncurrent_versions = 20
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.state]
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.oidc_provider_arn == null ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  provider_arn = coalesce(var.oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))

  # A workflow proves where it runs: `subject` is a pull request of the repository, or one of its environments, which
  # GitHub gives to a job only after that environment's own rules, such as an approval, are met.
  trust = { for who, subject in merge(
    { plan = "pull_request" },
    { for environment in var.environments : environment => "environment:${environment}" },
    ) : who => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Action    = "sts:AssumeRoleWithWebIdentity"
        Principal = { Federated = local.provider_arn }
        Condition = { StringEquals = {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = "repo:${var.repository}:${subject}"
        } }
      }]
  }) }
}

resource "aws_iam_role" "plan" {
  name               = "${var.name}-plan-${local.region}"
  description        = "What a pull request of ${var.repository} plans with: reads the hubs' configuration, and nothing in their tables or logs."
  assume_role_policy = local.trust["plan"]
}

resource "aws_iam_role_policy" "plan" {
  name = "plan"
  role = aws_iam_role.plan.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        { Effect = "Allow", Action = "s3:ListBucket", Resource = aws_s3_bucket.state.arn },
        { Effect = "Allow", Action = "s3:GetObject", Resource = "${aws_s3_bucket.state.arn}/*" },
      ],
      [for part in local.parts : {
        Effect   = "Allow"
        Action   = part.read
        Resource = flatten([for hub in values(local.hubs) : [for resource in part.resources : replace(resource, "HUB", hub)]])
      }],
    )
  })
}

resource "aws_iam_role" "deploy" {
  for_each = local.hubs

  name               = "${var.name}-deploy-${each.key}-${local.region}"
  description        = "What the environment ${each.key} of ${var.repository} deploys ${each.value} with."
  assume_role_policy = local.trust[each.key]
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
        {
          Effect    = "Allow"
          Action    = "iam:PassRole"
          Resource  = "arn:aws:iam::${local.account}:role/${each.value}-*"
          Condition = { StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } }
        },
      ],
      [for part in local.parts : {
        Effect   = "Allow"
        Action   = concat(part.read, part.write)
        Resource = [for resource in part.resources : replace(resource, "HUB", each.value)]
      }],
    )
  })
}
