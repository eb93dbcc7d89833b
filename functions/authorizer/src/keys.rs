//! An issuer's public keys: fetched when they are needed, kept for as long as they serve.

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

/// However many unknown keys are asked for, the issuer is asked no more often than this.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// Nor after one that failed, and then no more often than after twice as long each time, up to [`REFRESH_EVERY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest that an issuer's `Retry-After` is heeded.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// A key that the issuer has withdrawn serves no longer than this, if the issuer can be asked.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Where known keys have an answer, nobody waits longer to hear whether newer ones have another. But when an attempt has
/// been cut short by this, the next one is not: an issuer that is slow must be heard at last.
const PATIENCE: Duration = Duration::from_secs(1);
/// Two requests, discovery and keys, fit into the function's timeout.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// A key set is a few KiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const MAX_SHOWN_CHARS: usize = 200;
/// The most keys that a signature is tried with.
const MOST_TRIED: usize = 10;

/// What there is to check of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The header's `kid`.
    pub(crate) key_id: Option<&'a str>,
    pub(crate) algorithm: Algorithm,
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// What the known keys say of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// It is not that of the key that the token names.
    Bad,
    /// It is that of no key here. `tried` are keys without an id, or for a token that names none, which could have been.
    Unknown {
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
    /// The newest attempt, and how long no other follows it.
    attempt: Option<Moment>,
    pause: Duration,
    /// Why it failed, if it did.
    failure: Option<String>,
    /// How many have failed in a row.
    failures: u32,
    /// Where discovery has found the keys.
    jwks_uri: Option<Uri>,
}

/// Why there are no keys.
#[derive(Debug)]
struct Problem {
    error: anyhow::Error,
    /// The issuer is where it was, and wants to be left alone for this long.
    throttled: Option<Duration>,
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self { error, throttled: None }
    }
}

impl Keys {
    pub(crate) fn new(issuer: &Issuer, tls: Tls) -> Self {
        Self { issuer: issuer.name.clone(), keys_at: issuer.keys_at.clone(), tls, state: RefCell::default() }
    }

    /// Checks a signature, with newer keys where the known ones are old or do not find it good.
    ///
    /// # Errors
    ///
    /// It may be good, but it is that of no known key, and the issuer's keys cannot be had.
    pub(crate) async fn check(&self, signed: Signed<'_>) -> Result<Verdict, Failure> {
        let verdict = self.look(signed);
        let fresh = self.state.borrow().fetched.is_some_and(|fetched| fetched.age() < MAX_AGE);
        if fresh && verdict == Verdict::Good {
            return Ok(verdict);
        }
        let answered = !matches!(verdict, Verdict::Unknown { .. });
        let failure = if answered && self.state.borrow().failures == 0 {
            timeout(PATIENCE, self.refresh()).await.unwrap_or_else(|_| {
                let error = format!("no answer within {PATIENCE:?}: the former keys serve on");
                tracing::warn!(issuer = self.issuer, error, "keys not refreshed");
                None
            })
        } else {
            self.refresh().await
        };
        match (self.look(signed), failure) {
            (Verdict::Unknown { .. }, Some(failure)) => Err(no_keys(&failure)),
            (verdict, _) => Ok(verdict),
        }
    }

    /// What the known keys say.
    fn look(&self, signed: Signed<'_>) -> Verdict {
        let state = self.state.borrow();
        let has_that_id = |key: &&Key| signed.key_id.is_some() && key.id.as_deref() == signed.key_id;
        let named = state.known.iter().any(|key| has_that_id(&key));
        let could_be =
            |key: &&Key| if named { has_that_id(key) } else { signed.key_id.is_none() || key.id.is_none() };
        let fitting = state.known.iter().filter(could_be).filter(|key| key.fits(signed.algorithm));
        let mut fitting = fitting.take(MOST_TRIED).peekable();
        let tried = fitting.peek().is_some();
        if fitting.any(|key| key.made(signed.signature, signed.message, signed.algorithm)) {
            Verdict::Good
        } else if tried && named {
            Verdict::Bad
        } else {
            Verdict::Unknown { tried }
        }
    }

