//! The public keys of an issuer: fetched when needed, and cached.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use http::{Request, StatusCode, Uri, header, uri};
use hub::{
    clock::Moment,
    failure::{Failure, chain},
    http::{Host, empty},
    tls::Tls,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    config::{Issuer, KeysAt, key_url},
    jwk::{Algorithm, Key},
};

/// The issuer is asked for its keys at most this often, however many tokens name an unknown key.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// The pause after a first failure. It doubles with each further one, up to [`REFRESH_EVERY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest pause that an issuer's `Retry-After` can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// A key that the issuer has withdrawn is used no longer than this, if the issuer answers.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long to wait for newer keys if the known ones already decide. An attempt after one that was cut short has its
/// full time, so that a slow issuer's keys are refreshed in the end.
const PATIENCE: Duration = Duration::from_secs(1);
/// Short enough that two requests, discovery and keys, fit into the function's timeout.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// A key set has a few KiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const MAX_SHOWN_CHARS: usize = 200;
/// The most keys that a signature is checked with.
const MOST_TRIED: usize = 10;

/// The signed part of a token, and its signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedMessage<'a> {
    /// The header's `kid`.
    pub(crate) key_id: Option<&'a str>,
    pub(crate) algorithm: Algorithm,
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// The result of checking a signature with the known keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureCheck {
    Valid,
    /// The key that the token names did not make it.
    Invalid,
    /// No known key made it.
    UnknownKey {
        /// Whether there were keys to check it with: keys without an id, or any keys if the token names none.
        tried: bool,
    },
}

/// The key set of one issuer.
#[derive(Debug)]
pub(crate) struct Keys {
    issuer: String,
    keys_at: KeysAt,
    tls: Tls,
    // A function handles one event at a time: this is never borrowed across an await.
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Vec<Key>,
    fetched: Option<Moment>,
    /// The last attempt, and the pause before the next one.
    attempt: Option<Moment>,
    pause: Duration,
    /// Why it failed, if it did.
    failure: Option<String>,
    /// How many have failed in a row.
    failures: u32,
    /// The address of the keys, found by discovery.
    jwks_uri: Option<Uri>,
}

/// Why the keys could not be fetched.
#[derive(Debug)]
struct FetchError {
    error: anyhow::Error,
    /// The issuer is overloaded, and asks for this pause. Its keys have not moved.
    throttled: Option<Duration>,
}

impl From<anyhow::Error> for FetchError {
    fn from(error: anyhow::Error) -> Self {
        Self { error, throttled: None }
    }
}

impl Keys {
    pub(crate) fn new(issuer: &Issuer, tls: Tls) -> Self {
        Self { issuer: issuer.name.clone(), keys_at: issuer.keys_at.clone(), tls, state: RefCell::default() }
    }

    /// Checks a signature. Fetches newer keys first if the known ones are old or do not find it valid.
    ///
    /// # Errors
    ///
    /// No known key made it, and the issuer's keys cannot be fetched: it may be valid.
    pub(crate) async fn check(&self, signed: SignedMessage<'_>) -> Result<SignatureCheck, Failure> {
        let checked = self.check_known(signed);
        let fresh = self.state.borrow().fetched.is_some_and(|fetched| fetched.age() < MAX_AGE);
        if fresh && checked == SignatureCheck::Valid {
            return Ok(checked);
        }
        let answered = !matches!(checked, SignatureCheck::UnknownKey { .. });
        let failure = if answered && self.state.borrow().failures == 0 {
            timeout(PATIENCE, self.refresh()).await.unwrap_or_else(|_| {
                let error = format!("no answer within {PATIENCE:?}: the earlier keys stay in use");
                tracing::warn!(issuer = self.issuer, error, "keys not refreshed");
                None
            })
        } else {
            self.refresh().await
        };
        match (self.check_known(signed), failure) {
            (SignatureCheck::UnknownKey { .. }, Some(failure)) => Err(no_keys(&failure)),
            (checked, _) => Ok(checked),
        }
    }

