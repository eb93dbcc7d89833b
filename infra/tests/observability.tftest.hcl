# Dashboard and alarms: every alarm notifies the given topics and uses metrics that exist, and the dashboard and the saved queries
# name only what the functions emit. Without `observability`, none of it exists.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"

  # Metrics of each function in the namespace WebSocketHub.
  emitted = {
    hub-connect      = ["ConnectionsOpened", "ConnectionsRefused", "HandlerErrors", "TableThrottled"]
    hub-disconnect   = ["ConnectionsClosed", "HandlerErrors", "TableThrottled"]
    hub-send-message = ["Messages", "MessagesRefused", "Delivered", "Gone", "Failed", "Throttled", "Retries", "Pruned", "FanoutSize", "FanoutDuration", "Chunks", "ChunksFailed", "HandlerErrors", "TableThrottled"]
    hub-publish      = ["Messages", "MessagesRefused", "Delivered", "Gone", "Failed", "Throttled", "Retries", "Pruned", "FanoutSize", "FanoutDuration", "Chunks", "ChunksFailed", "HandlerErrors", "TableThrottled"]
    hub-authorizer   = ["HandshakesAdmitted", "HandshakesRefused", "HandlerErrors"]
    hub-census       = ["OpenConnections", "HandlerErrors", "TableThrottled"]
    hub-history      = ["HistoryReads", "HistoryIncomplete", "HandlerErrors", "TableThrottled"]
    hub-deliver      = ["HandlerErrors", "TableThrottled"]
    hub-membership   = ["Subscribed", "Unsubscribed", "Hellos", "HandlerErrors", "TableThrottled"]
  }

  name    = "hub"
  release = "v1"
  tags    = { team = "chat" }
  functions = {
    authorizer   = { name = "hub-authorizer", log_group_name = "/aws/lambda/hub-authorizer", timeout_seconds = 10 }
    census       = { name = "hub-census", log_group_name = "/aws/lambda/hub-census", timeout_seconds = 60 }
    connect      = { name = "hub-connect", log_group_name = "/aws/lambda/hub-connect", timeout_seconds = 10 }
    deliver      = { name = "hub-deliver", log_group_name = "/aws/lambda/hub-deliver", timeout_seconds = 30 }
    disconnect   = { name = "hub-disconnect", log_group_name = "/aws/lambda/hub-disconnect", timeout_seconds = 10 }
    history      = { name = "hub-history", log_group_name = "/aws/lambda/hub-history", timeout_seconds = 10 }
    membership   = { name = "hub-membership", log_group_name = "/aws/lambda/hub-membership", timeout_seconds = 10 }
    publish      = { name = "hub-publish", log_group_name = "/aws/lambda/hub-publish", timeout_seconds = 30 }
    send-message = { name = "hub-send-message", log_group_name = "/aws/lambda/hub-send-message", timeout_seconds = 30 }
  }
  api                       = { id = "a1b2c3", stage = "live" }
  table                     = { name = "connections", session_index = "session_id-index" }
  messages_table            = "messages"
  subscriptions_table       = "subscriptions"
  requests_per_second_quota = 10000
  alarm_topic_arns          = ["arn:aws:sns:eu-west-1:123456789012:on-call"]
}

run "off" {
  variables {
    observability = false
  }

  assert {
    condition     = length(module.observability) == 0
    error_message = "there is a dashboard or an alarm although observability is off"
  }
}

run "on" {
  variables {
    alarm_topic_arns = []
  }

  assert {
    condition     = module.observability[0].dashboard_name == "hub-eu-west-1"
    error_message = "the dashboard is not there by default, or would overwrite that of a hub of the same name in another region"
  }

  assert {
    condition = alltrue([
      for function in keys(output.function_names) : length(setsubtract(["hub-${function}-errors", "hub-${function}-throttles", "hub-${function}-duration"], module.observability[0].alarm_names)) == 0
    ])
    error_message = "a function lacks an alarm for errors, throttles or duration"
  }
}

