mock_provider "aws" {
  source = "./mocks"
}

run "planned" {
  command = plan
}
