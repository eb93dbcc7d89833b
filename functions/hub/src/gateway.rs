//! API Gateway's `@connections`: posts frames to connections, and closes sockets.
//!
//! Posting is the hub's hot path. It uses AWS's signer over a small HTTP client, without the rest of the SDK. Closing a
//! socket is rare, and goes through the SDK.

use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_sdk_apigatewaymanagement::{
    Client, config::Builder, operation::delete_connection::DeleteConnectionError,
};
use aws_smithy_types::retry::ReconnectMode;
use http::Response;
use hyper::body::Bytes;
use tokio::time::timeout;

use crate::{
    aws,
    config::Variables,
    endpoint::{Endpoint, cannot_post},
    failure::{Failure, chain},
    http::{LONGEST_IDLE, sdk},
    signing::{self, Payload, Service},
    tls::{self, Tls},
};

/// An attempt without an answer after so long counts as failed, and is repeated. Answers usually take 10 to 50 ms.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// In bytes. Answers are empty, or say in a sentence what is wrong.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The result of one post. The texts are causes for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostResult {
    /// The gateway took the frame.
    Delivered,
    /// 410, or an answer of that type: the connection no longer exists.
    Gone,
    /// 429: too many requests in the account, or to this connection. Worth another attempt.
    Throttled(String),
    /// An error of the gateway, or no answer. Worth another attempt.
    Transient(String),
    /// 403: this function may not post here.
    Forbidden(String),
    /// Another refusal. Another attempt would end the same way.
    Refused(String),
    /// The request could not be sent, because of the hub's configuration.
    Unsent(String),
}

/// The connections of one stage of one API.
pub struct Connections {
    url: String,
    gateway: Service,
    /// The path of `@connections`, with a trailing slash.
    path: String,
    /// Built when the first socket is closed: building it slows down a start, and most functions close none.
    sdk: LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>,
}

impl Connections {
    /// Posts `frame` once, and a second time only if this machine's clock turns out to be wrong.
    pub async fn post(&self, connection_id: &str, frame: &Payload) -> PostResult {
        let path = format!("{}{}", self.path, signing::segment(connection_id));
        match timeout(ATTEMPT_TIMEOUT, self.gateway.post(&path, frame, LARGEST_ANSWER)).await {
            Ok(Ok(answer)) => post_result(&answer),
            Ok(Err(signing::Error::Unsent(cause))) => PostResult::Unsent(cause),
            Ok(Err(signing::Error::Lost { cause, .. })) => PostResult::Transient(cause),
            Err(_) => PostResult::Transient(format!("no answer within {ATTEMPT_TIMEOUT:?}")),
        }
    }

    /// How many connections to the gateway are open and idle.
    pub(crate) fn idle_connections(&self) -> usize {
        self.gateway.host.idle_connections()
    }

    /// Attempts once to close a socket. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The cause chain, for the log.
    pub async fn close(&self, connection_id: &str) -> Result<bool, String> {
        // Boxed, because the SDK's futures are large.
        let closing = Box::pin(self.sdk.delete_connection().connection_id(connection_id).send());
        let Err(error) = closing.await else { return Ok(true) };
        let gone = error.raw_response().is_some_and(|response| response.status().as_u16() == 410)
            || error.as_service_error().is_some_and(DeleteConnectionError::is_gone_exception);
        if gone { Ok(false) } else { Err(chain(&error)) }
    }
}

fn post_result(answer: &Response<Bytes>) -> PostResult {
    match answer.status().as_u16() {
        200..300 => PostResult::Delivered,
        410 => PostResult::Gone,
        _ if signing::error_type(answer) == "GoneException" => PostResult::Gone,
        429 => PostResult::Throttled(signing::cause(answer)),
        403 => PostResult::Forbidden(signing::cause(answer)),
        408 | 500.. => PostResult::Transient(signing::cause(answer)),
        _ => PostResult::Refused(signing::cause(answer)),
    }
}

/// Finds the [`Connections`] of an event.
pub struct Gateway {
    endpoint: Endpoint,
    tls: Tls,
    region: String,
    credentials: Credentials,
    sdk: Builder,
    /// A function serves one stage, so these are nearly always the right ones.
    last: Mutex<Option<Arc<Connections>>>,
}

impl Gateway {
    /// A gateway that signs with the credentials that Lambda sets in the environment. Sockets are closed with `sdk`.
    ///
    /// # Errors
    ///
    /// A variable is missing or cannot be used, or the trust anchors cannot be read.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let endpoint = Endpoint::read(variables)?;
        let tls = tls::config(&[endpoint.known().map(str::to_owned)], variables)?;
        let credentials = aws::credentials(variables)?;
        let sdk = Builder::from(sdk)
            // The address is complete: the SDK must not look for a variant of it.
            .use_fips(false)
            .use_dual_stack(false)
            // A socket that is not closed now is closed by the next message.
            .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
            .timeout_config(TimeoutConfig::builder().operation_timeout(ATTEMPT_TIMEOUT).build());
        let region = variables.region()?;
        Ok(Self { endpoint, tls, region, credentials, sdk, last: Mutex::default() })
    }

    /// The connections of the stage that `origin` names, by the API id and stage of an event, or of the configured one.
    ///
    /// # Errors
    ///
    /// Neither names a stage, or the address cannot be used.
    pub fn connections(&self, origin: Option<(&str, &str)>) -> Result<Arc<Connections>, Failure> {
        let url = self.endpoint.url(origin)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = last.as_ref().filter(|connections| connections.url == url) {
            return Ok(connections.clone());
        }
        let built = self.build(url).map_err(|error| cannot_post(&format!("{error:#}")))?;
        Ok(last.insert(Arc::new(built)).clone())
    }

    fn build(&self, url: String) -> anyhow::Result<Connections> {
        let uri: http::Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let (region, credentials) = (self.region.clone(), self.credentials.clone());
        let gateway = Service::new("execute-api", &uri, self.tls.clone(), LONGEST_IDLE, region, credentials)?;
        let client = sdk::client(self.tls.clone(), Some(gateway.host.clone()));
        let sdk = self.sdk.clone().http_client(client).endpoint_url(&url);
        Ok(Connections {
            path: format!("{}/@connections/", uri.path().trim_end_matches('/')),
            gateway,
            sdk: LazyLock::new(Box::new(move || Client::from_conf(sdk.build()))),
            url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_classified_by_its_status_and_its_type() {
        let answered = |status: u16, kind: &str, body: &'static str| {
            let answer = Response::builder().status(status).header("x-amzn-errortype", kind);
            post_result(&answer.body(Bytes::from_static(body.as_bytes())).unwrap())
        };
        assert_eq!(answered(200, "", ""), PostResult::Delivered);
        assert_eq!(answered(410, "", ""), PostResult::Gone);
        assert_eq!(answered(400, "GoneException", ""), PostResult::Gone);
        let throttled = "429 Too Many Requests (LimitExceededException): slow down";
        assert_eq!(
            answered(429, "LimitExceededException:http://x/", r#"{"message":"slow down"}"#),
            PostResult::Throttled(throttled.into())
        );
        assert!(matches!(answered(403, "", ""), PostResult::Forbidden(_)));
        assert!(matches!(answered(503, "", "<html>"), PostResult::Transient(_)));
        assert!(matches!(answered(408, "", ""), PostResult::Transient(_)));
        assert!(matches!(answered(413, "", ""), PostResult::Refused(_)));
    }
}