run "all_functions" {
  module {
    source = "./modules/observability"
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.function), values(aws_cloudwatch_metric_alarm.hub)) :
      alarm.alarm_actions == toset(var.alarm_topic_arns) && alarm.ok_actions == toset(var.alarm_topic_arns) && alarm.actions_enabled != false
    ])
    error_message = "an alarm begins or ends without a notification"
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.function), values(aws_cloudwatch_metric_alarm.hub)) :
      alarm.treat_missing_data == "notBreaching" && alarm.comparison_operator == "GreaterThanThreshold"
    ])
    error_message = "an alarm treats missing data as breaching, or compares otherwise than above its threshold"
  }

  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.function : alarm.evaluation_periods == 1]) && {
      for key, alarm in aws_cloudwatch_metric_alarm.hub : key => "${alarm.datapoints_to_alarm} of ${alarm.evaluation_periods}"
    } == merge({ api-errors = "2 of 3", deliveries-failed = "1 of 3", index-write-throttles = "1 of 3", posts-near-quota = "1 of 3", publish-crashes = "2 of 3", table-throttles = "1 of 3" }, { for key in keys(var.functions) : "${key}-errors" => "1 of 3" })
    error_message = "an alarm needs more or fewer data points than it should"
  }

  assert {
    condition = { for alarm in aws_cloudwatch_metric_alarm.function : alarm.alarm_name => [alarm.namespace, alarm.metric_name, alarm.statistic, alarm.dimensions.FunctionName, alarm.threshold] } == merge([
      for key, function in var.functions : {
        "hub-${key}-throttles" = ["AWS/Lambda", "Throttles", "Sum", function.name, 0]
        "hub-${key}-duration"  = ["AWS/Lambda", "Duration", "Maximum", function.name, function.timeout_seconds * 800]
      }
    ]...)
    error_message = "the alarms of the functions are not throttles and 80 % of the timeout in ms, each on its own function"
  }

  assert {
    condition = { for alarm in aws_cloudwatch_metric_alarm.hub : alarm.alarm_name => alarm.threshold } == merge({
      hub-api-errors            = 0
      hub-deliveries-failed     = 1
      hub-index-write-throttles = 0
      hub-posts-near-quota      = 7000
      hub-publish-crashes       = 0
      hub-table-throttles       = 0
    }, { for key in keys(var.functions) : "hub-${key}-errors" => 0 })
    error_message = "the hub's own alarms have other names or thresholds"
  }

  # An expression has one result, and each name in it is a metric of the alarm.
  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.hub :
      [for query in alarm.metric_query : query.id if query.return_data == true] == ["alarm"] &&
      toset(flatten([for query in alarm.metric_query : regexall("[a-z][a-z_]*", query.expression) if query.expression != null])) == toset([for query in alarm.metric_query : query.id if query.expression == null])
    ])
    error_message = "an expression uses a metric that its alarm lacks, or lacks one that its alarm has"
  }

  assert {
    condition = alltrue(flatten([
      for alarm in aws_cloudwatch_metric_alarm.hub : [
        for query in alarm.metric_query : [
          for metric in query.metric : metric.stat == "Sum" && contains(metric.namespace == "WebSocketHub" ? var.emitted[metric.dimensions.FunctionName] : [metric.metric_name], metric.metric_name)
        ]
      ]
    ]))
    error_message = "an alarm waits for a metric that no function emits"
  }

  # Lambda's count and the function's own, of the alarm's function.
  assert {
    condition = alltrue([for key, function in var.functions :
      toset(flatten([for query in aws_cloudwatch_metric_alarm.hub["${key}-errors"].metric_query : [for metric in query.metric : "${metric.metric_name} ${metric.dimensions.FunctionName}"]])) == toset(key == "publish" ? ["HandlerErrors hub-publish"] : ["Errors ${function.name}", "HandlerErrors ${function.name}"])
    ])
    error_message = "the alarm on a function's errors uses other metrics"
  }

  assert {
    condition     = toset(flatten([for query in aws_cloudwatch_metric_alarm.hub["table-throttles"].metric_query : [for metric in query.metric : "${metric.metric_name} ${metric.dimensions.FunctionName}"]])) == toset([for key in ["census", "connect", "deliver", "disconnect", "history", "membership", "publish", "send-message"] : "TableThrottled hub-${key}"])
    error_message = "the alarm on throttled reads and writes uses other metrics"
  }

  # In this namespace CloudWatch ignores missing data whatever an alarm says: without zeros instead, it would never end.
  assert {
    condition = alltrue(flatten([for alarm in aws_cloudwatch_metric_alarm.hub : [
      for query in alarm.metric_query : [for metric in query.metric : strcontains(one([for one in alarm.metric_query : one.expression if one.expression != null]), "FILL(${query.id}, 0)") if metric.namespace == "AWS/DynamoDB"]
    ]])) && alltrue([for alarm in aws_cloudwatch_metric_alarm.function : alarm.namespace != "AWS/DynamoDB"])
    error_message = "an alarm on DynamoDB's metrics stays on after the last throttled request"
  }

  assert {
    condition = flatten([for query in aws_cloudwatch_metric_alarm.hub["index-write-throttles"].metric_query : [for metric in query.metric : [metric.namespace, metric.metric_name, metric.stat, metric.dimensions]]]) == [
      "AWS/DynamoDB", "WriteThrottleEvents", "Sum", tomap({ TableName = "connections", GlobalSecondaryIndexName = "session_id-index" })
    ]
    error_message = "the alarm on throttled writes of the index uses another metric"
  }

  # If deliver fails, messages are late but not lost.
  assert {
    condition = alltrue([for name in ["throttles", "errors"] :
      [for key in keys(var.functions) : key if strcontains(merge(aws_cloudwatch_metric_alarm.function, aws_cloudwatch_metric_alarm.hub)["${key}-${name}"].alarm_description, "posts the chunk itself")] == ["deliver"]
    ])
    error_message = "not exactly the alarms of deliver say that the sending function posts the chunk itself"
  }

  assert {
    condition     = alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.function), values(aws_cloudwatch_metric_alarm.hub)) : alarm.tags == tomap({ team = "chat" })])
    error_message = "an alarm does not have the tags"
  }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "deployed last: v1") && strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "latest(release)")
    error_message = "the dashboard does not show the release"
  }

  assert {
    condition = toset([for line in flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : "${line[2]} ${line[3]} ${line[1]}" if try(line[0] == "WebSocketHub", false)]
    ]) : line]) == toset(flatten([for function, metrics in var.emitted : [for metric in metrics : "FunctionName ${function} ${metric}"]]))
    error_message = "the dashboard shows a metric that no function emits, or leaves one out"
  }

  assert {
    condition = alltrue(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
        for line in try(widget.properties.metrics, []) : contains(["WebSocketHub", "AWS/Lambda", "AWS/ApiGateway", "AWS/DynamoDB"], line[0]) if can(tostring(line[0]))
      ]
    ]))
    error_message = "the dashboard shows metrics of another namespace"
  }

  assert {
    condition = length(one([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.alarms if widget.type == "alarm"
    ])) == length(aws_cloudwatch_metric_alarm.function) + length(aws_cloudwatch_metric_alarm.hub)
    error_message = "the dashboard does not show all alarms"
  }

  assert {
    condition     = { for query in aws_cloudwatch_query_definition.this : query.name => length(query.log_group_names) } == { "hub/cold against warm" = 9, "hub/errors by cause" = 9, "hub/slowest fan-outs" = 2, "hub/why connections closed" = 1, "hub/why chunks failed" = 2, "hub/why handshakes were refused" = 1 }
    error_message = "a saved query is missing, or reads other logs"
  }
}

