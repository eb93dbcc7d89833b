# Prerequisites of the pipeline, applied once for each AWS account and region (scripts/bootstrap.sh): the bucket of the Terraform
# states, the roles that GitHub's workflows assume without a key, and the permissions boundary of the functions' roles.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  hubs      = { for environment in var.environments : environment => "${var.name}-${environment}" }

  # Prefixes of ARNs, by service. Some have no account or no region.
  arn = merge(
    { for service in ["dynamodb", "events", "execute-api", "kms", "lambda", "logs"] : service => "arn:${local.partition}:${service}:${var.region}:${local.account}" },
    {
      alarm      = "arn:${local.partition}:cloudwatch:${var.region}:${local.account}:alarm"
      dashboard  = "arn:${local.partition}:cloudwatch::${local.account}:dashboard"
      apigateway = "arn:${local.partition}:apigateway:${var.region}::"
      iam        = "arn:${local.partition}:iam::${local.account}"
    },
  )
}
