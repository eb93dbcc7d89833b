# The one provider; credentials, and the region where `region` is not set, come from the environment.

provider "aws" {
  region = var.region

  default_tags {
    tags = var.tags
  }
}
