//! Whether a request is signed as AWS demands, by its own signer, on what has arrived.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use hyper::{header::HeaderValue, http::request::Parts};

use crate::http::{Reply, error};

/// Access key, secret and session token of the function's role.
pub const CREDENTIALS: [&str; 3] = ["AKIDEXAMPLE", "secret-access-key", "secret-session-token"];
/// Where everything is.
pub const REGION: &str = "eu-west-1";
/// AWS refuses a signature that is older or newer.
const WINDOW: Duration = Duration::from_secs(300);

/// How AWS sees the requests that it gets.
#[derive(Debug, Default)]
pub struct Signatures {
    unchecked: AtomicBool,
    ahead: AtomicI64,
}

impl Signatures {
    /// Takes every request from now on: for a benchmark, whose processor the checks would use.
    pub fn uncheck(&self) {
        self.unchecked.store(true, Ordering::Relaxed);
    }

    /// Sets AWS's clock that many seconds ahead of the function's.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    /// The refusal of a request that is not signed, or wrongly.
    pub(crate) fn refusal(&self, head: &Parts, body: &[u8], service: &str) -> Option<Reply> {
        if self.unchecked.load(Ordering::Relaxed) {
            return None;
        }
        check(head, body, service, self.now()).err().map(|kind| error(403, kind))
    }

    /// The reply with the time of AWS's clock.
    pub(crate) fn dated(&self, mut reply: Reply) -> Reply {
        if self.ahead.load(Ordering::Relaxed) != 0 {
            let date = httpdate::fmt_http_date(self.now());
            reply.headers_mut().insert("date", HeaderValue::from_str(&date).expect("a date is plain text"));
        }
        reply
    }
}

fn check(head: &Parts, body: &[u8], service: &str, now: SystemTime) -> Result<(), &'static str> {
    const INCOMPLETE: &str = "IncompleteSignatureException";
    const INVALID: &str = "InvalidSignatureException";
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or("MissingAuthenticationTokenException")?;
    let (_, signed) = authorization.split_once("SignedHeaders=").ok_or(INCOMPLETE)?;
    let signed: Vec<&str> = signed.split(',').next().unwrap_or_default().split(';').collect();
    let demanded = |name: &str| ["content-type", "host"].contains(&name) || name.starts_with("x-amz-");
    if head.headers.keys().any(|name| demanded(name.as_str()) && !signed.contains(&name.as_str())) {
        return Err(INCOMPLETE);
    }
    let time = header("x-amz-date").and_then(parse_time).ok_or(INCOMPLETE)?;
    let distance = now.duration_since(time).or_else(|_| time.duration_since(now)).unwrap_or_default();
    if distance > WINDOW {
        return Err(INVALID);
    }

    let [key, secret, token] = CREDENTIALS;
    let identity = Credentials::from_keys(key, secret, Some(token.into())).into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| INCOMPLETE)?
        .into();
    // These two the signer adds by itself.
    let own = ["x-amz-date", "x-amz-security-token"];
    let headers: Vec<_> = signed
        .iter()
        .filter(|name| !own.contains(*name))
        .map(|name| Ok((*name, header(name).ok_or(INCOMPLETE)?)))
        .collect::<Result<_, _>>()?;
    let url = format!("http://{}{}", header("host").ok_or(INCOMPLETE)?, head.uri);
    let request =
        SignableRequest::new(head.method.as_str(), url, headers.into_iter(), SignableBody::Bytes(body));
    let (instructions, _) =
        sign(request.map_err(|_| INCOMPLETE)?, &params).map_err(|_| INCOMPLETE)?.into_parts();
    let expected: Vec<_> = instructions.headers().collect();
    if expected.iter().all(|(name, value)| header(name) == Some(value)) { Ok(()) } else { Err(INVALID) }
}

/// `20260102T030405Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let part = |range| text.get(range);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(9..11)?,
        part(11..13)?,
        part(13..16)?
    );
    humantime::parse_rfc3339(&rfc3339).ok()
}