    /// Fetches the key set anew unless it is too early for that, and says why the newest attempt failed. Known keys stay
    /// where there are no newer ones.
    pub(crate) async fn refresh(&self) -> Option<String> {
        {
            let mut state = self.state.borrow_mut();
            if state.attempt.is_some_and(|newest| newest.age() < state.pause) {
                return state.failure.clone();
            }
            state.failures = state.failures.saturating_add(1);
            // Ahead of the question, so that one which is cut short counts too: else each handshake would ask again.
            state.failed("the newest attempt was cut short, and it is too early for another", Duration::ZERO);
        }
        let outcome = self.fetch().await;
        let mut state = self.state.borrow_mut();
        let Problem { error, throttled } = match outcome {
            Ok(()) => {
                state.attempt = state.fetched;
                (state.pause, state.failures, state.failure) = (REFRESH_EVERY, 0, None);
                return None;
            }
            Err(problem) => problem,
        };
        if throttled.is_none() {
            // They may have moved.
            state.jwks_uri = None;
        }
        let error = format!("{error:#}");
        tracing::warn!(issuer = self.issuer, error, "keys not refreshed");
        state.failed(&error, throttled.unwrap_or_default());
        Some(error)
    }

    /// Fetches the set, and keeps its usable keys in place of the former ones.
    async fn fetch(&self) -> Result<(), Problem> {
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
        // One by one: a key of a kind that is not known here must not hide the others.
        for key in &document.keys {
            match Key::parse(key) {
                Ok(key) => known.push(key),
                Err(reason) => reasons.push(reason),
            }
        }
        let is_usable = !known.is_empty();
        let mut state = self.state.borrow_mut();
        // Without a usable key too: what the issuer has withdrawn is not served.
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

    /// Where the issuer's own document says that its keys are.
    async fn discover(&self, at: &Uri) -> Result<Uri, Problem> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let document: Document = self.get(at).await?;
        if document.issuer != self.issuer {
            let name = brief(&document.issuer);
            let text = "the issuer calls itself";
            return Err(anyhow!("{text} {name}: set issuer to that, to the letter, or set jwks_url").into());
        }
        pointed_to(&self.issuer, &document.jwks_uri).map_err(|problem| {
            anyhow!("the issuer's jwks_uri is {}: {problem}", brief(&document.jwks_uri)).into()
        })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &Uri) -> Result<T, Problem> {
        let fetching = async {
            // For this one request: a connection would not outlive the freeze between two invocations.
            let host = Host::new(url, self.tls.clone(), Duration::ZERO)?;
            // With a slash, which an address may leave out before its query string.
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
                return Err(Problem { error, throttled });
            }
            // serde's own text may quote the document: say only where it stopped.
            serde_json::from_slice(response.body()).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                anyhow!("the answer is not such a document (line {line}, column {column})").into()
            })
        };
        let outcome = timeout(REQUEST_TIMEOUT, fetching)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {REQUEST_TIMEOUT:?}").into()));
        outcome.map_err(|problem: Problem| Problem {
            error: problem.error.context(format!("cannot read {}", shown(url))),
            ..problem
        })
    }
}

impl State {
    /// The newest attempt has failed: the next one waits, for as long as the issuer asks for too, and those of a crowd of
    /// instances not all equally long.
    fn failed(&mut self, why: &str, asked_for: Duration) {
        let doubled = FIRST_RETRY * 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let pause = doubled.min(REFRESH_EVERY).max(asked_for.min(LONGEST_PAUSE));
        self.pause = pause.mul_f64(1.0 + fastrand::f64() / 4.0);
        self.attempt = Some(Moment::now());
        self.failure = Some(why.to_owned());
    }
}

/// The issuer did not say what its keys are, and the one that is needed is not known from before.
pub(crate) fn no_keys(why: &str) -> Failure {
    Failure::other("keys", format!("could not get the issuer's keys: {why}"))
}

/// `Retry-After`: seconds, or a date.
fn pause(value: &header::HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let until = |date: SystemTime| date.duration_since(SystemTime::now()).unwrap_or_default();
    text.parse().map(Duration::from_secs).ok().or_else(|| httpdate::parse_http_date(text).map(until).ok())
}

/// The address that an issuer's document gives for its keys. Only an issuer on this machine may send the hub to
/// this machine.
fn pointed_to(issuer: &str, jwks_uri: &str) -> Result<Uri, &'static str> {
    let uri = key_url(jwks_uri)?;
    if issuer.split_once("://").map(|(scheme, _)| scheme) != uri.scheme_str() {
        return Err("it must begin with the same https:// or http:// as the issuer");
    }
    Ok(uri)
}

/// Without the query string, which might hold a secret.
fn shown(url: &Uri) -> String {
    let whole = format!("{}{}", url.authority().map_or("", uri::Authority::as_str), url.path());
    brief(&whole).to_owned()
}

/// Text of the issuer's own, as much of it as a log line should hold.
fn brief(text: &str) -> &str {
    text.char_indices().nth(MAX_SHOWN_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
pub(crate) mod tests;
