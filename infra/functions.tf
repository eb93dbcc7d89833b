# Environment and permissions of each function. Besides these, a function can only write its log and its traces, and decrypt its
# environment (modules/function).

locals {
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

# What several functions share.
locals {
  session_index_arn = "${module.connections_table.arn}/index/${local.session_index}"
  connections_arn   = "${module.websocket_api.execution_arn}/${var.stage}"
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

  subscriptions_environment = merge([for table in module.subscriptions_table : { SUBSCRIPTIONS_TABLE = table.name }]...)

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
}