    /// Checks a signature with the known keys.
    fn check_known(&self, signed: SignedMessage<'_>) -> SignatureCheck {
        let state = self.state.borrow();
        let has_that_id = |key: &&Key| signed.key_id.is_some() && key.id.as_deref() == signed.key_id;
        let named = state.known.iter().any(|key| has_that_id(&key));
        let could_be =
            |key: &&Key| if named { has_that_id(key) } else { signed.key_id.is_none() || key.id.is_none() };
        let fitting = state.known.iter().filter(could_be).filter(|key| key.fits(signed.algorithm));
        let mut fitting = fitting.take(MOST_TRIED).peekable();
        let tried = fitting.peek().is_some();
        if fitting.any(|key| key.verifies(signed.signature, signed.message, signed.algorithm)) {
            SignatureCheck::Valid
        } else if tried && named {
            SignatureCheck::Invalid
        } else {
            SignatureCheck::UnknownKey { tried }
        }
    }

    /// Fetches the key set again unless it is too early. Returns why the last attempt failed, if it did. The known keys
    /// stay in use until there are newer ones.
    pub(crate) async fn refresh(&self) -> Option<String> {
        {
            let mut state = self.state.borrow_mut();
            if state.attempt.is_some_and(|newest| newest.age() < state.pause) {
                return state.failure.clone();
            }
            state.failures = state.failures.saturating_add(1);
            // Noted before the attempt, so that one that is cut short counts as failed: otherwise each handshake would
            // make another.
            state.failed("the last attempt was cut short, and it is too early for another", Duration::ZERO);
        }
        let fetched = self.fetch().await;
        let mut state = self.state.borrow_mut();
        let FetchError { error, throttled } = match fetched {
            Ok(()) => {
                state.attempt = state.fetched;
                (state.pause, state.failures, state.failure) = (REFRESH_EVERY, 0, None);
                return None;
            }
            Err(problem) => problem,
        };
        if throttled.is_none() {
            // The keys may have moved.
            state.jwks_uri = None;
        }
        let error = format!("{error:#}");
        tracing::warn!(issuer = self.issuer, error, "keys not refreshed");
        state.failed(&error, throttled.unwrap_or_default());
        Some(error)
    }

