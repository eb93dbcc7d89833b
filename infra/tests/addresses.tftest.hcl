# Addresses for clients and for posts: the API's own, a given endpoint, and a custom domain.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region          = "eu-west-1"
  allow_anonymous = true
  artifacts_dir   = "./tests/fixtures"
}

run "endpoint_of_another_host" {
  variables {
    websocket_endpoint = "http://127.0.0.1:4566/_aws/execute-api/hub/live"
  }

  assert {
    condition     = module.function["send-message"].settings.environment.WEBSOCKET_ENDPOINT == "http://127.0.0.1:4566/_aws/execute-api/hub/live"
    error_message = "send-message does not post to the given endpoint"
  }

  assert {
    condition     = output.connections_endpoint == "http://127.0.0.1:4566/_aws/execute-api/hub/live" && output.websocket_url == "ws://127.0.0.1:4566/_aws/execute-api/hub/live"
    error_message = "the outputs do not have the given endpoint"
  }
}

run "endpoint_behind_a_proxy" {
  variables {
    websocket_endpoint = "https://hub.example.com"
  }

  assert {
    condition     = output.websocket_url == "wss://hub.example.com"
    error_message = "https does not become wss"
  }
}

run "custom_domain" {
  variables {
    websocket_endpoint = "https://posts.example.com/live"
    custom_domain      = { name = "hub.example.com", certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1" }
  }

  assert {
    condition     = output.websocket_url == "wss://hub.example.com" && output.connections_endpoint == "https://posts.example.com/live"
    error_message = "the address for clients is not the domain, or the functions post to it"
  }

  assert {
    condition     = output.custom_domain_target == { name = "d-1.execute-api.eu-west-1.amazonaws.com", zone_id = "Z1" }
    error_message = "custom_domain_target is not the domain's target"
  }
}

run "no_custom_domain" {
  assert {
    condition     = output.custom_domain_target == null && length(module.custom_domain) == 0
    error_message = "there is a custom domain although none was given"
  }
}

run "domain_settings" {
  module {
    source = "./modules/custom_domain"
  }

  variables {
    name            = "hub.example.com"
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
    api_id          = "a1b2c3"
    stage           = "live"
    tags            = {}
  }

  assert {
    condition = alltrue([for domain in aws_apigatewayv2_domain_name.this.domain_name_configuration :
      [domain.certificate_arn, domain.endpoint_type, domain.security_policy] == [var.certificate_arn, "REGIONAL", "TLS_1_2"]
    ])
    error_message = "the domain is not regional, or lacks TLS 1.2 or its certificate"
  }

  assert {
    condition     = aws_apigatewayv2_api_mapping.this.api_mapping_key == null && [aws_apigatewayv2_api_mapping.this.api_id, aws_apigatewayv2_api_mapping.this.stage] == ["a1b2c3", "live"]
    error_message = "the domain does not lead to the stage without a path"
  }
}
