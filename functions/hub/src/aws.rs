//! The AWS SDK's configuration: region, credentials and endpoints from the environment, where Lambda sets them.

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{IdentityCache, SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_types::retry::ReconnectMode;

use crate::{
    config::{ConfigError, Variables},
    http, tls,
};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The configuration of DynamoDB's client. DynamoDB answers within milliseconds, so the timeouts are short: a dead
/// connection costs one attempt and not the invocation.
///
/// It does not use `aws_config`'s loader, which links every source of credentials and the AWS clients that they need;
/// Lambda sets the function's credentials.
///
/// # Errors
///
/// There is no region or no key, a variable cannot be used, or the trust anchors cannot be read.
pub fn sdk_config(variables: &Variables) -> anyhow::Result<SdkConfig> {
    let flag = |name: &str| variables.get(name).map(|value| value.eq_ignore_ascii_case("true"));
    let all = variables.url("AWS_ENDPOINT_URL")?;
    let endpoint = variables.url("AWS_ENDPOINT_URL_DYNAMODB")?.or(all);
    let tls = tls::config(std::slice::from_ref(&endpoint), variables)?;
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variables.region()?))
        .credentials_provider(SharedCredentialsProvider::new(credentials(variables)?))
        .identity_cache(IdentityCache::lazy().build())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .http_client(http::sdk::client(tls, None))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(5)
                .with_initial_backoff(Duration::from_millis(50))
                // The HTTP client itself does not reuse a connection after a server error.
                .with_reconnect_mode(ReconnectMode::ReuseAllConnections),
        )
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build());
    builder.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
    builder.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
    builder.set_endpoint_url(endpoint);
    Ok(builder.build())
}

/// The credentials of the function's role, which Lambda sets for the lifetime of the process.
pub(crate) fn credentials(variables: &Variables) -> Result<Credentials, ConfigError> {
    const HINT: &str = "Lambda sets it; elsewhere set the credentials of a role";
    let key = variables.required("AWS_ACCESS_KEY_ID", HINT)?;
    let secret = variables.required("AWS_SECRET_ACCESS_KEY", HINT)?;
    Ok(Credentials::new(key, secret, variables.get("AWS_SESSION_TOKEN"), None, "environment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> SdkConfig {
        let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        sdk_config(&Variables::of(&[variables, &keys].concat())).unwrap()
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
    fn the_variables_of_the_sdks_select_fips_and_dual_stack_endpoints() {
        let region = ("AWS_REGION", "us-east-1");
        let sdk = read(&[region, ("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "false")]);
        assert_eq!((sdk.use_fips(), sdk.use_dual_stack()), (Some(true), Some(false)));
    }
}
