# Invokes a function every few minutes.

resource "aws_cloudwatch_event_rule" "this" {
  name                = var.function.name
  description         = "Invokes ${var.function.name}."
  tags                = var.tags
  schedule_expression = var.every_minutes == 1 ? "rate(1 minute)" : "rate(${var.every_minutes} minutes)"
}

resource "aws_cloudwatch_event_target" "this" {
  rule = aws_cloudwatch_event_rule.this.name
  arn  = var.function.alias_arn

  # Otherwise Lambda refuses EventBridge's first invocation.
  depends_on = [aws_lambda_permission.this]
}

resource "aws_lambda_permission" "this" {
  statement_id = "InvokeFromSchedule"
  action       = "lambda:InvokeFunction"
  # From the alias's ARN, which is unknown while the alias is replaced: AWS deletes the permission with it.
  function_name = split(":", var.function.alias_arn)[6]
  qualifier     = var.function.alias
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.this.arn
}
