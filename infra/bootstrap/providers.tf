# The one provider; credentials, an administrator's, come from the environment.

provider "aws" {
  region = var.region

  # The region may be newer than the provider.
  skip_region_validation = true

  default_tags {
    tags = var.tags
  }
}
