# The hub as a module: tables, functions (functions.tf has their environment and permissions), the schedule of the census, dashboard
# and alarms; routes.tf has the WebSocket API. Variables decide which of the optional tables and functions exist.

locals {
  artifacts_dir = coalesce(var.artifacts_dir, "${path.module}/../target/lambda")
  # Written by scripts/build.sh beside the zips. If it is missing, the preconditions of the functions say what to do.
  release_file = try(jsondecode(file("${local.artifacts_dir}/release.json")), null)
  release      = try(local.release_file.release, null)

  # Stages and domains have no name that an IAM policy could match, so bootstrap/permissions.tf matches this tag.
  tags = merge(var.tags, { websocket-hub = var.name })

  # Every caller invokes the functions through it, so that a rollback only moves the alias.
  alias = "live"

  has_history   = var.history_seconds > 0
  session_index = "session_id-index"

  connections_endpoint = coalesce(var.websocket_endpoint, module.websocket_api.connections_endpoint)
  clients_endpoint     = var.custom_domain == null ? local.connections_endpoint : "https://${var.custom_domain.name}"
}

module "connections_table" {
  source = "./modules/table"

  name       = coalesce(var.table_name, "${var.name}-connections")
  hash_key   = "connection_id"
  attributes = { connection_id = "S", session_id = "S" }
  index = {
    name               = local.session_index
    hash_key           = "session_id"
    range_key          = "connection_id"
    non_key_attributes = ["connected_at", "expires_at"]
  }

  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
  kms_key_arn            = var.kms_key_arn
  tags                   = local.tags
}

module "messages_table" {
  source = "./modules/table"
  count  = local.has_history ? 1 : 0

  name       = "${var.name}-messages"
  hash_key   = "session_id"
  range_key  = "offset"
  attributes = { session_id = "S", offset = "N" }

  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
  kms_key_arn            = var.kms_key_arn
  tags                   = local.tags
}

module "subscriptions_table" {
  source = "./modules/table"
  count  = var.subscriptions ? 1 : 0

  name       = "${var.name}-subscriptions"
  hash_key   = "session_id"
  range_key  = "connection_id"
  attributes = { session_id = "S", connection_id = "S" }

  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
  kms_key_arn            = var.kms_key_arn
  tags                   = local.tags
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name        = "${var.name}-${each.key}"
  alias       = local.alias
  description = each.value.description
  region      = var.region
  artifact    = "${local.artifacts_dir}/${each.key}/bootstrap.zip"
  build = {
    release      = local.release
    architecture = try(local.release_file.architecture, null)
    sha256       = try(local.release_file.sha256[each.key], null)
  }
  architecture       = var.architecture
  memory_mb          = var.memory_mb[each.key]
  timeout_seconds    = var.timeout_seconds[each.key]
  environment        = merge(each.value.environment, { for file in var.ca_bundle[*] : "AWS_CA_BUNDLE" => file })
  statements         = each.value.statements
  log_level          = var.log_level
  log_retention_days = var.log_retention_days
  tracing            = var.tracing

  permissions_boundary = var.permissions_boundary
  kms_key_arn          = var.kms_key_arn
  tags                 = local.tags
}

module "schedule" {
  source   = "./modules/schedule"
  for_each = local.census_function

  function      = module.function[each.key]
  every_minutes = var.census_minutes
  tags          = local.tags
}

module "observability" {
  source = "./modules/observability"
  count  = var.observability ? 1 : 0

  name    = var.name
  region  = var.region
  release = local.release
  tags    = local.tags
  functions = { for key, function in module.function : key => {
    name            = function.name
    log_group_name  = function.log_group_name
    timeout_seconds = var.timeout_seconds[key]
  } }
  api                       = { id = module.websocket_api.api_id, stage = var.stage }
  table                     = { name = module.connections_table.name, session_index = local.session_index }
  messages_table            = one(module.messages_table[*].name)
  subscriptions_table       = one(module.subscriptions_table[*].name)
  requests_per_second_quota = var.requests_per_second_quota
  alarm_topic_arns          = var.alarm_topic_arns
}
