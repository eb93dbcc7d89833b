# The dashboard: traffic first, then what became of it, how long it took, and what stands behind it.

locals {
  connect    = var.functions["connect"].name
  disconnect = var.functions["disconnect"].name
  # Those that not every hub has: a list of one name, or of none.
  authorizer = [for key, function in var.functions : function.name if key == "authorizer"]
  census     = [for key, function in var.functions : function.name if key == "census"]

  stage     = ["ApiId", var.api.id, "Stage", var.api.stage]
  table     = ["TableName", var.table.name]
  index     = ["TableName", var.table.name, "GlobalSecondaryIndexName", var.table.session_index]
  quantiles = ["p50", "p90", "p99"]

  # What both functions that send count, one line for each.
  sender_lines = { for metric in ["Messages", "MessagesRefused", "Delivered", "Gone", "Failed", "Throttled", "Retries", "Pruned", "Chunks", "ChunksFailed"] : metric => [
    for key in local.senders : ["WebSocketHub", metric, "FunctionName", local.of[key].FunctionName, { label = "${key}: ${metric}" }]
  ] }

  # By rows of three. A line is what CloudWatch calls a metric; a chart says how to sum up the lines that do not.
  charts = concat(local.charts_of_all, concat(local.charts_of_tables, [local.charts_of_deliver])...)

  charts_of_all = [
    {
      title = "Connections"
      stat  = "Sum"
      lines = concat(
        [for metric in ["ConnectionsOpened", "ConnectionsRefused"] : ["WebSocketHub", metric, "FunctionName", local.connect]],
        [["WebSocketHub", "ConnectionsClosed", "FunctionName", local.disconnect]],
        [for metric in ["HandshakesAdmitted", "HandshakesRefused"] : ["WebSocketHub", metric, "FunctionName", local.authorizer[0]] if length(local.authorizer) > 0],
      )
    },
    {
      title = length(local.census) > 0 ? "Open connections, as last counted" : "Handshakes and frames, as API Gateway counts them"
      stat  = length(local.census) > 0 ? "Maximum" : "Sum"
      lines = concat(
        [for function in local.census : ["WebSocketHub", "OpenConnections", "FunctionName", function]],
        [for metric in ["ConnectCount", "MessageCount"] : concat(["AWS/ApiGateway", metric], local.stage) if length(local.census) == 0],
      )
    },
    {
      title = "Messages sent"
      stat  = "Sum"
      lines = concat([for metric in ["Messages", "MessagesRefused"] : local.sender_lines[metric]]...)
    },
    {
      title = "What became of the deliveries"
      stat  = "Sum"
      lines = concat([for metric in ["Delivered", "Gone", "Failed"] : local.sender_lines[metric]]...)
    },
    {
      title = "Attempts that the deliveries took"
      stat  = "Sum"
      lines = concat([for metric in ["Throttled", "Retries", "Pruned"] : local.sender_lines[metric]]...)
    },
    {
      title = "Posts per second (the account may make ${var.requests_per_second_quota} requests)"
      stat  = "Sum"
      lines = concat(
        [[{ expression = local.posts_per_second, label = "posts per second", period = 60 }]],
        [for id, metric in local.posts : ["WebSocketHub", metric[1], "FunctionName", metric[2].FunctionName, { id = id, visible = false, period = 60 }]],
      )
    },
    {
      title = "Recipients of a message"
      stat  = "Average"
      lines = [for pair in setproduct(local.senders, concat(local.quantiles, ["Maximum"])) : ["WebSocketHub", "FanoutSize", "FunctionName", local.of[pair[0]].FunctionName, { stat = pair[1], label = "${pair[0]}: ${pair[1]}" }]]
    },
    {
      title = "Time from a message's arrival to its receipt, ms"
      stat  = "Average"
      lines = [for pair in setproduct(local.senders, concat(local.quantiles, ["Maximum"])) : ["WebSocketHub", "FanoutDuration", "FunctionName", local.of[pair[0]].FunctionName, { stat = pair[1], label = "${pair[0]}: ${pair[1]}" }]]
    },
    {
      title = "Time that API Gateway waits for the functions, ms"
      stat  = "Average"
      lines = [for quantile in local.quantiles : concat(["AWS/ApiGateway", "IntegrationLatency"], local.stage, [{ stat = quantile, label = quantile }])]
    },
    {
      title = "Time that the functions take, p99, ms"
      stat  = "p99"
      lines = [for function in var.functions : ["AWS/Lambda", "Duration", "FunctionName", function.name]]
    },
    {
      title = "Invocations that failed, and what the functions say of them"
      stat  = "Sum"
      lines = concat(
        [for key, function in var.functions : ["AWS/Lambda", "Errors", "FunctionName", function.name, { label = "${key}: errors" }]],
        [for key, function in var.functions : ["WebSocketHub", "HandlerErrors", "FunctionName", function.name, { label = "${key}: the handler's own" }]],
      )
    },
    {
      title = "Throttled invocations, and invocations at once"
      stat  = "Sum"
      lines = concat(
        [for key, function in var.functions : ["AWS/Lambda", "Throttles", "FunctionName", function.name, { label = "${key}: throttles" }]],
        [for key, function in var.functions : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", function.name, { stat = "Maximum", label = "${key}: at once" }]],
      )
    },
    {
      title = "API Gateway's errors"
      stat  = "Sum"
      lines = [for metric in ["ExecutionError", "IntegrationError", "ClientError"] : concat(["AWS/ApiGateway", metric], local.stage)]
    },
    {
      title = "Capacity that the table and its index use, units"
      stat  = "Sum"
      lines = concat(
        [for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : concat(["AWS/DynamoDB", metric], local.table, [{ label = "table: ${metric}" }])],
        [for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : concat(["AWS/DynamoDB", metric], local.index, [{ label = "index: ${metric}" }])],
      )
    },
    {
      title = "Throttled reads and writes, and the table's latency in ms"
      stat  = "Sum"
      lines = concat(
        [for key, function in var.functions : ["WebSocketHub", "TableThrottled", "FunctionName", function.name, { label = "${key}: throttled attempts" }] if key != "authorizer"],
        [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : concat(["AWS/DynamoDB", metric], local.table, [{ label = "table: ${metric}" }])],
        [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : concat(["AWS/DynamoDB", metric], local.index, [{ label = "index: ${metric}" }])],
        [for operation in ["PutItem", "GetItem", "Query", "DeleteItem"] : concat(["AWS/DynamoDB", "SuccessfulRequestLatency"], local.table, ["Operation", operation, { stat = "p99", label = "${operation}: p99", yAxis = "right" }])],
      )
    },
  ]

  # A row for each table that not every hub has.
  charts_of_tables = [for one in [
    {
      table      = var.messages_table
      of         = "messages"
      title      = "Answers about the history, and those that did not prove to be complete"
      lines      = [for metric in ["HistoryReads", "HistoryIncomplete"] : ["WebSocketHub", metric, "FunctionName", try(local.of.history.FunctionName, null)]]
      operations = ["UpdateItem", "PutItem", "GetItem", "Query"]
    },
    {
      table      = var.subscriptions_table
      of         = "subscriptions"
      title      = "Subscriptions that came and went, and questions about them"
      lines      = [for metric in ["Subscribed", "Unsubscribed", "Hellos"] : ["WebSocketHub", metric, "FunctionName", try(local.of.membership.FunctionName, null)]]
      operations = ["BatchWriteItem", "DeleteItem", "Query"]
    },
    ] : [
    {
      title = one.title
      stat  = "Sum"
      lines = one.lines
    },
    {
      title = "Capacity that the table of ${one.of} uses, units"
      stat  = "Sum"
      lines = [for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : ["AWS/DynamoDB", metric, "TableName", one.table]]
    },
    {
      title = "Throttled reads and writes of ${one.of}, and that table's latency in ms"
      stat  = "Sum"
      lines = concat(
        [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : ["AWS/DynamoDB", metric, "TableName", one.table]],
        [for operation in one.operations : ["AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", one.table, "Operation", operation, { stat = "p99", label = "${operation}: p99", yAxis = "right" }]],
      )
    },
  ] if one.table != null]

  charts_of_deliver = [for key in keys(var.functions) : {
    title = "Chunks of messages handed out to deliver, and those that failed there"
    stat  = "Sum"
    lines = concat([for metric in ["Chunks", "ChunksFailed"] : local.sender_lines[metric]]...)
  } if key == "deliver"]
}

resource "aws_cloudwatch_dashboard" "this" {
  # Dashboards are shared by all regions, as roles are.
  dashboard_name = "${var.name}-${var.region}"

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm"
        x          = 0
        y          = 0
        width      = 24
        height     = 3
        properties = { title = "Alarms (release deployed last: ${coalesce(var.release, "none")})", alarms = [for alarm in local.alarms : alarm.arn] }
      }],
      [for i, chart in local.charts : {
        type   = "metric"
        x      = i % 3 * 8
        y      = 3 + floor(i / 3) * 6
        width  = 8
        height = 6
        properties = {
          title   = chart.title
          region  = var.region
          view    = "timeSeries"
          stat    = chart.stat
          period  = 60
          metrics = chart.lines
        }
      }],
      # True after a rollback too.
      [{
        type   = "log"
        x      = 0
        y      = 3 + ceil(length(local.charts) / 3) * 6
        width  = 24
        height = 6
        properties = {
          title  = "Release of each function, as of its last start"
          region = var.region
          view   = "table"
          query  = "${join(" | ", [for function in var.functions : "SOURCE '${function.log_group_name}'"])} | filter message = \"started\" | stats latest(release) as release_started_last, max(@timestamp) as at by @log | sort @log"
        }
      }],
    )
  })
}
