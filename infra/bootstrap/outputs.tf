# What the environments are told: see scripts/new-environment.sh.

output "state_bucket" {
  description = "Bucket of the Terraform states: --state-bucket."
  value       = aws_s3_bucket.state.bucket
}

output "region" {
  description = "Where all of this is."
  value       = data.aws_region.current.name
}

output "plan_role_arn" {
  description = "Role that pull requests plan with: --plan-role-arn."
  value       = aws_iam_role.plan.arn
}

output "deploy_role_arns" {
  description = "Role that each environment deploys with: --deploy-role-arn."
  value       = { for environment, role in aws_iam_role.deploy : environment => role.arn }
}

output "hub_name" {
  description = "What the hubs' names must begin with: {hub_name}-{environment}."
  value       = var.name
}
