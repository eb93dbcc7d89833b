# Saved Logs Insights queries. The console has them under Logs Insights, Queries, in a folder named like the hub.

locals {
  all_logs = [for function in var.functions : function.log_group_name]

  queries = merge(local.common_queries, local.authorizer_queries, local.deliver_queries)

  authorizer_queries = { for function in [for key, function in var.functions : function if key == "authorizer"] : "why handshakes were refused" => {
    logs = [function.log_group_name]
    text = <<-QUERY
      filter message = "refused"
      | stats count(*) as handshakes, max(@timestamp) as last by why, issuer, claim
      | sort handshakes desc
    QUERY
  } }

  # From the logs of the sending functions, since deliver may not have run.
  deliver_queries = { for key in keys(var.functions) : "why chunks failed" => {
    logs = [for key in local.senders : var.functions[key].log_group_name]
    text = <<-QUERY
      filter message = "chunks failed"
      | stats sum(`count`) as chunks, max(@timestamp) as last by error
      | sort chunks desc
    QUERY
  } if key == "deliver" }

  common_queries = {
    # From Lambda's reports, whose duration excludes the initialisation of a cold start.
    "cold against warm" = {
      logs = local.all_logs
      text = <<-QUERY
        filter type = "platform.report"
        | fields ispresent(record.metrics.initDurationMs) as cold, record.metrics.durationMs + coalesce(record.metrics.initDurationMs, 0) as took
        | stats count(*) as invocations, pct(took, 50) as p50, pct(took, 90) as p90, pct(took, 99) as p99, max(took) as longest by @log, cold
        | sort @log, cold
      QUERY
    }
    "slowest fan-outs" = {
      logs = [for key in local.senders : var.functions[key].log_group_name]
      text = <<-QUERY
        filter message = "sent"
        | fields @timestamp, duration_ms, sessions, delivered, gone, failed, retries, pruned, closed, stored, bytes, chunks, complete, route, message_id, span.requestId
        | sort duration_ms desc
        | limit 50
      QUERY
    }
    "why connections closed" = {
      logs = [var.functions["disconnect"].log_group_name]
      text = <<-QUERY
        filter message = "disconnected"
        | stats count(*) as connections by close_code, close_reason
        | sort connections desc
        | limit 100
      QUERY
    }
    # The functions' error lines, and Lambda's reports of invocations that ended without one.
    "errors by cause" = {
      logs = local.all_logs
      text = <<-QUERY
        filter level = "ERROR" or (type = "platform.report" and record.status != "success")
        | fields coalesce(error, text) as why
        | stats count(*) as times, max(@timestamp) as last, latest(why) as last_error by @log, message, cause, record.status
        | sort times desc
      QUERY
    }
  }
}

resource "aws_cloudwatch_query_definition" "this" {
  for_each = local.queries

  name            = "${var.name}/${each.key}"
  log_group_names = each.value.logs
  query_string    = each.value.text
}