    /// Fetches the set, and replaces the known keys with its usable ones.
    async fn fetch(&self) -> Result<(), FetchError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let discovered = self.state.borrow().jwks_uri.clone();
        let url = match (&self.keys_at, discovered) {
            (KeysAt::Url(url), _) => url.clone(),
            (KeysAt::Discovery(_), Some(url)) => url,
            (KeysAt::Discovery(url), None) => {
                let found = self.discover(url).await?;
                self.state.borrow_mut().jwks_uri = Some(found.clone());
                found
            }
        };
        let document: Document = self.get(&url).await?;
        let mut known = Vec::new();
        let mut reasons = Vec::new();
        // One by one: an unsupported key must not hide the others.
        for key in &document.keys {
            match Key::parse(key) {
                Ok(key) => known.push(key),
                Err(reason) => reasons.push(reason),
            }
        }
        let is_usable = !known.is_empty();
        let mut state = self.state.borrow_mut();
        // Even if none is usable: keys that the issuer has withdrawn must not stay in use.
        state.known = known;
        state.fetched = Some(Moment::now());
        if is_usable {
            return Ok(());
        }
        let at = shown(&url);
        Err(if reasons.is_empty() {
            anyhow!("the key set at {at} is empty")
        } else {
            let reasons = reasons.join("; ");
            anyhow!("the key set at {at} has no key that can check a token: {}", brief(&reasons))
        }
        .into())
    }

    /// The address of the keys, from the issuer's discovery document.
    async fn discover(&self, at: &Uri) -> Result<Uri, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let document: Document = self.get(at).await?;
        if document.issuer != self.issuer {
            let name = brief(&document.issuer);
            return Err(anyhow!(
                "the discovery document names the issuer {name}: set issuer to exactly that, or set jwks_url"
            )
            .into());
        }
        pointed_to(&self.issuer, &document.jwks_uri).map_err(|problem| {
            anyhow!("the issuer's jwks_uri is {}: {problem}", brief(&document.jwks_uri)).into()
        })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &Uri) -> Result<T, FetchError> {
        let fetching = async {
            // A connection for this one request: it would not survive the freeze between two invocations.
            let host = Host::new(url, self.tls.clone(), Duration::ZERO)?;
            // `url.path()` has a slash, which an address may leave out before its query string.
            let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
            let request = Request::get(format!("{}{query}", url.path()))
                .header(header::ACCEPT, "application/json")
                .header(header::USER_AGENT, concat!("websocket-hub/", env!("CARGO_PKG_VERSION")))
                .body(empty())
                .map_err(anyhow::Error::from)?;
            let response =
                host.request(request, MAX_ANSWER_BYTES).await.map_err(|error| anyhow!(chain(&error)))?;
            if response.status() != StatusCode::OK {
                let error = anyhow!("the answer is {} (redirects are not followed)", response.status());
                let retry_after = response.headers().get(header::RETRY_AFTER).and_then(pause);
                let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
                let throttled = busy.contains(&response.status()).then(|| retry_after.unwrap_or_default());
                return Err(FetchError { error, throttled });
            }
            // serde's own text may quote the document.
            serde_json::from_slice(response.body()).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                anyhow!("the answer is not the expected JSON (line {line}, column {column})").into()
            })
        };
        let fetched = timeout(REQUEST_TIMEOUT, fetching)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {REQUEST_TIMEOUT:?}").into()));
        fetched.map_err(|problem: FetchError| FetchError {
            error: problem.error.context(format!("cannot read {}", shown(url))),
            ..problem
        })
    }
}

impl State {
    /// Notes a failed attempt and the pause before the next one, which is at least as long as the issuer asks for. A
    /// random part keeps many instances apart.
    fn failed(&mut self, why: &str, asked_for: Duration) {
        let doubled = FIRST_RETRY * 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let pause = doubled.min(REFRESH_EVERY).max(asked_for.min(LONGEST_PAUSE));
        self.pause = pause.mul_f64(1.0 + fastrand::f64() / 4.0);
        self.attempt = Some(Moment::now());
        self.failure = Some(why.to_owned());
    }
}

/// The failure if the issuer's keys cannot be fetched and the known ones do not suffice.
pub(crate) fn no_keys(why: &str) -> Failure {
    Failure::other("keys", format!("could not get the issuer's keys: {why}"))
}

/// `Retry-After`: seconds, or a date.
fn pause(value: &header::HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let until = |date: SystemTime| date.duration_since(SystemTime::now()).unwrap_or_default();
    text.parse().map(Duration::from_secs).ok().or_else(|| httpdate::parse_http_date(text).map(until).ok())
}

/// Checks the address of the keys in an issuer's discovery document. Only an issuer on this machine may name an address
/// on this machine.
fn pointed_to(issuer: &str, jwks_uri: &str) -> Result<Uri, &'static str> {
    let uri = key_url(jwks_uri)?;
    if issuer.split_once("://").map(|(scheme, _)| scheme) != uri.scheme_str() {
        return Err("it must begin with the same https:// or http:// as the issuer");
    }
    Ok(uri)
}

/// The address without its query string, which may hold a secret.
fn shown(url: &Uri) -> String {
    let whole = format!("{}{}", url.authority().map_or("", uri::Authority::as_str), url.path());
    brief(&whole).to_owned()
}

/// A text of the issuer, shortened for a log line.
fn brief(text: &str) -> &str {
    text.char_indices().nth(MAX_SHOWN_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
pub(crate) mod tests;
