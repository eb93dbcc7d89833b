mock_provider "aws" {
  source = "./mocks"
}

run "planned" {
  command = plan
}

run "applied" {
  assert {
    condition     = output.websocket_url == "wss://a1b2c3.execute-api.eu-west-1.amazonaws.com/live"
    error_message = "the address is not the API's"
  }
}
