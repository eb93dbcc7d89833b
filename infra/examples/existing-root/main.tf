# The root of a platform team: it owns what the hub uses (KMS key, alarm topic, user pool, domain, permissions boundary), and has
# a second hub in another region.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

locals {
  name          = "chat"
  domain        = "chat.example.com"
  region        = "eu-west-1"
  second_region = "us-east-1"
  account       = data.aws_caller_identity.this.account_id
}

variable "zone_id" {
  description = "Route 53 hosted zone that the domain belongs to."
  type        = string
}

provider "aws" {
  region = local.region
}

provider "aws" {
  alias  = "second"
  region = local.second_region
}

data "aws_caller_identity" "this" {}

resource "aws_kms_key" "hub" {
  description         = "Tables, logs and environment of the hub, and its alarms."
  enable_key_rotation = true
}

# Lambda and DynamoDB use the key on behalf of the functions' roles, to which the module grants that, and of the role that applies
# this, which also needs kms:CreateGrant. The first statement delegates both to IAM. CloudWatch Logs and CloudWatch alarms use the
# key as services, so the policy names them.
resource "aws_kms_key_policy" "hub" {
  key_id = aws_kms_key.hub.key_id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${local.region}:${local.account}:log-group:*" } }
      },
      {
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  })
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.hub.arn
}

resource "aws_cognito_user_pool" "users" {
  name = local.name
}

resource "aws_cognito_user_pool_client" "web" {
  name         = "web"
  user_pool_id = aws_cognito_user_pool.users.id
}

resource "aws_acm_certificate" "hub" {
  domain_name       = local.domain
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  zone_id = var.zone_id
  name    = one(aws_acm_certificate.hub.domain_validation_options).resource_record_name
  type    = one(aws_acm_certificate.hub.domain_validation_options).resource_record_type
  records = [one(aws_acm_certificate.hub.domain_validation_options).resource_record_value]
  ttl     = 300
}

resource "aws_acm_certificate_validation" "hub" {
  certificate_arn         = aws_acm_certificate.hub.arn
  validation_record_fqdns = [aws_route53_record.validation.fqdn]
}

resource "aws_route53_record" "hub" {
  zone_id = var.zone_id
  name    = local.domain
  type    = "A"

  alias {
    name                   = module.hub.custom_domain_target.name
    zone_id                = module.hub.custom_domain_target.zone_id
    evaluate_target_health = false
  }
}

# The most that a function of either hub can do.
resource "aws_iam_policy" "boundary" {
  name = "${local.name}-boundary"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for action, resource in {
      "dynamodb:*"                    = "arn:aws:dynamodb:*:${local.account}:table/${local.name}-*"
      "execute-api:ManageConnections" = "arn:aws:execute-api:*:${local.account}:*"
      "kms:*"                         = aws_kms_key.hub.arn
      "lambda:InvokeFunction"         = "arn:aws:lambda:*:${local.account}:function:${local.name}-*"
      "logs:*"                        = "arn:aws:logs:*:${local.account}:log-group:/aws/lambda/${local.name}-*"
      "xray:Put*"                     = "*"
    } : { Effect = "Allow", Action = action, Resource = resource }]
  })
}

module "hub" {
  # From another repository: source = "git::https://git.example.com/websocket-hub.git//infra?ref=v1.0.0", and artifacts_dir must name the folder of the zips.
  source = "../.."

  name   = local.name
  region = local.region
  tags   = { team = "platform" }

  # For ID tokens, whose audience is the client. Each user joins the session named by their id, and sends to it.
  auth = { issuers = [{
    issuer        = "https://cognito-idp.${local.region}.amazonaws.com/${aws_cognito_user_pool.users.id}"
    audiences     = [aws_cognito_user_pool_client.web.id]
    session_claim = "sub"
  }] }

  # A client that was offline for up to a day misses nothing.
  history_seconds = 86400

  custom_domain        = { name = local.domain, certificate_arn = aws_acm_certificate_validation.hub.certificate_arn }
  kms_key_arn          = aws_kms_key.hub.arn
  permissions_boundary = aws_iam_policy.boundary.arn
  alarm_topic_arns     = [aws_sns_topic.alarms.arn]

  # CloudWatch refuses to create a log group with a key that it may not use.
  depends_on = [aws_kms_key_policy.hub]
}

module "second_hub" {
  source    = "../.."
  providers = { aws = aws.second }

  name                 = local.name
  region               = local.second_region
  permissions_boundary = aws_iam_policy.boundary.arn
  allow_anonymous      = true
}

output "websocket_urls" {
  description = "Addresses for clients, by region."
  value       = { (local.region) = module.hub.websocket_url, (local.second_region) = module.second_hub.websocket_url }
}
