# Versions of Terraform and of the AWS provider, and the place of this configuration's own state.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # In the bucket that this configuration creates: scripts/bootstrap.sh moves it there, and writes the rest to
  # <account>.s3.tfbackend.
  backend "s3" {
    key          = "bootstrap/terraform.tfstate"
    encrypt      = true
    use_lockfile = true

    # The region may be newer than Terraform.
    skip_region_validation = true
  }
}
