//! One post to one connection through `@connections`, and what its answer means.

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_runtime::{
    invocation_id::InvocationIdInterceptor, request_info::RequestInfoInterceptor,
    service_clock_skew::ServiceClockSkewInterceptor, user_agent::UserAgentInterceptor,
};
use aws_sdk_apigatewaymanagement::{
    Client,
    config::{Builder, StalledStreamProtectionConfig},
    error::SdkError,
    operation::{delete_connection::DeleteConnectionError, post_to_connection::PostToConnectionError},
    primitives::Blob,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeSerializationInterceptorContextRef, disable_interceptor},
        orchestrator::HttpResponse,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use tokio::sync::OnceCell;

use crate::{
    config::{Config, EndpointSource},
    failure::{Failure, chain},
    signing::SigV4,
};

/// An answer that takes longer is not waited for: the post is tried again. Usual answers take 10 to 50 ms.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the gateway's answer to a post means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The gateway took the frame.
    Delivered,
    /// 410, by its type or by the bare status.
    Gone,
    /// Too many requests in the account, or to this connection: worth another try. Holds the cause.
    Throttled(String),
    /// An error of the gateway's, or no answer at all: worth another try. Holds the cause.
    Transient(String),
    /// No other try will end differently. Holds the cause.
    Refused(String),
}

/// The connections of one API's stage.
#[derive(Debug, Clone)]
pub struct Connections(Client);

impl Connections {
    /// Posts `frame` once.
    pub async fn post(&self, connection_id: &str, frame: &[u8]) -> Verdict {
        let post = self.0.post_to_connection().connection_id(connection_id).data(Blob::new(frame));
        // Boxed, because the SDK's future is large and most of a fan-out's recipients are waiting, not posting.
        verdict(Box::pin(post.send()).await, PostToConnectionError::is_gone_exception)
    }

    /// Closes the socket, once; `Delivered` is then that the gateway has.
    pub async fn close(&self, connection_id: &str) -> Verdict {
        let close = self.0.delete_connection().connection_id(connection_id);
        verdict(Box::pin(close.send()).await, DeleteConnectionError::is_gone_exception)
    }
}

fn verdict<T, E>(result: Result<T, SdkError<E, HttpResponse>>, is_gone: fn(&E) -> bool) -> Verdict
where
    E: std::error::Error + Send + Sync + 'static,
{
    let Err(error) = result else { return Verdict::Delivered };
    let typed_gone = error.as_service_error().is_some_and(is_gone);
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (status, &error) {
        _ if typed_gone => Verdict::Gone,
        (Some(410), _) => Verdict::Gone,
        (Some(429), _) => Verdict::Throttled(chain(&error)),
        (Some(408 | 500..), _) => Verdict::Transient(chain(&error)),
        // A good status whose body did not arrive whole: nobody can say that the frame was taken.
        (Some(200..300), _) => Verdict::Transient(chain(&error)),
        (Some(_), _) | (None, SdkError::ConstructionFailure(_)) => Verdict::Refused(chain(&error)),
        (None, _) => Verdict::Transient(chain(&error)),
    }
}

/// Leaves out headers that tell AWS about the SDK and its retries: made anew for each post, they were a seventh of its
/// instructions.
#[derive(Debug)]
struct Bare;

impl Intercept for Bare {
    fn name(&self) -> &'static str {
        "Bare"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        const WHY: &str = "the gateway has no use for it";
        let state = config.interceptor_state();
        state.store_put(disable_interceptor::<UserAgentInterceptor>(WHY));
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(WHY));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(WHY));
        state.store_put(disable_interceptor::<ServiceClockSkewInterceptor>(WHY));
        Ok(())
    }
}

/// Finds the [`Connections`] of an event, whose client is built once.
#[derive(Debug)]
pub struct Gateway {
    conf: Builder,
    endpoint: EndpointSource,
    built: OnceCell<(String, Connections)>,
}

impl Gateway {
    /// A gateway whose clients share `sdk`'s HTTP client and credentials.
    #[must_use]
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self::from_conf(Builder::from(sdk), config)
    }

    /// The same from a client configuration of one's own.
    #[must_use]
    pub fn from_conf(conf: Builder, config: &Config) -> Self {
        let conf = conf
            // The fan-out retries by itself. The SDK's retries share a quota that a mass throttle empties, and
            // what then fails is dropped.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(ATTEMPT_TIMEOUT).build())
            // Answers are empty; the time-out above covers a slow one.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Self { conf, endpoint: config.endpoint.clone(), built: OnceCell::new() }
    }

    /// The connections that can be reached when `origin`, the API id and stage of an event, is known or not.
    pub async fn connections(&self, origin: Option<(&str, &str)>) -> Result<Connections, Failure> {
        let url = endpoint_url(&self.endpoint, origin)?;
        let build = || async { (url.clone(), self.build(&url)) };
        let (built_for, connections) = self.built.get_or_init(build).await;
        // One function serves one stage, so the first client is nearly always the right one.
        Ok(if *built_for == url { connections.clone() } else { self.build(&url) })
    }

    fn build(&self, url: &str) -> Connections {
        let conf = self.conf.clone().endpoint_url(url).push_auth_scheme(SigV4::default()).interceptor(Bare);
        Connections(Client::from_conf(conf.build()))
    }
}

fn endpoint_url(source: &EndpointSource, origin: Option<(&str, &str)>) -> Result<String, Failure> {
    let origin = || {
        let (api_id, stage) = origin.ok_or_else(|| {
            Failure::Endpoint("WEBSOCKET_ENDPOINT is not set, and a direct invocation names no API".into())
        })?;
        // Both become part of a host name or path that the function signs for.
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b))
        };
        if plain(api_id) && plain(stage) {
            Ok((api_id, stage))
        } else {
            Err(Failure::Endpoint("the event's apiId or stage is malformed".into()))
        }
    };
    Ok(match source {
        EndpointSource::Fixed(url) => url.clone(),
        EndpointSource::Redirected(base) => format!("{base}/{}", origin()?.1),
        EndpointSource::FromEvent { region } => {
            let (api_id, stage) = origin()?;
            let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("https://{api_id}.execute-api.{region}.{suffix}/{stage}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_comes_from_the_api_id_and_never_from_a_domain_name() {
        let from_event = |region: &str| EndpointSource::FromEvent { region: region.into() };
        let origin = Some(("abc123", "live"));
        assert_eq!(
            endpoint_url(&from_event("eu-west-1"), origin).unwrap(),
            "https://abc123.execute-api.eu-west-1.amazonaws.com/live"
        );
        assert_eq!(
            endpoint_url(&from_event("cn-north-1"), origin).unwrap(),
            "https://abc123.execute-api.cn-north-1.amazonaws.com.cn/live"
        );
        let redirected = EndpointSource::Redirected("http://127.0.0.1:1".into());
        assert_eq!(endpoint_url(&redirected, origin).unwrap(), "http://127.0.0.1:1/live");
        let fixed = EndpointSource::Fixed("https://x.example/live".into());
        assert_eq!(endpoint_url(&fixed, None).unwrap(), "https://x.example/live");
    }

    #[test]
    fn an_endpoint_that_cannot_be_known_is_a_failure() {
        let source = EndpointSource::FromEvent { region: "eu-west-1".into() };
        for origin in [None, Some(("evil.example/", "live")), Some(("abc", "")), Some(("abc", "a/b"))] {
            assert!(matches!(endpoint_url(&source, origin), Err(Failure::Endpoint(_))), "{origin:?}");
        }
    }
}
