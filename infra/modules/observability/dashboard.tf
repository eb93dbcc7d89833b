# The dashboard: traffic first, then its outcome, its latency, and the capacity behind it.

locals {
  connect    = var.functions["connect"].name
  disconnect = var.functions["disconnect"].name
  # Optional functions: one name, or none.
  authorizer = [for key, function in var.functions : function.name if key == "authorizer"]
  census     = [for key, function in var.functions : function.name if key == "census"]

  stage_line = ["ApiId", var.api.id, "Stage", var.api.stage]
  table_line = ["TableName", var.table.name]
  index_line = ["TableName", var.table.name, "GlobalSecondaryIndexName", var.table.session_index]
  quantiles  = ["p50", "p90", "p99"]

  # The metrics of the functions that send, with a line for each function.
  sender_lines = { for metric in ["Messages", "MessagesRefused", "Delivered", "Gone", "Failed", "Throttled", "Retries", "Pruned", "Chunks", "ChunksFailed"] : metric => [
    for key in local.senders : ["WebSocketHub", metric, "FunctionName", local.function_dimensions[key].FunctionName, { label = "${key}: ${metric}" }]
  ] }

  # In rows of three. `lines` are CloudWatch's metrics, and `stat` is for those without one of their own.
  charts = concat(local.common_charts, concat(local.table_charts, [local.deliver_charts])...)

  common_charts = [
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
        [for metric in ["ConnectCount", "MessageCount"] : concat(["AWS/ApiGateway", metric], local.stage_line) if length(local.census) == 0],
      )
    },
    {
      title = "Messages sent"
      stat  = "Sum"
      lines = concat([for metric in ["Messages", "MessagesRefused"] : local.sender_lines[metric]]...)
    },
    {
      title = "Deliveries by outcome"
      stat  = "Sum"
      lines = concat([for metric in ["Delivered", "Gone", "Failed"] : local.sender_lines[metric]]...)
    },
    {
      title = "Throttled posts, retries and pruned connections"
      stat  = "Sum"
      lines = concat([for metric in ["Throttled", "Retries", "Pruned"] : local.sender_lines[metric]]...)
    },
    {
      title = "Posts per second (the account may make ${var.requests_per_second_quota} requests)"
      stat  = "Sum"
      lines = concat(
        [[{ expression = local.posts_per_second, label = "posts per second", period = 60 }]],
        [for id, metric in local.post_metrics : ["WebSocketHub", metric[1], "FunctionName", metric[2].FunctionName, { id = id, visible = false, period = 60 }]],
      )
    },
    {
      title = "Recipients of a message"
      stat  = "Average"
      lines = [for pair in setproduct(local.senders, concat(local.quantiles, ["Maximum"])) : ["WebSocketHub", "FanoutSize", "FunctionName", local.function_dimensions[pair[0]].FunctionName, { stat = pair[1], label = "${pair[0]}: ${pair[1]}" }]]
    },
    {
      title = "Time from a message's arrival to its receipt, ms"
      stat  = "Average"
      lines = [for pair in setproduct(local.senders, concat(local.quantiles, ["Maximum"])) : ["WebSocketHub", "FanoutDuration", "FunctionName", local.function_dimensions[pair[0]].FunctionName, { stat = pair[1], label = "${pair[0]}: ${pair[1]}" }]]
    },
    {
      title = "Time that API Gateway waits for functions, ms"
      stat  = "Average"
      lines = [for quantile in local.quantiles : concat(["AWS/ApiGateway", "IntegrationLatency"], local.stage_line, [{ stat = quantile, label = quantile }])]
    },
    {
      title = "Duration of functions, p99, ms"
      stat  = "p99"
      lines = [for function in var.functions : ["AWS/Lambda", "Duration", "FunctionName", function.name]]
    },
    {
      title = "Failed invocations, and errors that the functions count"
      stat  = "Sum"
      lines = concat(
        [for key, function in var.functions : ["AWS/Lambda", "Errors", "FunctionName", function.name, { label = "${key}: errors" }]],
        [for key, function in var.functions : ["WebSocketHub", "HandlerErrors", "FunctionName", function.name, { label = "${key}: handler errors" }]],
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
      title = "Errors of API Gateway"
      stat  = "Sum"
      lines = [for metric in ["ExecutionError", "IntegrationError", "ClientError"] : concat(["AWS/ApiGateway", metric], local.stage_line)]
    },
    {
      title = "Capacity used by the connections table and its index, units"
      stat  = "Sum"
      lines = concat(
        [for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : concat(["AWS/DynamoDB", metric], local.table_line, [{ label = "table: ${metric}" }])],
        [for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : concat(["AWS/DynamoDB", metric], local.index_line, [{ label = "index: ${metric}" }])],
      )
    },
    {
      title = "Throttled reads and writes, and latency of the connections table in ms"
      stat  = "Sum"
      lines = concat(
        [for key, function in var.functions : ["WebSocketHub", "TableThrottled", "FunctionName", function.name, { label = "${key}: throttled attempts" }] if key != "authorizer"],
        [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : concat(["AWS/DynamoDB", metric], local.table_line, [{ label = "table: ${metric}" }])],
        [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : concat(["AWS/DynamoDB", metric], local.index_line, [{ label = "index: ${metric}" }])],
        [for operation in ["PutItem", "GetItem", "Query", "DeleteItem"] : concat(["AWS/DynamoDB", "SuccessfulRequestLatency"], local.table_line, ["Operation", operation, { stat = "p99", label = "${operation}: p99", yAxis = "right" }])],
      )
    },
  ]

  # A row for each optional table.
  table_charts = [for one in [
    {
      table      = var.messages_table
      of         = "messages"
      title      = "History reads, and those whose answer was incomplete"
      lines      = [for metric in ["HistoryReads", "HistoryIncomplete"] : ["WebSocketHub", metric, "FunctionName", try(local.function_dimensions.history.FunctionName, null)]]
      operations = ["UpdateItem", "PutItem", "GetItem", "Query"]
    },
    {
      table      = var.subscriptions_table
      of         = "subscriptions"
      title      = "Subscribes, unsubscribes and hellos"
      lines      = [for metric in ["Subscribed", "Unsubscribed", "Hellos"] : ["WebSocketHub", metric, "FunctionName", try(local.function_dimensions.membership.FunctionName, null)]]
      operations = ["BatchWriteItem", "DeleteItem", "Query"]
    },
    ] : [
    {
      title = one.title
      stat  = "Sum"
      lines = one.lines
    },
    {
      title = "Capacity used by the ${one.of} table, units"
      stat  = "Sum"
      lines = [for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : ["AWS/DynamoDB", metric, "TableName", one.table]]
    },
    {
      title = "Throttled reads and writes, and latency of the ${one.of} table in ms"
      stat  = "Sum"
      lines = concat(
        [for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] : ["AWS/DynamoDB", metric, "TableName", one.table]],
        [for operation in one.operations : ["AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", one.table, "Operation", operation, { stat = "p99", label = "${operation}: p99", yAxis = "right" }]],
      )
    },
  ] if one.table != null]

  deliver_charts = [for key in keys(var.functions) : {
    title = "Chunks handed over to deliver, and those that failed"
    stat  = "Sum"
    lines = concat([for metric in ["Chunks", "ChunksFailed"] : local.sender_lines[metric]]...)
  } if key == "deliver"]
}

resource "aws_cloudwatch_dashboard" "this" {
  # Dashboards are global, like roles.
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
      # Correct after a rollback as well.
      [{
        type   = "log"
        x      = 0
        y      = 3 + ceil(length(local.charts) / 3) * 6
        width  = 24
        height = 6
        properties = {
          title  = "Release of each function at its latest start"
          region = var.region
          view   = "table"
          query  = "${join(" | ", [for function in var.functions : "SOURCE '${function.log_group_name}'"])} | filter message = \"started\" | stats latest(release) as release_started_last, max(@timestamp) as at by @log | sort @log"
        }
      }],
    )
  })
}
