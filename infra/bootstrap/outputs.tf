# What the pipeline is told, as variables of the GitHub repository and its environments.

output "state_bucket" {
  description = "Bucket of the Terraform states. Repository variable STATE_BUCKET."
  value       = aws_s3_bucket.state.bucket
}

output "region" {
  description = "Where all of this is. Repository variable AWS_REGION."
  value       = data.aws_region.current.name
}

output "plan_role_arn" {
  description = "Role that pull requests plan with. Repository variable PLAN_ROLE."
  value       = aws_iam_role.plan.arn
}

output "deploy_role_arns" {
  description = "Role that each environment deploys with. Environment variable DEPLOY_ROLE."
  value       = { for environment, role in aws_iam_role.deploy : environment => role.arn }
}

output "hub_name" {
  description = "What the hubs' names begin with: {hub_name}-{environment}. Repository variable HUB_NAME."
  value       = var.name
}
