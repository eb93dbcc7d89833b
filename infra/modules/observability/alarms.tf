# The alarms. docs/operations.md says of each what it means and what to do; each is named {name}-{its heading there}.

locals {
  # One for each function and kind, and not one over all functions: AWS charges by metric either way, and this says where.
  function_alarms = merge([for key, function in var.functions : {
    "${key}-throttles" = {
      function    = function.name
      metric      = "Throttles"
      statistic   = "Sum"
      threshold   = 0
      description = "Lambda refused to run ${function.name}: the account's concurrent executions are used up.${local.instead[key]}"
    }
    "${key}-duration" = {
      function    = function.name
      metric      = "Duration"
      statistic   = "Maximum"
      threshold   = 800 * function.timeout_seconds
      description = "${function.name} took more than 80 % of its ${function.timeout_seconds} s."
    }
  }]...)

  # What deliver does not do, costs time and no delivery.
  instead = { for key in keys(var.functions) : key => key == "deliver" ? " The function that handed out the chunk posts it itself, which takes longer." : "" }

  # What takes an expression. `metrics`: by their names in the expression, a namespace, a name and dimensions.
  hub_alarms = merge(local.error_alarms, {
    deliveries-failed = {
      description = "More than 1 % of the deliveries failed, and more than ten of them: recipients that are there did not get their message."
      label       = "failed deliveries, in per cent"
      expression  = "IF(${local.sum.failed} > 10, 100 * ${local.sum.failed} / (${local.sum.failed} + ${local.sum.delivered} + ${local.sum.gone}), 0)"
      threshold   = 1
      period      = 300
      metrics     = { for id, metric in local.posts : id => metric if metric[1] != "Retries" }
    }
    # A refused handshake is an answer of 400 or 403 by connect, which may count as an error of the integration.
    api-errors = {
      description = "API Gateway could not get an answer from a function, or not one that it understands."
      label       = "errors of integrations, refused handshakes left out"
      expression  = "FILL(execution, 0) + IF(FILL(integration, 0) > FILL(refused, 0), FILL(integration, 0) - FILL(refused, 0), 0)"
      threshold   = 0
      period      = 300
      metrics = {
        execution   = ["AWS/ApiGateway", "ExecutionError", local.of_stage]
        integration = ["AWS/ApiGateway", "IntegrationError", local.of_stage]
        refused     = ["WebSocketHub", "ConnectionsRefused", local.of.connect]
      }
    }
    # What is left of Lambda's count when the function's own are taken off it.
    publish-crashes = {
      description = "${local.of.publish.FunctionName} ended without an answer: a crash, or its timeout."
      label       = "errors that are neither refusals nor counted by the function"
      expression  = "IF(FILL(failed, 0) > FILL(refused, 0) + FILL(handled, 0), FILL(failed, 0) - FILL(refused, 0) - FILL(handled, 0), 0)"
      threshold   = 0
      period      = 300
      metrics = {
        failed  = ["AWS/Lambda", "Errors", local.of.publish]
        refused = ["WebSocketHub", "MessagesRefused", local.of.publish]
        handled = ["WebSocketHub", "HandlerErrors", local.of.publish]
      }
    }
    table-throttles = {
      description = "DynamoDB throttled reads or writes of a table or its index: connects are refused, or messages late or not sent."
      label       = "throttled attempts"
      # As the functions count them, of whatever table or index.
      expression = "SUM([${join(", ", [for id in keys(local.throttled) : "FILL(${id}, 0)"])}])"
      threshold  = 0
      period     = 300
      metrics    = local.throttled
    }
    index-write-throttles = {
      description = "DynamoDB throttled writes of the index by session: one session has more connects or disconnects per second than one key of an index takes. Connects are late or refused."
      label       = "throttled writes of the index"
      # Not the metric by itself: it is missing where nothing is throttled, and in this namespace CloudWatch ignores missing data
      # whatever treat_missing_data says, so that such an alarm would never end.
      expression = "FILL(throttled, 0)"
      threshold  = 0
      period     = 300
      metrics    = { throttled = ["AWS/DynamoDB", "WriteThrottleEvents", local.of_index] }
    }
    posts-near-quota = {
      description = "Over a minute, the hub's posts took more than 70 % of the requests that API Gateway grants the whole account in this region."
      label       = "posts per second"
      expression  = local.posts_per_second
      threshold   = 0.7 * var.requests_per_second_quota
      period      = 60
      metrics     = local.posts
    }
  })

  # Lambda counts crashes and timeouts, a function what it failed at, also where its answer is no function error. SUM of a
  # list and not +, which has no result where one of the two has never been written.
  # Of publish, Lambda counts refusals as errors too, which are the caller's: see publish-crashes.
  error_alarms = { for key, function in var.functions : "${key}-errors" => {
    description = "${function.name} failed: an error of the hub's own${key == "publish" ? "" : ", a crash, or its timeout"}.${local.instead[key]}"
    label       = "failures"
    expression  = "SUM([${join(", ", [for id in keys(local.failures[key]) : "FILL(${id}, 0)"])}])"
    threshold   = 0
    period      = 300
    metrics     = local.failures[key]
  } }
  failures = { for key in keys(var.functions) : key => merge(
    { handled = ["WebSocketHub", "HandlerErrors", local.of[key]] },
    key == "publish" ? {} : { failed = ["AWS/Lambda", "Errors", local.of[key]] },
  ) }

  # The authorizer has no table.
  throttled = { for key in keys(var.functions) : replace(key, "-", "_") => ["WebSocketHub", "TableThrottled", local.of[key]] if key != "authorizer" }

  # Those that post. Every attempt is a request of its own.
  senders  = ["publish", "send-message"]
  attempts = ["Delivered", "Failed", "Gone", "Retries"]
  posts = merge([for key in local.senders : {
    for name in local.attempts : "${lower(name)}_${replace(key, "-", "_")}" => ["WebSocketHub", name, local.of[key]]
  }]...)
  # Of both, also where one has never sent.
  sum              = { for name in local.attempts : lower(name) => "SUM([${join(", ", [for id, metric in local.posts : "FILL(${id}, 0)" if metric[1] == name])}])" }
  posts_per_second = "(${join(" + ", values(local.sum))}) / 60"

  of       = { for key, function in var.functions : key => { FunctionName = function.name } }
  of_stage = { ApiId = var.api.id, Stage = var.api.stage }
  of_index = { TableName = var.table.name, GlobalSecondaryIndexName = var.table.session_index }

  alarms      = merge(aws_cloudwatch_metric_alarm.function, aws_cloudwatch_metric_alarm.hub)
  see_runbook = "What to do: docs/operations.md."
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = local.function_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.description} ${local.see_runbook}"
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
  alarm_description   = "${each.value.description} ${local.see_runbook}"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  # FILL makes a 0 of what has not arrived yet, so the newest period says little: three are looked at. A refusal that is
  # counted a moment after the error that it explains must not wake anyone, hence two where one is taken off the other.
  evaluation_periods  = 3
  datapoints_to_alarm = contains(["api-errors", "publish-crashes"], each.key) ? 2 : 1
  treat_missing_data  = "notBreaching" # Nor has a hub without traffic.
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
