//! Signed requests to an AWS service: with AWS's own signer over the hub's HTTP client, without the rest of the SDK.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header::DATE};
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest;
use serde::Deserialize;

use crate::{
    failure::chain,
    http::{self as connections, Body, Host, chained},
    tls::Tls,
};

const CONTENT_TYPE: (&str, &str) = ("content-type", "application/octet-stream");
/// The characters that a path segment keeps as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// By how many seconds AWS's clock is ahead of this machine's, as last seen.
static CLOCK_AHEAD: AtomicI64 = AtomicI64::new(0);

/// The body of a request, and its hash, which every signature needs. Many bodies may share their beginning.
#[derive(Debug)]
pub struct Payload {
    start: Bytes,
    end: Bytes,
    hash: String,
}

impl Payload {
    /// A body of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        PayloadStart::new(bytes).payload(String::new())
    }

    /// The whole body, which is text.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.start).into_owned();
        text.push_str(&String::from_utf8_lossy(&self.end));
        text
    }
}

/// The beginning of several payloads, stored and hashed once.
pub struct PayloadStart {
    bytes: Bytes,
    hash: digest::Context,
}

impl PayloadStart {
    /// A beginning of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&bytes);
        Self { bytes, hash }
    }

    /// The payload that continues with `end`.
    #[must_use]
    pub fn payload(&self, end: String) -> Payload {
        let mut context = self.hash.clone();
        context.update(end.as_bytes());
        let mut hash = String::with_capacity(64);
        for byte in context.finish().as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Payload { start: self.bytes.clone(), end: end.into(), hash }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// It could not be made, or the server is not trusted: another attempt would end the same way. Holds the cause.
    Unsent(String),
    /// There was no connection, or it broke.
    Lost {
        cause: String,
        /// Whether the server may have received the request.
        was_sent: bool,
    },
}

/// An AWS service, and what signs requests to it.
pub(crate) struct Service {
    pub(crate) host: Arc<Host>,
    /// `https://{host}`, needed for the signature alone.
    base: String,
    /// The service's name in signatures.
    name: &'static str,
    region: String,
    identity: Identity,
}

impl Service {
    /// The service `name`, at the server that `url` names. A connection that has been idle for `longest_idle` is not
    /// used again.
    pub(crate) fn new(
        name: &'static str,
        url: &Uri,
        tls: Tls,
        longest_idle: Duration,
        region: String,
        credentials: Credentials,
    ) -> anyhow::Result<Self> {
        let host = Arc::new(Host::new(url, tls, longest_idle)?);
        let base = format!("{}://{}", url.scheme_str().unwrap_or("https"), host.authority());
        Ok(Self { host, base, name, region, identity: credentials.into() })
    }

    /// Posts `payload` to a path once, and a second time only if this machine's clock turns out to be wrong. The answer
    /// may have up to `largest` bytes.
    pub(crate) async fn post(
        &self,
        path: &str,
        payload: &Payload,
        largest: usize,
    ) -> Result<Response<Bytes>, Error> {
        let ahead = CLOCK_AHEAD.load(Ordering::Relaxed);
        let answer = self.send(path, payload, ahead, largest).await?;
        if answer.status() != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        match clock_ahead(answer.headers()) {
            Some(seen) if seen.abs_diff(ahead) > 60 => {
                // Other requests under way find the same difference: only the first logs it.
                if CLOCK_AHEAD.swap(seen, Ordering::Relaxed).abs_diff(seen) > 60 {
                    tracing::warn!(seconds_ahead = seen, "clock corrected");
                }
                self.send(path, payload, seen, largest).await
            }
            _ => Ok(answer),
        }
    }

    async fn send(
        &self,
        path: &str,
        payload: &Payload,
        ahead: i64,
        largest: usize,
    ) -> Result<Response<Bytes>, Error> {
        let request =
            self.signed(path, payload, ahead).map_err(|error| Error::Unsent(format!("{error:#}")))?;
        self.host.request(request, largest).await.map_err(|error| match error {
            connections::Error::Untrusted(_) => Error::Unsent(chain(&error)),
            connections::Error::Unreached(..) => Error::Lost { cause: chain(&error), was_sent: false },
            connections::Error::Lost(..) => Error::Lost { cause: chain(&error), was_sent: true },
        })
    }

    fn signed(&self, path: &str, payload: &Payload, ahead: i64) -> anyhow::Result<Request<Body>> {
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by };
        let params = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.name)
            .time(now)
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url = format!("{}{path}", self.base);
        let body = SignableBody::Precomputed(payload.hash.clone());
        let headers = [CONTENT_TYPE, ("host", self.host.authority())];
        let (instructions, _) =
            sign(SignableRequest::new("POST", url, headers.into_iter(), body)?, &params)?.into_parts();
        let request = Request::post(path).header(CONTENT_TYPE.0, CONTENT_TYPE.1);
        let mut request = request.body(chained(payload.start.clone(), payload.end.clone()))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// `text` as a segment of a path.
pub(crate) fn segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, UNRESERVED)
}

/// The error type that an answer names, or an empty string.
pub(crate) fn error_type(answer: &Response<Bytes>) -> &str {
    let kind = answer.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().split(':').next().unwrap_or_default()
}

/// The error that an answer describes: `403 Forbidden (AccessDeniedException): User … is not authorized …`.
pub(crate) fn cause(answer: &Response<Bytes>) -> String {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "Message")]
        message: String,
    }
    let mut cause = answer.status().to_string();
    let kind = error_type(answer);
    if !kind.is_empty() {
        cause.extend([" (", kind, ")"]);
    }
    if let Ok(body) = serde_json::from_slice::<Body>(answer.body()) {
        cause.push_str(": ");
        cause.extend(body.message.chars().take(300));
    }
    cause
}

/// By how many seconds AWS's clock is ahead of this machine's, by the date of its answer.
fn clock_ahead(answer: &HeaderMap) -> Option<i64> {
    let theirs = httpdate::parse_http_date(answer.get(DATE)?.to_str().ok()?).ok()?;
    let seconds = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    let ahead = theirs.duration_since(SystemTime::now());
    Some(ahead.map_or_else(|behind| -seconds(behind.duration()), seconds))
}
