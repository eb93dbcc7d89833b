mock_provider "aws" {
  source = "./mocks"
}

mock_provider "aws" {
  alias  = "second"
  source = "./mocks-second"
}

variables {
  zone_id = "Z0123456789"
}

run "planned" {
  command = plan
}

run "applied" {
  assert {
    condition     = output.websocket_urls == { eu-west-1 = "wss://chat.example.com", us-east-1 = "wss://a1b2c3.execute-api.us-east-1.amazonaws.com/live" }
    error_message = "the addresses are not the domain and the second region's API"
  }
  assert {
    condition     = one(aws_route53_record.hub.alias) == { name = "d-1.execute-api.eu-west-1.amazonaws.com", zone_id = "Z1", evaluate_target_health = false }
    error_message = "the record does not point to the domain"
  }
  assert {
    condition     = !module.hub.open_to_everyone && module.second_hub.open_to_everyone
    error_message = "one hub asks for tokens, the other one is open"
  }
}
