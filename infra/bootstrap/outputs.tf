# Values for scripts/new-environment.sh, whose flags the descriptions name.

output "state_bucket" {
  description = "Bucket of the Terraform states: --state-bucket."
  value       = aws_s3_bucket.state.bucket
}

output "region" {
  description = "Region of the bucket and the hubs: --region."
  value       = var.region
}

output "plan_role_arn" {
  description = "Role that the workflows assume to plan: --plan-role-arn."
  value       = aws_iam_role.plan.arn
}

output "deploy_role_arns" {
  description = "Role that the workflows assume to deploy each environment: --deploy-role-arn."
  value       = { for environment, role in aws_iam_role.deploy : environment => role.arn }
}

output "permissions_boundary_arns" {
  description = "Permissions boundary of the functions' roles of each environment: --permissions-boundary."
  value       = local.boundary_arns
}

output "hub_names" {
  description = "Name of each environment's hub: --name."
  value       = local.hubs
}

output "next" {
  description = "Command that creates each environment. It asks who may connect."
  value = { for environment, hub in local.hubs : environment => join(" ", [
    "scripts/new-environment.sh ${environment} --name ${hub} --region ${var.region}",
    "--state-bucket ${aws_s3_bucket.state.bucket} --permissions-boundary ${local.boundary_arns[environment]}",
    "--plan-role-arn ${aws_iam_role.plan.arn} --deploy-role-arn ${aws_iam_role.deploy[environment].arn}",
  ]) }
}
