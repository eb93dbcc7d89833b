# The AWS provider. It takes an administrator's credentials from the environment.

provider "aws" {
  region = var.region

  # The region may be newer than the provider.
  skip_region_validation = true

  default_tags {
    tags = var.tags
  }
}
