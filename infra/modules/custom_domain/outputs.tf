# What a DNS record for the domain needs.

output "target" {
  description = "Where the domain's DNS record points: an alias record to `name` in the hosted zone `zone_id`, or a CNAME to `name`."
  value = {
    name    = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].hosted_zone_id
  }
}
