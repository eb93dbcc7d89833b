//! The AWS clients' common configuration: built once, before the first event.

use std::time::Duration;

use anyhow::Context;
use aws_config::{
    BehaviorVersion, SdkConfig, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::config::{Config, Trust};

/// Amazon Trust Services' roots, all five that it asks clients with a store of their own to hold. Reading a
/// machine's whole store costs a cold start more than all the rest of it.
pub const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// A connection that has rested longer is not used again. One that died without a word, in a freeze perhaps,
/// costs a try its whole time-out; the fan-out may have left dozens of them to a single recipient.
const LONGEST_REST: Duration = Duration::from_secs(20);

/// Region, credentials and endpoint from the environment, as every AWS SDK reads them.
///
/// DynamoDB answers within milliseconds: the time-outs are short, so that a dead connection costs a retry
/// and not the invocation.
pub async fn sdk_config(config: &Config) -> anyhow::Result<SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(&config.trust)?)
        .retry_config(
            RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(50)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .operation_attempt_timeout(Duration::from_secs(2))
                .build(),
        );
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        // As in Lambda. The default chain would build clients for sources that are never asked.
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    Ok(loader.load().await)
}

fn http_client(trust: &Trust) -> anyhow::Result<SharedHttpClient> {
    let builder = Builder::new().pool_idle_timeout(LONGEST_REST);
    let store = match trust {
        Trust::Nobody => return Ok(builder.build_http()),
        Trust::Machine => TrustStore::default(),
        Trust::Amazon => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
        Trust::Bundle(file) => {
            let pem = std::fs::read(file).with_context(|| {
                format!("environment variable AWS_CA_BUNDLE names {file}, which cannot be read")
            })?;
            TrustStore::empty().with_pem_certificate(pem)
        }
    };
    let tls =
        TlsContext::builder().with_trust_store(store).build().context("the trust store cannot be used")?;
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https())
}
