//! Posts to connections through `@connections`: signed, sent, and what the answer means.
//!
//! The hub's hot path: with AWS's signer over a small HTTP client, and without the rest of the SDK. Closing a socket is
//! rare, and the SDK's.

use std::{
    fmt::Write,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Context;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_apigatewaymanagement::{
    Client, config::Builder, operation::delete_connection::DeleteConnectionError,
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::retry::ReconnectMode;
use http::{HeaderMap, Request, Response, StatusCode, header::DATE};
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    aws,
    config::Variables,
    endpoint::{Endpoint, cannot_post},
    failure::{Failure, chain},
    http::{Body, Error, Host, LONGEST_REST, chained, for_sdk},
    tls::{self, Tls},
};

/// An answer that takes longer is not waited for: the post is tried again. Usual answers take 10 to 50 ms.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers are empty, or say in a sentence what is wrong.
const LARGEST_ANSWER: usize = 64 * 1024;
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/octet-stream");
/// What a path segment keeps as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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

/// How the frames of a message begin, in all sessions alike: kept and hashed once.
pub struct FrameStart {
    bytes: Bytes,
    hash: digest::Context,
}

impl FrameStart {
    /// The beginning of frames.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&bytes);
        Self { bytes, hash }
    }

    /// The frame that goes on with `end`.
    #[must_use]
    pub fn frame(&self, end: String) -> Frame {
        let mut context = self.hash.clone();
        context.update(end.as_bytes());
        let mut hash = String::with_capacity(64);
        for byte in context.finish().as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Frame { start: self.bytes.clone(), end: end.into(), hash }
    }
}

/// A frame to post, and its hash, which every signature needs.
#[derive(Debug)]
pub struct Frame {
    start: Bytes,
    end: Bytes,
    hash: String,
}

impl Frame {
    /// A frame of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        FrameStart::new(bytes).frame(String::new())
    }
}

/// The connections of one API's stage.
pub struct Connections {
    url: String,
    host: Arc<Host>,
    /// `https://{host}`, which only the signature needs.
    base: String,
    /// The path of `@connections`, with a slash at its end.
    path: String,
    identity: Identity,
    region: String,
    /// By how many seconds AWS's clock is ahead of this machine's.
    clock_ahead: AtomicI64,
    /// Made when the first socket is closed: that costs a start, and most functions close none.
    sdk: LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>,
}

impl Connections {
    /// Posts `frame` once; a second time only where this machine's clock turns out to be wrong.
    pub async fn post(&self, connection_id: &str, frame: &Frame) -> Verdict {
        match timeout(ATTEMPT_TIMEOUT, self.signed_post(connection_id, frame)).await {
            Ok(Ok(answer)) => verdict(&answer),
            Ok(Err(verdict)) => verdict,
            Err(_) => Verdict::Transient(format!("no answer within {ATTEMPT_TIMEOUT:?}")),
        }
    }

    /// How many connections to the gateway are open and idle.
    pub(crate) fn open(&self) -> usize {
        self.host.open()
    }

    async fn signed_post(&self, connection_id: &str, frame: &Frame) -> Result<Response<Bytes>, Verdict> {
        let path = format!("{}{}", self.path, utf8_percent_encode(connection_id, UNRESERVED));
        let ahead = self.clock_ahead.load(Ordering::Relaxed);
        let answer = self.send(&path, frame, ahead).await?;
        if answer.status() != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        match clock_ahead(answer.headers()) {
            Some(seen) if seen.abs_diff(ahead) > 60 => {
                // Posts that were under way together find the same.
                if self.clock_ahead.swap(seen, Ordering::Relaxed).abs_diff(seen) > 60 {
                    tracing::warn!(seconds_ahead = seen, "clock corrected");
                }
                self.send(&path, frame, seen).await
            }
            _ => Ok(answer),
        }
    }

