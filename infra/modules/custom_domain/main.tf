# A domain name of the user's own for clients. The functions keep posting to the API's own address.

resource "aws_apigatewayv2_domain_name" "this" {
  domain_name = var.name
  tags        = var.tags

  domain_name_configuration {
    certificate_arn = var.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

# A stage cannot be deleted while a mapping names it: this changes whenever the stage is replaced.
resource "terraform_data" "stage" {
  input = var.stage
}

# Without a key: wss://{name}/ is the stage itself.
resource "aws_apigatewayv2_api_mapping" "this" {
  api_id      = var.api_id
  domain_name = aws_apigatewayv2_domain_name.this.id
  stage       = var.stage

  lifecycle {
    replace_triggered_by = [terraform_data.stage]
  }
}
