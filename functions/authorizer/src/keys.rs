//! The issuer's public keys: fetched when they are needed, kept for as long as they serve.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use http::{Request, StatusCode, Uri, header};
use hub::{
    clock::Moment,
    failure::{Failure, chain},
    http::Host,
    tls::Tls,
};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use tokio::time::timeout;

use crate::config::{Config, key_url};

/// However many unknown keys are asked for, the issuer is asked no more often than this.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// Unless it has never answered: until then nobody is admitted at all.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A key that the issuer has withdrawn serves no longer than this, if the issuer can be asked.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Where a key is known, nobody waits longer to hear whether the issuer has withdrawn it.
const STALE_PATIENCE: Duration = Duration::from_secs(1);
/// Two requests, discovery and keys, fit into the function's time-out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// A key set is a few KiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const MAX_SHOWN_CHARS: usize = 200;

/// Keys by the algorithm that they are for and their id: a token cannot put a key to another use.
type KeySet = HashMap<(Algorithm, String), Arc<DecodingKey>>;

/// The key set of one issuer.
#[derive(Debug)]
pub(crate) struct Keys {
    issuer: String,
    jwks_url: Option<Uri>,
    tls: Tls,
    /// What was fetched last, and when. Never held for longer than a look.
    known: Mutex<Option<(KeySet, Moment)>>,
    /// The newest attempt. Held while it is under way, so that all who need it wait for the same one.
    attempt: tokio::sync::Mutex<Option<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    at: Moment,
    /// Why it failed, if it did.
    failure: Option<String>,
}

impl Keys {
    pub(crate) fn new(config: &Config, tls: Tls) -> Self {
        Self {
            issuer: config.issuer.clone(),
            jwks_url: config.jwks_url.clone(),
            tls,
            known: Mutex::new(None),
            attempt: tokio::sync::Mutex::new(None),
        }
    }

    /// The key of that id and for that algorithm, `None` if the issuer has no such key, and a failure if it
    /// cannot be asked.
    pub(crate) async fn find(
        &self,
        id: &str,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<DecodingKey>>, Failure> {
        let failure = match self.look(id, algorithm) {
            (Some(key), true) => return Ok(Some(key)),
            (Some(_), false) => timeout(STALE_PATIENCE, self.refresh()).await.unwrap_or_else(|_| {
                let error = format!("no answer within {STALE_PATIENCE:?}: the former keys serve on");
                tracing::warn!(error, "keys not refreshed");
                None
            }),
            (None, _) => self.refresh().await,
        };
        match (self.look(id, algorithm).0, failure) {
            (None, Some(failure)) => Err(no_keys(&failure)),
            (key, _) => Ok(key),
        }
    }

    /// The key, and whether the set that it would be in is fresh.
    fn look(&self, id: &str, algorithm: Algorithm) -> (Option<Arc<DecodingKey>>, bool) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((keys, fetched_at)) = &*known else { return (None, false) };
        (keys.get(&(algorithm, id.to_owned())).cloned(), fetched_at.age() < MAX_AGE)
    }

    /// Fetches the key set anew unless that has just been tried, and says why the newest attempt failed. The
    /// former set stays where there is no newer one.
    pub(crate) async fn refresh(&self) -> Option<String> {
        let mut attempt = self.attempt.lock().await;
        let never_answered = self.known.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let pause = if never_answered { FIRST_RETRY } else { REFRESH_EVERY };
        if let Some(newest) = attempt.as_ref().filter(|newest| newest.at.age() < pause) {
            return newest.failure.clone();
        }
        // Ahead of the question, so that one which is cut short counts too: else each handshake would ask again.
        let cut_short = "the newest attempt was cut short, and it is too early for another";
        *attempt = Some(Attempt { at: Moment::now(), failure: Some(cut_short.into()) });
        let failure = match self.fetch_keys().await {
            Ok(keys) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                *known = Some((keys, Moment::now()));
                None
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "keys not refreshed");
                Some(error)
            }
        };
        *attempt = Some(Attempt { at: Moment::now(), failure: failure.clone() });
        failure
    }

    async fn fetch_keys(&self) -> anyhow::Result<KeySet> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let document: Document = self.get(url).await?;
        // One by one: a key of a kind that is not known here must not hide the others.
        Ok(document.keys.into_iter().filter_map(usable).collect())
    }

    /// Where the issuer's own document says that its keys are.
    async fn discover(&self) -> anyhow::Result<Uri> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document: Document = self.get(url.parse()?).await?;
        if document.issuer != self.issuer {
            let name = brief(&document.issuer);
            bail!("the issuer calls itself {name}: set AUTH_ISSUER to that, to the letter");
        }
        pointed_to(&self.issuer, &document.jwks_uri)
            .map_err(|problem| anyhow!("the issuer's jwks_uri is {}: {problem}", brief(&document.jwks_uri)))
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: Uri) -> anyhow::Result<T> {
        // Without the query string, which might hold a secret.
        let shown = format!("{}{}", url.authority().map_or("", http::uri::Authority::as_str), url.path());
        let shown = brief(&shown);
        let fetching = async {
            // For this one request: a connection would not outlive the freeze between two invocations.
            let host = Host::new(&url, self.tls.clone(), Duration::ZERO)?;
            let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            let request =
                Request::get(path).header(header::ACCEPT, "application/json").body(Default::default())?;
            let response =
                host.request(request, MAX_ANSWER_BYTES).await.map_err(|error| anyhow!(chain(&error)))?;
            if response.status() != StatusCode::OK {
                bail!("the answer is {} (redirects are not followed)", response.status());
            }
            // serde's own text may quote the document: say only where it stopped.
            serde_json::from_slice(response.body()).map_err(|error| {
                anyhow!(
                    "the answer is not such a document (line {}, column {})",
                    error.line(),
                    error.column()
                )
            })
        };
        timeout(REQUEST_TIMEOUT, fetching)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {REQUEST_TIMEOUT:?}")))
            .with_context(|| format!("cannot read {shown}"))
    }
}

/// The issuer did not say what its keys are, and the one that is needed is not known from before.
pub(crate) fn no_keys(why: &str) -> Failure {
    Failure::other("keys", format!("could not get the issuer's keys: {why}"))
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

/// Text of the issuer's own, as much of it as a log line should hold.
fn brief(text: &str) -> &str {
    text.char_indices().nth(MAX_SHOWN_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// A key that can verify a token's signature; `None` for all others.
fn usable(key: serde_json::Value) -> Option<((Algorithm, String), Arc<DecodingKey>)> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let for_signatures = key.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
        && key.common.key_operations.as_ref().is_none_or(|of| of.contains(&KeyOperations::Verify))
        && key.common.key_algorithm.is_none_or(|of| of == algorithm.into());
    let decoding = DecodingKey::from_jwk(&key).ok().filter(|_| for_signatures)?;
    Some(((algorithm, key.common.key_id?), Arc::new(decoding)))
}

#[cfg(test)]
pub(crate) mod tests;
