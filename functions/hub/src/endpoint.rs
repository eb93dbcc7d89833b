//! The addresses of `@connections` and Lambda: from the variables of the AWS SDKs, one of the hub's own, and the event.

use crate::{
    config::{ConfigError, Variables},
    failure::Failure,
};

/// How the base address of `@connections` is determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Complete: `https://{host}/{stage}`.
    Fixed(String),
    /// `AWS_ENDPOINT_URL`, to which the event's stage is added.
    Redirected(String),
    /// From the event's API id and stage, and this region.
    FromEvent(String),
}

impl Endpoint {
    pub(crate) fn read(variables: &Variables) -> Result<Self, ConfigError> {
        for name in ["WEBSOCKET_ENDPOINT", "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] {
            if let Some(url) = variables.url(name)? {
                return Ok(Self::Fixed(url));
            }
        }
        if let Some(url) = variables.url("AWS_ENDPOINT_URL")? {
            return Ok(Self::Redirected(url));
        }
        only_usual(variables, "WEBSOCKET_ENDPOINT", "an API")?;
        variables.region().map(Self::FromEvent)
    }

    /// The part of the address that is known without an event.
    pub(crate) fn known(&self) -> Option<&str> {
        match self {
            Self::Fixed(url) | Self::Redirected(url) => Some(url),
            Self::FromEvent(_) => None,
        }
    }

    /// The base address where `origin` is the API id and stage of an event.
    pub(crate) fn url(&self, origin: Option<(&str, &str)>) -> Result<String, Failure> {
        let origin = || {
            let (api_id, stage) = origin.ok_or_else(|| {
                cannot_post(
                    "WEBSOCKET_ENDPOINT is not set, and there is no event that names the API and its stage",
                )
            })?;
            // Both become part of a host name or path that the function signs.
            let plain = |text: &str| {
                !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b))
            };
            if plain(api_id) && plain(stage) {
                Ok((api_id, stage))
            } else {
                Err(cannot_post("the event's apiId or stage is malformed"))
            }
        };
        Ok(match self {
            Self::Fixed(url) => url.clone(),
            Self::Redirected(base) => format!("{base}/{}", origin()?.1),
            Self::FromEvent(region) => {
                let (api_id, stage) = origin()?;
                format!("https://{api_id}.execute-api.{region}.{}/{stage}", dns_suffix(region))
            }
        })
    }
}

/// The base address of Lambda.
pub(crate) fn of_lambda(variables: &Variables) -> Result<String, ConfigError> {
    for name in ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"] {
        if let Some(url) = variables.url(name)? {
            return Ok(url);
        }
    }
    only_usual(variables, "AWS_ENDPOINT_URL_LAMBDA", "Lambda")?;
    let region = variables.region()?;
    Ok(format!("https://lambda.{region}.{}", dns_suffix(&region)))
}

/// Refuses the variables that ask for a FIPS or dual-stack address of a service, unless `variable` gives the address
/// itself.
fn only_usual(variables: &Variables, variable: &str, service: &str) -> Result<(), ConfigError> {
    for name in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
        if variables.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            let problem = format!(
                "is true: set {variable} too, to the address of that kind for {service}, which the hub does not know"
            );
            return Err(ConfigError::new(name, problem));
        }
    }
    Ok(())
}

/// The failure if the address of `@connections` is unknown, or no request can be sent there.
pub(crate) fn cannot_post(why: &str) -> Failure {
    Failure::other("endpoint", format!("cannot post: {why}"))
}

/// The DNS suffix of the services in a region.
pub(crate) fn dns_suffix(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    let found = partitions.into_iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("amazonaws.com", |(_, suffix)| suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(variables: &[(&str, &str)]) -> Result<Endpoint, ConfigError> {
        Endpoint::read(&Variables::of(variables))
    }

    #[test]
    fn the_address_comes_from_the_api_id_and_never_from_a_domain_name() {
        let origin = Some(("abc123", "live"));
        for (region, suffix) in [
            ("eu-west-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
        ] {
            let url = endpoint(&[("AWS_REGION", region)]).unwrap().url(origin).unwrap();
            assert_eq!(url, format!("https://abc123.execute-api.{region}.{suffix}/live"));
        }
    }

    #[test]
    fn websocket_endpoint_takes_precedence_over_the_variables_of_the_sdks_and_the_event() {
        let all = [
            ("WEBSOCKET_ENDPOINT", "https://x.example/live/"),
            ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", "http://127.0.0.1:1/live"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/"),
            ("AWS_REGION", "eu-west-1"),
        ];
        let url = |variables| endpoint(variables).unwrap().url(Some(("abc123", "live"))).unwrap();
        assert_eq!(url(&all), "https://x.example/live");
        assert_eq!(url(&all[1..]), "http://127.0.0.1:1/live", "complete, with its stage");
        assert_eq!(url(&all[2..]), "http://127.0.0.1:4566/live");
    }

    #[test]
    fn a_fips_or_dual_stack_address_must_be_given() {
        let region = ("AWS_REGION", "us-east-1");
        for name in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
            let error = endpoint(&[region, (name, "true")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("WEBSOCKET_ENDPOINT"), "{error}");
            endpoint(&[region, (name, "false")]).unwrap();
            endpoint(&[region, (name, "true"), ("WEBSOCKET_ENDPOINT", "https://x.example/live")]).unwrap();
        }
    }

    #[test]
    fn lambda_is_in_the_region_or_at_the_address_in_a_variable() {
        let of = |variables: &[_]| of_lambda(&Variables::of(variables));
        let region = ("AWS_REGION", "cn-north-1");
        let (all, lambda) =
            (("AWS_ENDPOINT_URL", "http://127.0.0.1:1/"), ("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:2"));
        assert_eq!(of(&[region]).unwrap(), "https://lambda.cn-north-1.amazonaws.com.cn");
        assert_eq!(of(&[region, all]).unwrap(), "http://127.0.0.1:1");
        assert_eq!(of(&[region, all, lambda]).unwrap(), "http://127.0.0.1:2");
        for name in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
            let error = of(&[region, (name, "true")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("AWS_ENDPOINT_URL_LAMBDA"), "{error}");
            of(&[region, (name, "true"), lambda]).unwrap();
        }
    }

    #[test]
    fn an_address_that_cannot_be_determined_is_a_failure() {
        let from_event = endpoint(&[("AWS_REGION", "eu-west-1")]).unwrap();
        for origin in [None, Some(("evil.example/", "live")), Some(("abc", "")), Some(("abc", "a/b"))] {
            assert!(
                matches!(from_event.url(origin), Err(Failure::Other { cause: "endpoint", .. })),
                "{origin:?}"
            );
        }
    }
}
