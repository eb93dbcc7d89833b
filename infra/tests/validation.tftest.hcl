# Values that the variables refuse, and the extreme values that they accept; those of `auth`, `fanout` and `history_seconds` are in
# the files of these names. A run passes only if every listed variable fails.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
}

run "too_small_or_malformed" {
  command = plan

  variables {
    name                   = "1hub"
    region                 = "Ireland"
    tags                   = { "aws:owner" = "me" }
    stage                  = "$default"
    websocket_endpoint     = "wss://hub.example.com/live"
    throttling_rate_limit  = 0
    throttling_burst_limit = 0
    artifacts_dir          = ""
    architecture           = "arm"
    memory_mb              = { connect = 127 }
    timeout_seconds        = { disconnect = 0 }
    fanout_concurrency     = 0
    straggler_seconds      = 0
    max_message_bytes      = 0
    log_retention_days     = 2
    table_name             = "ab"
    connection_ttl_seconds = 7199

    alarm_topic_arns          = ["arn:aws:sqs:eu-west-1:123456789012:on-call"]
    requests_per_second_quota = 0
    census_minutes            = -1
  }

  expect_failures = [
    var.census_minutes, var.alarm_topic_arns, var.requests_per_second_quota, var.name, var.region, var.tags, var.stage, var.websocket_endpoint, var.throttling_rate_limit, var.throttling_burst_limit,
    var.artifacts_dir, var.architecture, var.memory_mb, var.timeout_seconds, var.fanout_concurrency, var.straggler_seconds, var.max_message_bytes,
    var.log_retention_days, var.table_name, var.connection_ttl_seconds,
  ]
}

run "reserved_tag" {
  command = plan

  variables {
    tags = { websocket-hub = "another" }
  }

  expect_failures = [var.tags]
}

run "too_large" {
  command = plan

  variables {
    name                   = "a23456789012345678901234567890123"
    websocket_endpoint     = "https://hub.example.com/live/"
    custom_domain          = { name = "wss://hub.example.com", certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1" }
    permissions_boundary   = "arn:aws:iam::123456789012:role/boundary"
    kms_key_arn            = "arn:aws:kms:eu-west-1:123456789012:alias/hub"
    throttling_burst_limit = 1.5
    memory_mb              = { send-message = 10241 }
    timeout_seconds        = { send-message = 901 }
    fanout_concurrency     = 513
    straggler_seconds      = 61
    ca_bundle              = "ca.pem"
    max_message_bytes      = 131073
    table_name             = "people online"
    connection_ttl_seconds = 86401
    census_minutes         = 1441
  }

  expect_failures = [
    var.name, var.websocket_endpoint, var.throttling_burst_limit, var.memory_mb, var.timeout_seconds, var.fanout_concurrency, var.straggler_seconds, var.ca_bundle,
    var.max_message_bytes, var.table_name, var.connection_ttl_seconds, var.census_minutes,
    var.custom_domain, var.permissions_boundary, var.kms_key_arn,
  ]
}

run "authorizer_timeout_too_short" {
  command = plan

  variables {
    timeout_seconds = { authorizer = 7 }
  }

  expect_failures = [var.timeout_seconds]
}

run "not_whole" {
  command = plan

  variables {
    memory_mb              = { connect = 256.5 }
    timeout_seconds        = { connect = 1.5 }
    fanout_concurrency     = 1.5
    straggler_seconds      = 1.5
    census_minutes         = 0.5
    max_message_bytes      = 1.5
    connection_ttl_seconds = 7200.5
    websocket_endpoint     = "hub.example.com/live"
  }

  expect_failures = [
    var.memory_mb, var.timeout_seconds, var.fanout_concurrency, var.straggler_seconds, var.max_message_bytes, var.connection_ttl_seconds, var.websocket_endpoint,
    var.census_minutes,
  ]
}

run "smallest" {
  command = plan

  variables {
    name                   = "a"
    stage                  = "_"
    table_name             = "a-b"
    websocket_endpoint     = "http://localhost"
    region                 = "us-gov-west-1"
    memory_mb              = { connect = 128, disconnect = 128, publish = 128, send-message = 128 }
    timeout_seconds        = { authorizer = 8, connect = 1, disconnect = 1, publish = 1, send-message = 1 }
    fanout_concurrency     = 1
    straggler_seconds      = 1
    max_message_bytes      = 1
    log_retention_days     = 0
    throttling_rate_limit  = 0.5
    throttling_burst_limit = 1
    connection_ttl_seconds = 7200
  }
}

run "largest" {
  command = plan

  variables {
    name                   = "a2345678901234567890123456789012"
    memory_mb              = { connect = 10240, disconnect = 10240, publish = 10240, send-message = 10240 }
    timeout_seconds        = { connect = 900, disconnect = 900, publish = 900, send-message = 900 }
    fanout_concurrency     = 512
    straggler_seconds      = 60
    max_message_bytes      = 131072
    connection_ttl_seconds = 86400
    log_retention_days     = 3653
    region                 = "cn-northwest-1"
  }
}

run "level_that_drops_metrics" {
  command = plan

  variables {
    log_level      = "WARN"
    census_minutes = 0
  }

  expect_failures = [var.log_level]
}

run "level_that_drops_the_census" {
  command = plan

  variables {
    log_level     = "ERROR"
    observability = false
  }

  expect_failures = [var.log_level]
}

run "high_level_without_metrics" {
  command = plan

  variables {
    log_level      = "FATAL"
    observability  = false
    census_minutes = 0
  }
}

run "endpoint_without_tls" {
  command = plan

  variables {
    websocket_endpoint = "http://hub.example.com/live"
  }

  expect_failures = [var.websocket_endpoint]
}

run "neither_auth_nor_anonymous" {
  command = plan

  variables {
    allow_anonymous = false
  }

  expect_failures = [var.allow_anonymous]
}

run "auth_and_anonymous" {
  command = plan

  variables {
    auth = { issuers = [{ issuer = "https://login.example.com/", audiences = ["chat"] }] }
  }

  expect_failures = [var.allow_anonymous]
}

run "keys_and_boundaries_of_another_partition" {
  command = plan

  variables {
    custom_domain        = { name = "hub.example.com.cn", certificate_arn = "arn:aws-cn:acm:cn-north-1:123456789012:certificate/1" }
    permissions_boundary = "arn:aws-cn:iam::123456789012:policy/team/boundary"
    kms_key_arn          = "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1"
  }
}

run "lowest_level" {
  command = plan

  variables {
    log_level = "TRACE"
  }
}

# A separate run, since the other rule of log_level depends on variables that the runs above make invalid.
run "level_in_lower_case" {
  command = plan

  variables {
    log_level = "info"
  }

  expect_failures = [var.log_level]
}
