# What Terraform and which provider this configuration works with, and where its own state is.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # In the bucket that it makes: scripts/bootstrap.sh moves it there, and writes <account>.s3.tfbackend with the rest.
  backend "s3" {
    key          = "bootstrap/terraform.tfstate"
    encrypt      = true
    use_lockfile = true

    # The region may be newer than Terraform.
    skip_region_validation = true
  }
}
