# The hub as a module: tables, functions with their permissions, the WebSocket API, the schedule of the census, dashboard and
# alarms. Variables decide which of the optional tables and functions exist.

locals {
  artifacts_dir = coalesce(var.artifacts_dir, "${path.module}/../target/lambda")
  # Written by scripts/build.sh beside the zips. If it is missing, the preconditions of the functions say what to do.
  release_file = try(jsondecode(file("${local.artifacts_dir}/release.json")), null)
  release      = try(local.release_file.release, null)

  # Stages and domains have no name that an IAM policy could match, so bootstrap/permissions.tf matches this tag.
  tags = merge(var.tags, { websocket-hub = var.name })

  # Every caller invokes the functions through it, so that a rollback only moves the alias.
  alias = "live"

  has_history = var.history_seconds > 0
  # The function for each action that a client's frame can name.
  actions = merge(
    { sendMessage = "send-message" },
    local.has_history ? { history = "history" } : {},
    var.subscriptions ? { for action in ["hello", "subscribe", "unsubscribe"] : action => "membership" } : {},
  )
  session_index     = "session_id-index"
  session_index_arn = "${module.connections_table.arn}/index/${local.session_index}"

  connections_endpoint = coalesce(var.websocket_endpoint, module.websocket_api.connections_endpoint)
  clients_endpoint     = var.custom_domain == null ? local.connections_endpoint : "https://${var.custom_domain.name}"

  connections_arn = "${module.websocket_api.execution_arn}/${var.stage}"
  # With `auth`, the functions close connections whose token has expired.
  connections_methods = var.auth == null ? ["POST"] : ["POST", "DELETE"]
  # With `auth`, the functions refuse connections that did not pass the authorizer.
  grant_environment = var.auth == null ? {} : { REQUIRE_GRANT = "true" }

  # One alias, or none. Its ARN is made from names, since the function's own attribute would be a cycle.
  deliver_arns = [for name in ["${var.name}-deliver"] : "${module.websocket_api.function_arn}:${name}:${local.alias}" if var.fanout.split > 0]

  # DynamoDB uses the key on behalf of its caller.
  table_key_statements = [for arn in [var.kms_key_arn] : {
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = [arn]
    condition = { StringLike = { "kms:ViaService" = "dynamodb.${var.region}.*" } }
  } if arn != null]

  # Environment and permissions of each function. Besides these, a function can only write its log, trace and decrypt its
  # environment (modules/function).
  functions = merge(local.core_functions, local.authorizer_function, local.history_function, local.membership_function, local.deliver_function, local.census_function)

  core_functions = {
    connect = {
      description = "Records a new connection and its session."
      environment = merge({
        TABLE_NAME             = module.connections_table.name
        CONNECTION_TTL_SECONDS = var.connection_ttl_seconds
      }, local.grant_environment)
      statements = concat([
        { actions = ["dynamodb:PutItem"], resources = [module.connections_table.arn] },
      ], local.table_key_statements)
    }
    disconnect = {
      description = "Removes a connection that has closed."
      environment = merge({
        TABLE_NAME = module.connections_table.name
      }, local.subscriptions_environment)
      # The connection's subscriptions end with it.
      statements = concat([
        { actions = ["dynamodb:DeleteItem"], resources = [module.connections_table.arn] },
      ], [for table in module.subscriptions_table : { actions = ["dynamodb:BatchWriteItem"], resources = [table.arn] }], local.table_key_statements)
    }
    send-message = {
      description = "Delivers a client's message to every live connection of the sessions it names."
      environment = local.fanout_environment
      # The sender's session and grant are in the row of its connection.
      statements = concat(local.fanout_statements, [
        { actions = ["dynamodb:GetItem"], resources = [module.connections_table.arn] },
      ], local.table_key_statements)
    }
    publish = {
      description = "Delivers a backend's message to every live connection of the sessions it names."
      environment = local.fanout_environment
      statements  = concat(local.fanout_statements, local.table_key_statements)
    }
  }

  # For posting to connections, and for deleting the rows of those that are gone.
  posting_environment = merge({
    TABLE_NAME         = module.connections_table.name
    WEBSOCKET_ENDPOINT = local.connections_endpoint
    FANOUT_CONCURRENCY = var.fanout_concurrency
  }, local.subscriptions_environment)
  # For sending: also finding the recipients, storing messages, and handing over chunks to deliver.
  fanout_environment = merge(local.posting_environment, {
    SESSION_INDEX     = local.session_index
    STRAGGLER_SECONDS = var.straggler_seconds
    MAX_MESSAGE_BYTES = var.max_message_bytes
    }, local.grant_environment, concat(
    [for table in module.messages_table : { MESSAGES_TABLE = table.name, HISTORY_SECONDS = var.history_seconds }],
    [for arn in local.deliver_arns : {
      DELIVER_FUNCTION = arn
      FANOUT_SPLIT     = var.fanout.split
      FANOUT_WORKERS   = var.fanout.workers
      FANOUT_RATE      = coalesce(var.fanout.rate, local.default_fanout_rate)
    }],
  )...)
  fanout_statements = concat(
    [
      { actions = ["dynamodb:Query"], resources = [local.session_index_arn] },
      { actions = ["dynamodb:DeleteItem"], resources = [module.connections_table.arn] },
      { actions = ["execute-api:ManageConnections"], resources = [for method in local.connections_methods : "${local.connections_arn}/${method}/@connections/*"] },
    ],
    [for table in module.subscriptions_table : { actions = ["dynamodb:DeleteItem", "dynamodb:Query"], resources = [table.arn] }],
    [for table in module.messages_table : { actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"], resources = [table.arn] }],
    [for arn in local.deliver_arns : { actions = ["lambda:InvokeFunction"], resources = [arn] }],
  )

  subscriptions_environment = merge([for table in module.subscriptions_table : { SUBSCRIPTIONS_TABLE = table.name }]...)

  authorizer_function = { for auth in var.auth[*] : "authorizer" => {
    description = "Admits connections that have a valid token of one of the issuers."
    environment = {
      AUTH_ISSUERS = jsonencode(auth.issuers)
    }
    statements = []
  } }

  history_function = { for table in module.messages_table : "history" => {
    description = "Returns the messages that a client has missed."
    environment = merge({
      TABLE_NAME     = module.connections_table.name
      MESSAGES_TABLE = table.name
    }, local.grant_environment)
    statements = concat([
      # The row of the connection says which sessions it may read.
      { actions = ["dynamodb:GetItem"], resources = [module.connections_table.arn] },
      # It also seals gaps between offsets, and creates the head of a session that has none.
      { actions = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"], resources = [table.arn] },
    ], local.table_key_statements)
  } }

  membership_function = { for table in module.subscriptions_table : "membership" => {
    description = "Subscribes connections to sessions, and tells a client what the hub knows about its connection."
    environment = merge({
      TABLE_NAME = module.connections_table.name
    }, local.subscriptions_environment, local.grant_environment, [for messages in module.messages_table : { MESSAGES_TABLE = messages.name }]...)
    statements = concat([
      # The row of the connection lists its subscriptions.
      { actions = ["dynamodb:GetItem", "dynamodb:UpdateItem"], resources = [module.connections_table.arn] },
      { actions = ["dynamodb:BatchWriteItem"], resources = [table.arn] },
      # It reads the latest offset of a session, and creates the head of a session that has none.
    ], [for messages in module.messages_table : { actions = ["dynamodb:GetItem", "dynamodb:UpdateItem"], resources = [messages.arn] }], local.table_key_statements)
  } }

  deliver_function = { for arn in local.deliver_arns : "deliver" => {
    description = "Posts a large message to a chunk of its recipients, for send-message or publish."
    environment = local.posting_environment
    # It receives its recipients. The sending function closes connections whose token has expired.
    statements = concat([
      { actions = ["dynamodb:DeleteItem"], resources = [module.connections_table.arn] },
      { actions = ["execute-api:ManageConnections"], resources = ["${local.connections_arn}/POST/@connections/*"] },
    ], [for table in module.subscriptions_table : { actions = ["dynamodb:DeleteItem"], resources = [table.arn] }], local.table_key_statements)
  } }

  census_function = { for minutes in [var.census_minutes] : "census" => {
    description = "Counts the open connections."
    environment = {
      TABLE_NAME    = module.connections_table.name
      SESSION_INDEX = local.session_index
    }
    statements = concat([
      { actions = ["dynamodb:Scan"], resources = [local.session_index_arn] },
    ], local.table_key_statements)
  } if minutes > 0 }
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

module "websocket_api" {
  source = "./modules/websocket_api"

  name                   = var.name
  region                 = var.region
  stage                  = var.stage
  throttling_burst_limit = var.throttling_burst_limit
  throttling_rate_limit  = var.throttling_rate_limit
  detailed_metrics       = var.detailed_metrics

  access_log_retention_days = var.access_logs ? var.log_retention_days : null
  kms_key_arn               = var.kms_key_arn
  tags                      = local.tags

  # Names, not attributes: modules/websocket_api says why.
  authorizer = var.auth == null ? null : "${var.name}-authorizer"
  functions  = { for route, function in merge({ "$connect" = "connect", "$disconnect" = "disconnect" }, local.actions) : route => "${var.name}-${function}" }
  alias      = local.alias
  alias_arns = { for key, function in module.function : "${var.name}-${key}" => function.alias_arn }

  replies = {
    ping = jsonencode({ type = "pong" })
    "$default" = jsonencode({
      type    = "error"
      code    = "unknown_action"
      message = "No such action. Send a JSON object whose action is ${join(", ", keys(local.actions))} or ping."
    })
  }
}

module "custom_domain" {
  source = "./modules/custom_domain"
  count  = var.custom_domain == null ? 0 : 1

  name            = var.custom_domain.name
  certificate_arn = var.custom_domain.certificate_arn
  api_id          = module.websocket_api.api_id
  stage           = module.websocket_api.stage
  tags            = local.tags
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
