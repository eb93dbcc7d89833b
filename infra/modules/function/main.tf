# One Lambda function with what belongs to it alone: its log group, its role with its permissions, and the alias through which
# everything calls it.

locals {
  # A missing file must reach the precondition below, which says what to do.
  sha256 = fileexists(var.artifact) ? filebase64sha256(var.artifact) : null

  # X-Ray knows no resources to name.
  tracing_statements = [for statement in [{
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }] : statement if var.tracing]

  # Lambda decrypts the environment in the function's name.
  key_statements = [for arn in [var.kms_key_arn] : {
    actions   = ["kms:Decrypt"]
    resources = [arn]
  } if arn != null]
}

# Made here and not by Lambda at the first line, so that it has a retention and goes away with the function.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: a variable (kms_key_arn); no line holds a message, a token or a query string
  # checkov:skip=CKV_AWS_338: a variable; lines name connections and sessions, which are kept no longer than they help
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "this" {
  # Roles are shared by all regions: with the region in its name, a hub of the same name can live in another one.
  name                 = "${var.name}-${var.region}"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags

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
      }], local.key_statements, local.tracing_statements) : merge({
      Effect   = "Allow"
      Action   = statement.actions
      Resource = statement.resources
    }, try(statement.condition, null) == null ? {} : { Condition = statement.condition })]
  })
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_115: a limit of its own would take from the account's even while no message is sent
  # checkov:skip=CKV_AWS_116: meant for synchronous invocations; who publishes asynchronously gives the alias a failure destination
  # checkov:skip=CKV_AWS_117: it calls AWS APIs only; a VPC would add a NAT gateway's cost and protect nothing
  # checkov:skip=CKV_AWS_173: a variable (kms_key_arn); names and limits, no secret
  # checkov:skip=CKV_AWS_272: the pipeline attests what it deploys, and its role alone may deploy
  # checkov:skip=CKV_AWS_50: a variable (tracing), because it costs for each trace
  function_name = var.name
  description   = var.description
  role          = aws_iam_role.this.arn

  filename         = var.artifact
  source_code_hash = local.sha256
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = var.memory_mb
  timeout          = var.timeout_seconds
  publish          = true
  kms_key_arn      = var.kms_key_arn
  tags             = var.tags

  environment {
    # A change of it publishes a version of every function, so that a release can be put back as a whole.
    variables = merge(var.environment, { RELEASE = var.build.release })
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
      condition     = local.sha256 != null
      error_message = "There is no ${abspath(var.artifact)}. Build the functions first (scripts/build.sh), or set artifacts_dir to the folder of their zips."
    }

    precondition {
      condition     = var.build.release != null
      error_message = "There is no readable release.json beside the folder of ${abspath(var.artifact)}, which says what the zips are. Build the functions again (scripts/build.sh writes it), or set artifacts_dir to a folder that has it beside the zips."
    }

    precondition {
      condition     = var.build.release == null || local.sha256 == null || var.build.sha256 == local.sha256
      error_message = "${abspath(var.artifact)} is not the zip that release.json lists for release ${coalesce(var.build.release, "?")}: a build was interrupted, or files of two builds were mixed. Build again (scripts/build.sh), or copy the whole folder."
    }

    precondition {
      condition     = var.build.release == null || var.build.architecture == var.architecture
      error_message = "Release ${coalesce(var.build.release, "?")} was built for ${coalesce(var.build.architecture, "?")}, and architecture is ${var.architecture}: build with scripts/build.sh --arch ${var.architecture}, or set architecture to what was built."
    }
  }

  # The first invocation must not come before the permission to write.
  depends_on = [aws_iam_role_policy.this]
}

# What callers name, so that a rollback only points it at an older version: no upload, no change of the API, and sockets stay
# open. Its version is deliberately not ignored: a plan after a rollback shows that the alias would move forward again.
resource "aws_lambda_alias" "this" {
  name        = var.alias
  description = "What the hub runs."
  # Unknown while the function is replaced, with which AWS deletes the alias.
  function_name    = aws_lambda_function.this.id
  function_version = aws_lambda_function.this.version

  lifecycle {
    # A rollback notes here which releases were rolled back.
    ignore_changes = [description]
  }
}
