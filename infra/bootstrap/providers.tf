# The one provider; credentials, an administrator's, come from the environment.

provider "aws" {
  region = var.region

  default_tags {
    tags = var.tags
  }
}
