# A root that is applied to the local stack, and whose revision changes what the hub depends on.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

variable "name" { type = string }
variable "region" { type = string }
variable "artifacts_dir" { type = string }
variable "issuer" { type = string }
variable "tags" { type = map(string) }
variable "revision" {
  type    = string
  default = "1"
}

provider "aws" {}

resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
  tags = { revision = var.revision }
}

resource "terraform_data" "before" {
  triggers_replace = var.revision
}

module "hub" {
  source           = "INFRA"
  name             = var.name
  region           = var.region
  architecture     = jsondecode(file("${var.artifacts_dir}/release.json")).architecture
  artifacts_dir    = var.artifacts_dir
  alarm_topic_arns = [aws_sns_topic.alarms.arn]
  auth             = { issuers = [{ issuer = var.issuer, audiences = ["hub"] }] }
  history_seconds  = 300
  # Of two recipients, deliver serves one.
  fanout     = { split = 1 }
  tags       = var.tags
  depends_on = [aws_sns_topic.alarms, terraform_data.before]
}

output "hub" {
  value = module.hub
}
