# One Lambda function with what belongs to it alone: its log group, its role and the policy that says what it may do, and the
# alias through which everybody calls it.

data "aws_region" "current" {}

locals {
  # X-Ray knows no resources to name.
  tracing_statements = [for statement in [{
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }] : statement if var.tracing]
}

# Made here and not by Lambda at the first line, so that it has a retention and goes away with the function.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: encrypted by CloudWatch itself; no line holds a message, a token or a query string
  # checkov:skip=CKV_AWS_338: a variable; lines name connections and sessions, which are kept no longer than they help
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "this" {
  # Roles are shared by all regions: with the region in its name, a hub of the same name can live in another one.
  name = "${var.name}-${data.aws_region.current.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "function"
  role = aws_iam_role.this.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for statement in concat(var.statements, [{
      actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
      }], local.tracing_statements) : {
      Effect   = "Allow"
      Action   = statement.actions
      Resource = statement.resources
    }]
  })
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_115: a limit of its own would take from the account's even while nobody sends
  # checkov:skip=CKV_AWS_116: invoked synchronously only, and a dead-letter queue is for asynchronous invocations
  # checkov:skip=CKV_AWS_117: it calls AWS APIs only; a VPC would add a NAT gateway's cost and protect nothing
  # checkov:skip=CKV_AWS_173: names and limits, no secret; Lambda encrypts them with the key that AWS manages
  # checkov:skip=CKV_AWS_272: the pipeline attests what it deploys, and its role alone may deploy
  # checkov:skip=CKV_AWS_50: a variable (tracing), because it costs for each trace
  function_name = var.name
  description   = var.description
  role          = aws_iam_role.this.arn

  filename = var.artifact
  # A missing file must reach the precondition below, which says what to do.
  source_code_hash = fileexists(var.artifact) ? filebase64sha256(var.artifact) : null
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = var.memory_mb
  timeout          = var.timeout_seconds
  publish          = true

  environment {
    variables = var.environment
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.this.name
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  lifecycle {
    precondition {
      condition     = fileexists(var.artifact)
      error_message = "There is no ${abspath(var.artifact)}. Build the functions first: scripts/build.sh"
    }
  }

  # The first invocation must not come before the permission to write.
  depends_on = [aws_iam_role_policy.this]
}

# What callers name, so that going back is to point it at the version before: no upload, no change of the API, and sockets
# stay open. Its version is Terraform's, deliberately not ignored: a plan after a rollback says that the alias would move
# forward again ("function_version" = "6" -> "7"), and an apply does that, to what the configuration says. So mend the code, or
# check out the older one, before the next apply; either publishes a new version, and the alias moves to it.
resource "aws_lambda_alias" "this" {
  name             = "live"
  description      = "What the hub runs."
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version
}
