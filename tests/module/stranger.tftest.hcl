mock_provider "aws" {
  source = "./mocks"
}

mock_provider "aws" {
  alias  = "second"
  source = "./mocks-second"
}

run "planned" {
  command = plan
}

run "applied" {
  assert {
    condition     = [for name in ["blue", "green"] : module.each[name].function_names.connect] == ["blue-connect", "green-connect"]
    error_message = "for_each makes other hubs"
  }
  assert {
    condition     = module.counted[*].table_name == ["counted-0-connections", "counted-1-connections"]
    error_message = "count makes other hubs"
  }
  assert {
    condition     = module.after.websocket_url == "wss://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
    error_message = "depends_on makes another hub"
  }
  assert {
    condition     = module.after.messages_table_name == "websocket-hub-messages" && module.second.messages_table_name == null
    error_message = "not exactly the hub that asks for it has a history"
  }
  assert {
    condition     = module.after.subscriptions_table_name == "websocket-hub-subscriptions" && module.second.subscriptions_table_name == null
    error_message = "not exactly the hub that does without has no subscriptions"
  }
  assert {
    condition     = module.second.websocket_url == "wss://a1b2c3.execute-api.us-east-1.amazonaws.com/live"
    error_message = "the second provider makes no hub in its region"
  }
}
