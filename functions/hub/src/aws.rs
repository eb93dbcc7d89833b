//! The AWS clients' common configuration: built once, before the first event.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::{IdentityCache, SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::TokioSleep;

use crate::{config::Config, http};

/// A connection that has rested longer is not used again. One that died without a word, in a freeze perhaps,
/// costs a try its whole time-out; the fan-out may have left dozens of them to a single recipient.
const LONGEST_REST: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Region, credentials and endpoint from the environment, where Lambda puts them.
///
/// DynamoDB answers within milliseconds: the time-outs are short, so that a dead connection costs a retry
/// and not the invocation.
///
/// # Errors
///
/// The certificates that `config` trusts cannot be read.
pub fn sdk_config(config: &Config) -> anyhow::Result<SdkConfig> {
    from_lookup(config, |name| std::env::var(name).ok())
}

/// Not by `aws_config`'s loader: it links every source of credentials there is, and the AWS clients that those need, for a
/// function that is given its own.
fn from_lookup(config: &Config, lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<SdkConfig> {
    let flag = |name: &str| {
        lookup(name).filter(|value| !value.is_empty()).map(|value| value.eq_ignore_ascii_case("true"))
    };
    let http = http::client(&config.trust, CONNECT_TIMEOUT, LONGEST_REST)?;
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(config.region.clone().map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .identity_cache(IdentityCache::lazy().build())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .http_client(http::for_sdk(http))
        .retry_config(
            RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(50)),
        )
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build());
    builder.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
    builder.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
    // The table's: posts have an endpoint of their own.
    builder.set_endpoint_url(config.table_endpoint.clone());
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> SdkConfig {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let config = Config::from_lookup(|name| {
            lookup(name).or_else(|| (name == "TABLE_NAME").then(|| "table".into()))
        });
        from_lookup(&config.unwrap(), lookup).unwrap()
    }

    #[test]
    fn the_region_and_the_tables_endpoint_come_from_the_environment() {
        let lambda = read(&[("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "us-east-1")]);
        assert_eq!(lambda.region(), Some(&Region::from_static("eu-west-1")));
        assert_eq!(lambda.endpoint_url(), None);
        assert_eq!(lambda.use_fips(), None);
        let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let table = ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2");
        let region = ("AWS_DEFAULT_REGION", "eu-west-1");
        assert_eq!(read(&[region, all]).endpoint_url(), Some(all.1));
        assert_eq!(read(&[region, all, table]).endpoint_url(), Some(table.1));
        assert_eq!(read(&[region]).region(), Some(&Region::from_static("eu-west-1")));
    }

    #[test]
    fn kinds_of_endpoints_are_asked_for_by_the_variables_of_every_sdk() {
        let region = ("AWS_REGION", "us-east-1");
        let sdk = read(&[region, ("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "false")]);
        assert_eq!((sdk.use_fips(), sdk.use_dual_stack()), (Some(true), Some(false)));
    }
}