run "without_optional_functions" {
  module {
    source = "./modules/observability"
  }

  variables {
    functions = {
      connect      = { name = "hub-connect", log_group_name = "/aws/lambda/hub-connect", timeout_seconds = 10 }
      disconnect   = { name = "hub-disconnect", log_group_name = "/aws/lambda/hub-disconnect", timeout_seconds = 10 }
      publish      = { name = "hub-publish", log_group_name = "/aws/lambda/hub-publish", timeout_seconds = 30 }
      send-message = { name = "hub-send-message", log_group_name = "/aws/lambda/hub-send-message", timeout_seconds = 30 }
    }
    messages_table      = null
    subscriptions_table = null
    alarm_topic_arns    = []
  }

  assert {
    condition     = alltrue([for word in ["authorizer", "census", "OpenConnections", "history", "messages", "membership", "subscriptions", "deliver:", "hub-deliver", "Chunks"] : !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, word)])
    error_message = "the dashboard shows functions that do not exist"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.function) == 8
    error_message = "there are alarms on functions that do not exist"
  }

  assert {
    condition     = length(aws_cloudwatch_query_definition.this) == 4
    error_message = "there are queries about functions that do not exist"
  }

  assert {
    condition     = alltrue([for alarm in merge(aws_cloudwatch_metric_alarm.function, aws_cloudwatch_metric_alarm.hub) : length(alarm.alarm_actions) == 0])
    error_message = "an alarm notifies a topic that was not given"
  }
}

run "quota_raised" {
  module {
    source = "./modules/observability"
  }

  variables {
    requests_per_second_quota = 50000
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.hub["posts-near-quota"].threshold == 35000
    error_message = "the alarm does not follow the quota"
  }
}
