# What the environments are told: see scripts/new-environment.sh.

output "state_bucket" {
  description = "Bucket of the Terraform states: --state-bucket."
  value       = aws_s3_bucket.state.bucket
}

output "region" {
  description = "Where all of this is: --region."
  value       = var.region
}

output "plan_role_arn" {
  description = "Role that the workflows plan with: --plan-role-arn."
  value       = aws_iam_role.plan.arn
}

output "deploy_role_arns" {
  description = "Role that each environment deploys with: --deploy-role-arn."
  value       = { for environment, role in aws_iam_role.deploy : environment => role.arn }
}

output "permissions_boundary_arns" {
  description = "Boundary that the functions' roles of each environment must carry: --permissions-boundary."
  value       = local.boundary_arns
}

output "hub_names" {
  description = "What each environment's hub is called: --name."
  value       = local.hubs
}

output "next" {
  description = "The command that makes each environment; it asks who may connect."
  value = { for environment, hub in local.hubs : environment => join(" ", [
    "scripts/new-environment.sh ${environment} --name ${hub} --region ${var.region}",
    "--state-bucket ${aws_s3_bucket.state.bucket} --permissions-boundary ${local.boundary_arns[environment]}",
    "--plan-role-arn ${aws_iam_role.plan.arn} --deploy-role-arn ${aws_iam_role.deploy[environment].arn}",
  ]) }
}
