# A custom domain name for clients. The functions keep posting to the API's own address.

resource "aws_apigatewayv2_domain_name" "this" {
  domain_name = var.name
  tags        = var.tags

  domain_name_configuration {
    certificate_arn = var.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

# AWS does not delete a stage while a mapping names it, so the mapping is replaced together with the stage.
resource "terraform_data" "stage" {
  input = var.stage
}

# Without a mapping key, so that wss://{name}/ is the stage itself.
resource "aws_apigatewayv2_api_mapping" "this" {
  api_id      = var.api_id
  domain_name = aws_apigatewayv2_domain_name.this.id
  stage       = var.stage

  lifecycle {
    replace_triggered_by = [terraform_data.stage]
  }
}
