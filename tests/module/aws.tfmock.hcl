# Beside the module's own mocks: what only the examples make.

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:chat-alarms" }
}

mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/chat-boundary" }
}

mock_resource "aws_cognito_user_pool" {
  defaults = { id = "eu-west-1_AbCdEfGhI" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b2c3d-0000-4000-8000-000000000000"
    domain_validation_options = [{
      domain_name           = "chat.example.com"
      resource_record_name  = "_1.chat.example.com"
      resource_record_type  = "CNAME"
      resource_record_value = "_2.acm-validations.aws"
    }]
  }
}

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}
