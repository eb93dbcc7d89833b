//! Whether a request is signed as AWS demands: by the documentation of Signature Version 4, since the functions sign with the
//! SDK's signer. That one would also take most of a debug build's time.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    digest::{Digest, SHA256, digest},
    hmac::{HMAC_SHA256, Key, Tag, sign},
};
use hyper::{
    header::{HeaderName, HeaderValue},
    http::request::Parts,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

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
    let (signed, _) = signed.split_once(',').ok_or(INCOMPLETE)?;
    let names: Vec<&str> = signed.split(';').collect();
    let demanded = |name: &str| ["content-type", "host"].contains(&name) || name.starts_with("x-amz-");
    let is_left_out = |name: &HeaderName| demanded(name.as_str()) && !names.contains(&name.as_str());
    if !names.is_sorted() || !names.contains(&"host") || head.headers.keys().any(is_left_out) {
        return Err(INCOMPLETE);
    }
    let date_time = header("x-amz-date").ok_or(INCOMPLETE)?;
    let time = parse_time(date_time).ok_or(INCOMPLETE)?;
    let distance = now.duration_since(time).or_else(|_| time.duration_since(now)).unwrap_or_default();
    if distance > WINDOW {
        return Err(INVALID);
    }

    let (date, _) = date_time.split_at(8);
    let scope = format!("{date}/{REGION}/{service}/aws4_request");
    let path = utf8_percent_encode(head.uri.path(), ENCODED);
    let mut request = format!("{}\n{path}\n{}\n", head.method, head.uri.query().unwrap_or_default());
    for name in &names {
        let value = header(name).ok_or(INCOMPLETE)?;
        request.extend([name, ":", value.trim(), "\n"]);
    }
    request.extend(["\n", signed, "\n", &hex(sha256(body))]);
    let text = format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{}", hex(sha256(request.as_bytes())));
    let [key, secret, token] = CREDENTIALS;
    let signing_key = [date, REGION, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part).as_ref().to_vec());
    let signature = hex(hmac(&signing_key, &text));
    let expected =
        format!("AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={signature}");
    let is_right = authorization == expected && header("x-amz-security-token") == Some(token);
    is_right.then_some(()).ok_or(INVALID)
}

/// What is encoded in a path, once more than it is on the wire.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

fn sha256(bytes: &[u8]) -> Digest {
    digest(&SHA256, bytes)
}

fn hmac(key: &[u8], text: &str) -> Tag {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or_default();
    bytes.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
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