    async fn send(&self, path: &str, frame: &Frame, ahead: i64) -> Result<Response<Bytes>, Verdict> {
        let request =
            self.signed(path, frame, ahead).map_err(|error| Verdict::Unsent(format!("{error:#}")))?;
        self.host.request(request, LARGEST_ANSWER).await.map_err(|error| match error {
            Error::Untrusted(_) => Verdict::Unsent(chain(&error)),
            Error::Lost(..) => Verdict::Transient(chain(&error)),
        })
    }

    fn signed(&self, path: &str, frame: &Frame, ahead: i64) -> anyhow::Result<Request<Body>> {
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by };
        let params = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("execute-api")
            .time(now)
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url = format!("{}{path}", self.base);
        let body = SignableBody::Precomputed(frame.hash.clone());
        let headers = [CONTENT_TYPE, ("host", self.host.authority())];
        let (instructions, _) =
            sign(SignableRequest::new("POST", url, headers.into_iter(), body)?, &params)?.into_parts();
        let request = Request::post(path).header(CONTENT_TYPE.0, CONTENT_TYPE.1);
        let mut request = request.body(chained(frame.start.clone(), frame.end.clone()))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
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
    let kind =
        answer.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match answer.status().as_u16() {
        200..300 => Verdict::Delivered,
        410 => Verdict::Gone,
        _ if kind.starts_with("GoneException") => Verdict::Gone,
        429 => Verdict::Throttled(cause(answer, kind)),
        403 => Verdict::Forbidden(cause(answer, kind)),
        408 | 500.. => Verdict::Transient(cause(answer, kind)),
        _ => Verdict::Refused(cause(answer, kind)),
    }
}

/// What an answer says is wrong: `403 Forbidden (AccessDeniedException): User … is not authorized …`.
fn cause(answer: &Response<Bytes>, kind: &str) -> String {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "Message")]
        message: String,
    }
    let mut cause = answer.status().to_string();
    if !kind.is_empty() {
        cause.extend([" (", kind.split(':').next().unwrap_or_default(), ")"]);
    }
    if let Ok(body) = serde_json::from_slice::<Body>(answer.body()) {
        cause.push_str(": ");
        cause.extend(body.message.chars().take(300));
    }
    cause
}

/// By how many seconds AWS's clock is ahead of this machine's, to go by the date of its answer.
fn clock_ahead(answer: &HeaderMap) -> Option<i64> {
    let theirs = httpdate::parse_http_date(answer.get(DATE)?.to_str().ok()?).ok()?;
    let seconds = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    let ahead = theirs.duration_since(SystemTime::now());
    Some(ahead.map_or_else(|behind| -seconds(behind.duration()), seconds))
}

/// Finds the [`Connections`] of an event.
pub struct Gateway {
    endpoint: Endpoint,
    tls: Tls,
    region: String,
    identity: Identity,
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
        let identity = aws::credentials(variables)?.into();
        let sdk = Builder::from(sdk)
            // The address is whole: the SDK must not look for another kind of it.
            .use_fips(false)
            .use_dual_stack(false)
            // A socket that is not closed now is closed with the next message.
            .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
            .timeout_config(TimeoutConfig::builder().operation_timeout(ATTEMPT_TIMEOUT).build());
        let region = variables.region()?;
        Ok(Self { endpoint, tls, region, identity, sdk, last: Mutex::default() })
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
        let host = Arc::new(Host::new(&uri, self.tls.clone(), LONGEST_REST)?);
        let sdk =
            self.sdk.clone().http_client(for_sdk(self.tls.clone(), Some(host.clone()))).endpoint_url(&url);
        Ok(Connections {
            base: format!("{}://{}", uri.scheme_str().unwrap_or("https"), host.authority()),
            path: format!("{}/@connections/", uri.path().trim_end_matches('/')),
            host,
            identity: self.identity.clone(),
            region: self.region.clone(),
            clock_ahead: AtomicI64::default(),
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
