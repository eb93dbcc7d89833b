# The provider this module needs; the root module chooses its version.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}
