# A root as another team has it: several hubs, with for_each, count, depends_on and a second provider.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

provider "aws" {
  alias  = "second"
  region = "us-east-1"
}

resource "aws_sns_topic" "alarms" {
  name = "alarms"
}

module "each" {
  source          = "INFRA"
  for_each        = toset(["blue", "green"])
  name            = each.key
  region          = "eu-west-1"
  artifacts_dir   = "INFRA/tests/fixtures"
  allow_anonymous = true
  observability   = false
}

module "counted" {
  source          = "INFRA"
  count           = 2
  name            = "counted-${count.index}"
  region          = "eu-west-1"
  artifacts_dir   = "INFRA/tests/fixtures"
  allow_anonymous = true
  observability   = false
}

module "after" {
  source           = "INFRA"
  region           = "eu-west-1"
  artifacts_dir    = "INFRA/tests/fixtures"
  allow_anonymous  = true
  history_seconds  = 300
  alarm_topic_arns = [aws_sns_topic.alarms.arn]
  depends_on       = [aws_sns_topic.alarms]
}

module "second" {
  source          = "INFRA"
  providers       = { aws = aws.second }
  region          = "us-east-1"
  artifacts_dir   = "INFRA/tests/fixtures"
  allow_anonymous = true
  observability   = false
  subscriptions   = false
}
