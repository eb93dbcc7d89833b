# A hub that neither asks for tokens nor says that it is open to everyone.

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

module "hub" {
  source        = "INFRA"
  region        = "eu-west-1"
  artifacts_dir = "INFRA/tests/fixtures"
}
