# The alarms. Each is named {name}-{heading in docs/operations.md}, where its meaning and the remedies are.

locals {
  # One alarm for each function rather than one over all: AWS charges by metric either way, and this names the function.
  function_alarms = merge([for key, function in var.functions : {
    "${key}-throttles" = {
      function    = function.name
      metric      = "Throttles"
      statistic   = "Sum"
      threshold   = 0
      description = "Lambda refused to invoke ${function.name}: the account's concurrent executions are used up.${local.fallback_note[key]}"
    }
    "${key}-duration" = {
      function    = function.name
      metric      = "Duration"
      statistic   = "Maximum"
      threshold   = 800 * function.timeout_seconds
      description = "An invocation of ${function.name} took more than 80 % of its timeout of ${function.timeout_seconds} s."
    }
  }]...)

  # A failure of deliver costs time, but no delivery.
  fallback_note = { for key in keys(var.functions) : key => key == "deliver" ? " The sending function posts the chunk itself, which takes longer." : "" }

  # Alarms on expressions. `metrics` has, by name in the expression, namespace, metric name and dimensions.
  hub_alarms = merge(local.error_alarms, {
    deliveries-failed = {
      description = "More than 1 % of the deliveries failed, and more than ten of them: connected recipients did not get their message."
      label       = "failed deliveries in per cent"
      expression  = "IF(${local.totals.failed} > 10, 100 * ${local.totals.failed} / (${local.totals.failed} + ${local.totals.delivered} + ${local.totals.gone}), 0)"
      threshold   = 1
      period      = 300
      metrics     = { for id, metric in local.post_metrics : id => metric if metric[1] != "Retries" }
    }
    # connect refuses a handshake with 400 or 403, which may count as an error of the integration.
    api-errors = {
      description = "API Gateway failed to invoke a function, or could not read its answer."
      label       = "integration errors without refused handshakes"
      expression  = "FILL(execution, 0) + IF(FILL(integration, 0) > FILL(refused, 0), FILL(integration, 0) - FILL(refused, 0), 0)"
      threshold   = 0
      period      = 300
      metrics = {
        execution   = ["AWS/ApiGateway", "ExecutionError", local.stage_dimensions]
        integration = ["AWS/ApiGateway", "IntegrationError", local.stage_dimensions]
        refused     = ["WebSocketHub", "ConnectionsRefused", local.function_dimensions.connect]
      }
    }
    # Lambda's count of errors minus those that the function counts itself.
    publish-crashes = {
      description = "${local.function_dimensions.publish.FunctionName} ended without an answer: a crash, or a timeout."
      label       = "errors that the function did not count"
      expression  = "IF(FILL(failed, 0) > FILL(refused, 0) + FILL(handled, 0), FILL(failed, 0) - FILL(refused, 0) - FILL(handled, 0), 0)"
      threshold   = 0
      period      = 300
      metrics = {
        failed  = ["AWS/Lambda", "Errors", local.function_dimensions.publish]
        refused = ["WebSocketHub", "MessagesRefused", local.function_dimensions.publish]
        handled = ["WebSocketHub", "HandlerErrors", local.function_dimensions.publish]
      }
    }
    table-throttles = {
      description = "DynamoDB throttled reads or writes of a table or its index: connects may be refused, and messages late or not sent."
      label       = "throttled attempts"
      # As the functions count them, over all tables and the index.
      expression = "SUM([${join(", ", [for id in keys(local.throttled_metrics) : "FILL(${id}, 0)"])}])"
      threshold  = 0
      period     = 300
      metrics    = local.throttled_metrics
    }
    index-write-throttles = {
      description = "DynamoDB throttled writes of the index by session: one session has more connects and disconnects per second than one key of an index accepts. Its connects are late or refused."
      label       = "throttled writes of the index"
      # The metric is missing while nothing is throttled, and in this namespace CloudWatch ignores missing data whatever
      # treat_missing_data says: without FILL the alarm would never end.
      expression = "FILL(throttled, 0)"
      threshold  = 0
      period     = 300
      metrics    = { throttled = ["AWS/DynamoDB", "WriteThrottleEvents", local.index_dimensions] }
    }
    posts-near-quota = {
      description = "Over a minute, the hub's posts took more than 70 % of the requests that API Gateway grants the whole account in this region."
      label       = "posts per second"
      expression  = local.posts_per_second
      threshold   = 0.7 * var.requests_per_second_quota
      period      = 60
      metrics     = local.post_metrics
    }
  })

  # Lambda counts crashes and timeouts; a function counts its own failures, also those that are no error to Lambda. SUM of a
  # list instead of +, which has no result while one of the two metrics has never been written. For publish, Lambda's count
  # includes refusals, which are the caller's errors: see publish-crashes.
  error_alarms = { for key, function in var.functions : "${key}-errors" => {
    description = "${function.name} failed: an error of the hub${key == "publish" ? "" : ", a crash, or a timeout"}.${local.fallback_note[key]}"
    label       = "failures"
    expression  = "SUM([${join(", ", [for id in keys(local.error_metrics[key]) : "FILL(${id}, 0)"])}])"
    threshold   = 0
    period      = 300
    metrics     = local.error_metrics[key]
  } }
  error_metrics = { for key in keys(var.functions) : key => merge(
    { handled = ["WebSocketHub", "HandlerErrors", local.function_dimensions[key]] },
    key == "publish" ? {} : { failed = ["AWS/Lambda", "Errors", local.function_dimensions[key]] },
  ) }

  # The authorizer reads no table.
  throttled_metrics = { for key in keys(var.functions) : replace(key, "-", "_") => ["WebSocketHub", "TableThrottled", local.function_dimensions[key]] if key != "authorizer" }

  # The functions that send, and what they count. Each attempt is a request to API Gateway.
  senders  = ["publish", "send-message"]
  attempts = ["Delivered", "Failed", "Gone", "Retries"]
  post_metrics = merge([for key in local.senders : {
    for name in local.attempts : "${lower(name)}_${replace(key, "-", "_")}" => ["WebSocketHub", name, local.function_dimensions[key]]
  }]...)
  # Totals over both functions, even while one has never sent.
  totals           = { for name in local.attempts : lower(name) => "SUM([${join(", ", [for id, metric in local.post_metrics : "FILL(${id}, 0)" if metric[1] == name])}])" }
  posts_per_second = "(${join(" + ", values(local.totals))}) / 60"

  function_dimensions = { for key, function in var.functions : key => { FunctionName = function.name } }
  stage_dimensions    = { ApiId = var.api.id, Stage = var.api.stage }
  index_dimensions    = { TableName = var.table.name, GlobalSecondaryIndexName = var.table.session_index }

  alarms       = merge(aws_cloudwatch_metric_alarm.function, aws_cloudwatch_metric_alarm.hub)
  runbook_note = "What to do: docs/operations.md."
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = local.function_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.description} ${local.runbook_note}"
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = each.value.function }
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching" # A function without invocations has no metrics.
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "hub" {
  for_each = local.hub_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.description} ${local.runbook_note}"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  # FILL turns data that has not arrived yet into 0, so the newest period is unreliable: the alarm evaluates three. Where one
  # metric is subtracted from another, two must exceed the threshold, since a refusal may be counted after its error.
  evaluation_periods  = 3
  datapoints_to_alarm = contains(["api-errors", "publish-crashes"], each.key) ? 2 : 1
  treat_missing_data  = "notBreaching" # A hub without traffic has no metrics.
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags

  metric_query {
    id          = "alarm"
    expression  = each.value.expression
    label       = each.value.label
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value[0]
        metric_name = metric_query.value[1]
        dimensions  = metric_query.value[2]
        stat        = "Sum"
        period      = each.value.period
      }
    }
  }
}
