//! Posts to connections through `@connections`: signed, sent, and what the answer means.
//!
//! The hub's hot path: with AWS's signer over a small HTTP client, and without the rest of the SDK. Closing a socket is
//! rare, and the SDK's.

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
    http::{LONGEST_REST, for_sdk},
    signed::{self, Payload, Service},
    tls::{self, Tls},
};

/// An answer that takes longer is not waited for: the post is tried again. Usual answers take 10 to 50 ms.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers are empty, or say in a sentence what is wrong.
const LARGEST_ANSWER: usize = 64 * 1024;

/// What the gateway's answer to a post means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The gateway took the frame.
    Delivered,
    /// 410, by its type or by the bare status.
    Gone,
    /// Too many requests in the account, or to this connection: worth another attempt. Holds the cause.
    Throttled(String),
    /// An error of the gateway's, or no answer at all: worth another attempt. Holds the cause.
    Transient(String),
    /// 403: this function may not post here. Holds the cause.
    Forbidden(String),
    /// No other attempt will end differently. Holds the cause.
    Refused(String),
    /// The request could not even be made: a fault in the hub's configuration. Holds the cause.
    Unsent(String),
}

/// The connections of one API's stage.
pub struct Connections {
    url: String,
    gateway: Service,
    /// The path of `@connections`, with a slash at its end.
    path: String,
    /// Made when the first socket is closed: that costs a start, and most functions close none.
    sdk: LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>,
}

impl Connections {
    /// Posts `frame` once; a second time only where this machine's clock turns out to be wrong.
    pub async fn post(&self, connection_id: &str, frame: &Payload) -> Verdict {
        let path = format!("{}{}", self.path, signed::segment(connection_id));
        match timeout(ATTEMPT_TIMEOUT, self.gateway.post(&path, frame, LARGEST_ANSWER)).await {
            Ok(Ok(answer)) => verdict(&answer),
            Ok(Err(signed::Error::Unsent(cause))) => Verdict::Unsent(cause),
            Ok(Err(signed::Error::Lost { cause, .. })) => Verdict::Transient(cause),
            Err(_) => Verdict::Transient(format!("no answer within {ATTEMPT_TIMEOUT:?}")),
        }
    }

    /// How many connections to the gateway are open and idle.
    pub(crate) fn open(&self) -> usize {
        self.gateway.host.open()
    }

    /// Closes the socket, once, and says whether there was one, or why it cannot be closed.
    ///
    /// # Errors
    ///
    /// The cause chain, for the log.
    pub async fn close(&self, connection_id: &str) -> Result<bool, String> {
        // Boxed: the SDK's futures are large.
        let closing = Box::pin(self.sdk.delete_connection().connection_id(connection_id).send());
        let Err(error) = closing.await else { return Ok(true) };
        let gone = error.raw_response().is_some_and(|response| response.status().as_u16() == 410)
            || error.as_service_error().is_some_and(DeleteConnectionError::is_gone_exception);
        if gone { Ok(false) } else { Err(chain(&error)) }
    }
}

fn verdict(answer: &Response<Bytes>) -> Verdict {
    match answer.status().as_u16() {
        200..300 => Verdict::Delivered,
        410 => Verdict::Gone,
        _ if signed::error_type(answer) == "GoneException" => Verdict::Gone,
        429 => Verdict::Throttled(signed::cause(answer)),
        403 => Verdict::Forbidden(signed::cause(answer)),
        408 | 500.. => Verdict::Transient(signed::cause(answer)),
        _ => Verdict::Refused(signed::cause(answer)),
    }
}

/// Finds the [`Connections`] of an event.
pub struct Gateway {
    endpoint: Endpoint,
    tls: Tls,
    region: String,
    credentials: Credentials,
    sdk: Builder,
    /// One function serves one stage, so the last event's is nearly always the right one.
    last: Mutex<Option<Arc<Connections>>>,
}

impl Gateway {
    /// A gateway that signs with the credentials in the environment, as Lambda sets them. `sdk` is for what is not
    /// posted.
    ///
    /// # Errors
    ///
    /// A variable is missing or cannot be used, or the certificates to trust cannot be read.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let endpoint = Endpoint::read(variables)?;
        let tls = tls::config(&[endpoint.known().map(str::to_owned)], variables)?;
        let credentials = aws::credentials(variables)?;
        let sdk = Builder::from(sdk)
            // The address is whole: the SDK must not look for another kind of it.
            .use_fips(false)
            .use_dual_stack(false)
            // A socket that is not closed now is closed with the next message.
            .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
            .timeout_config(TimeoutConfig::builder().operation_timeout(ATTEMPT_TIMEOUT).build());
        let region = variables.region()?;
        Ok(Self { endpoint, tls, region, credentials, sdk, last: Mutex::default() })
    }

    /// The connections that can be reached when `origin`, the API id and stage of an event, is known or not.
    ///
    /// # Errors
    ///
    /// Nothing says where they are, or the address cannot be used.
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
        let gateway = Service::new("execute-api", &uri, self.tls.clone(), LONGEST_REST, region, credentials)?;
        let client = for_sdk(self.tls.clone(), Some(gateway.host.clone()));
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
    fn an_answer_is_known_by_its_status_and_its_type() {
        let answered = |status: u16, kind: &str, body: &'static str| {
            let answer = Response::builder().status(status).header("x-amzn-errortype", kind);
            verdict(&answer.body(Bytes::from_static(body.as_bytes())).unwrap())
        };
        assert_eq!(answered(200, "", ""), Verdict::Delivered);
        assert_eq!(answered(410, "", ""), Verdict::Gone);
        assert_eq!(answered(400, "GoneException", ""), Verdict::Gone);
        let throttled = "429 Too Many Requests (LimitExceededException): slow down";
        assert_eq!(
            answered(429, "LimitExceededException:http://x/", r#"{"message":"slow down"}"#),
            Verdict::Throttled(throttled.into())
        );
        assert!(matches!(answered(403, "", ""), Verdict::Forbidden(_)));
        assert!(matches!(answered(503, "", "<html>"), Verdict::Transient(_)));
        assert!(matches!(answered(408, "", ""), Verdict::Transient(_)));
        assert!(matches!(answered(413, "", ""), Verdict::Refused(_)));
    }
}
