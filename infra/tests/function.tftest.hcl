# One function: its log group, role and alias, and the refusal of a zip that release.json does not list.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name         = "hub-connect"
  description  = "A function."
  alias        = "live"
  artifact     = "./tests/fixtures/connect/bootstrap.zip"
  architecture = "arm64"
  region       = "eu-west-1"
  tags         = { team = "chat" }
  build = {
    release      = "v1"
    architecture = "arm64"
    sha256       = "tfoSVzN3IuzXSozDbtb0pJBVnPjFiAzHg7Gtfll8F/g="
  }
  memory_mb          = 128
  timeout_seconds    = 3
  environment        = { TABLE_NAME = "connections" }
  statements         = [{ actions = ["dynamodb:PutItem"], resources = ["arn:aws:dynamodb:eu-west-1:123456789012:table/connections"] }]
  log_level          = "INFO"
  log_retention_days = 14
  tracing            = false
}

run "function" {
  module {
    source = "./modules/function"
  }

  assert {
    condition = (
      aws_lambda_function.this.function_name == "hub-connect" &&
      aws_lambda_function.this.handler == "bootstrap" &&
      aws_lambda_function.this.runtime == "provided.al2023"
    )
    error_message = "the runtime is not provided.al2023, or the handler not bootstrap"
  }

  assert {
    condition     = aws_lambda_function.this.source_code_hash == filebase64sha256("./tests/fixtures/connect/bootstrap.zip")
    error_message = "a new executable makes no new version"
  }

  assert {
    condition = (
      aws_cloudwatch_log_group.this.name == "/aws/lambda/hub-connect" &&
      aws_cloudwatch_log_group.this.retention_in_days == 14 &&
      aws_lambda_function.this.logging_config[0].log_group == aws_cloudwatch_log_group.this.name
    )
    error_message = "the function does not write to its own log group, or that has another retention"
  }

  assert {
    condition     = aws_lambda_function.this.logging_config[0].log_format == "JSON" && aws_lambda_function.this.logging_config[0].application_log_level == "INFO"
    error_message = "the log is not JSON at the chosen level"
  }

  assert {
    condition     = aws_lambda_function.this.role == aws_iam_role.this.arn && aws_iam_role_policy.this.role == aws_iam_role.this.name
    error_message = "the function does not run under the role that its policy belongs to"
  }

  assert {
    condition     = aws_iam_role.this.name == "hub-connect-eu-west-1"
    error_message = "two regions would fight over one role"
  }

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [
      { Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lambda.amazonaws.com" } },
    ]
    error_message = "another service than Lambda may assume the role"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[1].Resource == ["${aws_cloudwatch_log_group.this.arn}:*"]
    error_message = "the function may write to another function's log"
  }
}

run "not_traced" {
  module {
    source = "./modules/function"
  }

  assert {
    condition     = aws_lambda_function.this.tracing_config[0].mode == "PassThrough" && !strcontains(aws_iam_role_policy.this.policy, "xray")
    error_message = "the function is traced, or may write traces, although tracing is off"
  }
}

run "alias" {
  module {
    source = "./modules/function"
  }

  assert {
    condition     = aws_lambda_function.this.publish
    error_message = "a deploy publishes no version to roll back to"
  }

  assert {
    condition     = aws_lambda_alias.this.name == "live" && aws_lambda_alias.this.function_name == aws_lambda_function.this.id && aws_lambda_alias.this.function_version == aws_lambda_function.this.version
    error_message = "the alias does not point to the newest version"
  }

  assert {
    condition     = output.alias == "live" && output.alias_arn == aws_lambda_alias.this.arn
    error_message = "alias_arn is not the alias of the function"
  }
}

run "traced" {
  module {
    source = "./modules/function"
  }

  variables {
    tracing = true
  }

  assert {
    condition     = aws_lambda_function.this.tracing_config[0].mode == "Active"
    error_message = "the function is not traced although tracing is on"
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.this.policy).Statement[2] == {
      Effect = "Allow", Action = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], Resource = ["*"]
    }
    error_message = "the function may not write its traces"
  }
}

run "tags_and_release_without_key" {
  module {
    source = "./modules/function"
  }

  assert {
    condition     = alltrue([for tags in [aws_lambda_function.this.tags, aws_iam_role.this.tags, aws_cloudwatch_log_group.this.tags] : tags == tomap({ team = "chat" })])
    error_message = "a resource does not have the tags"
  }

  assert {
    condition     = output.settings.environment == tomap({ TABLE_NAME = "connections", RELEASE = "v1" })
    error_message = "the function does not get its release"
  }

  assert {
    condition     = aws_lambda_function.this.kms_key_arn == null && aws_cloudwatch_log_group.this.kms_key_id == null && aws_iam_role.this.permissions_boundary == null && !strcontains(aws_iam_role_policy.this.policy, "kms:")
    error_message = "there is a key or a boundary that was not given"
  }
}

run "key_and_boundary" {
  module {
    source = "./modules/function"
  }

  variables {
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = aws_lambda_function.this.kms_key_arn == var.kms_key_arn && aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn && aws_iam_role.this.permissions_boundary == var.permissions_boundary
    error_message = "the key or the boundary is not used"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[2] == { Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.kms_key_arn] }
    error_message = "the function may not decrypt its environment"
  }
}

run "zip_missing" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    artifact = "./tests/fixtures/nothing/bootstrap.zip"
  }

  expect_failures = [aws_lambda_function.this]
}

run "release_missing" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    build = { release = null, architecture = null, sha256 = null }
  }

  expect_failures = [aws_lambda_function.this]
}

run "zip_of_another_build" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    build = { release = "v1", architecture = "arm64", sha256 = "of another zip" }
  }

  expect_failures = [aws_lambda_function.this]
}

run "zip_for_another_architecture" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    architecture = "x86_64"
  }

  expect_failures = [aws_lambda_function.this]
}
