# One Lambda function with its log group, its role and permissions, and the alias through which every caller invokes it.

locals {
  # Null if the file is missing, so that the precondition below can say what to do.
  sha256 = fileexists(var.artifact) ? filebase64sha256(var.artifact) : null

  # X-Ray's actions apply to no particular resource.
  tracing_statements = [for statement in [{
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }] : statement if var.tracing]

  # Lambda decrypts the environment with the function's permissions.
  key_statements = [for arn in [var.kms_key_arn] : {
    actions   = ["kms:Decrypt"]
    resources = [arn]
  } if arn != null]
}

# Lambda would create it with the first log line, without retention, and leave it behind when the function is deleted.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: a variable (kms_key_arn); no line holds a message, a token or a query string
  # checkov:skip=CKV_AWS_338: a variable; lines name connections and sessions, and are kept only as long as they help
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "this" {
  # Roles are global. With the region in the name, another region can have a hub of the same name.
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
  # checkov:skip=CKV_AWS_115: reserved concurrency reduces the account's even while no message is sent
  # checkov:skip=CKV_AWS_116: for synchronous invocations; backends that invoke asynchronously can give the alias a failure destination
  # checkov:skip=CKV_AWS_117: it calls AWS APIs only; a VPC would add a NAT gateway's cost and protect nothing
  # checkov:skip=CKV_AWS_173: a variable (kms_key_arn); names and limits, no secret
  # checkov:skip=CKV_AWS_272: the pipeline attests its builds, and only its role may deploy
  # checkov:skip=CKV_AWS_50: a variable (tracing), because each trace costs
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
    # With a new release every function gets a new version, so that a rollback covers all of them.
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
      error_message = "There is no file ${abspath(var.artifact)}. Build the functions first (scripts/build.sh), or set artifacts_dir to the folder of a build."
    }

    precondition {
      condition     = var.build.release != null
      error_message = "There is no readable release.json beside the folder of ${abspath(var.artifact)}. Build the functions again (scripts/build.sh writes it), or set artifacts_dir to the whole folder of a build."
    }

    precondition {
      condition     = var.build.release == null || local.sha256 == null || var.build.sha256 == local.sha256
      error_message = "${abspath(var.artifact)} is not the zip that release.json lists for release ${coalesce(var.build.release, "?")}: a build was interrupted, or the files of two builds are mixed. Build again (scripts/build.sh), or copy the whole folder of a build."
    }

    precondition {
      condition     = var.build.release == null || var.build.architecture == var.architecture
      error_message = "Release ${coalesce(var.build.release, "?")} was built for ${coalesce(var.build.architecture, "?")}, but architecture is ${var.architecture}. Build with scripts/build.sh --arch ${var.architecture}, or set architecture to ${coalesce(var.build.architecture, "that of the build")}."
    }
  }

  # The first invocation needs the permissions.
  depends_on = [aws_iam_role_policy.this]
}

# Callers invoke the alias, so a rollback only points it to an older version: no upload, no change of the API, and sockets stay
# open. Changes of its version are deliberately not ignored: a plan after a rollback shows the alias moving forward again.
resource "aws_lambda_alias" "this" {
  name        = var.alias
  description = "What the hub runs."
  # The id is unknown while the function is replaced, and so is the alias, which AWS deletes with the function.
  function_name    = aws_lambda_function.this.id
  function_version = aws_lambda_function.this.version

  lifecycle {
    # Rollbacks note the releases that were rolled back in it.
    ignore_changes = [description]
  }
}
