# The target of the domain's DNS record.

output "target" {
  description = "Target of the domain's DNS record: an alias record to `name` in the hosted zone `zone_id`, or a CNAME to `name`."
  value = {
    name    = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].hosted_zone_id
  }
}
