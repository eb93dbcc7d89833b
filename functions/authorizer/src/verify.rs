//! Parses a token, and checks its claims: expiry, audience, and what it allows.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hub::{
    clock::now_seconds,
    failure::Failure,
    grant::{PatternError, Patterns},
};
use serde_json::Value;

use crate::{
    config::{Claim, Issuer},
    jwk::Algorithm,
    keys::SignedMessage,
    unique_keys::UniqueKeys,
};

/// About the largest size of headers and query strings that API Gateway accepts. Checked before anything is decoded.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far the issuer's clock may be ahead of this one, in seconds.
const LEEWAY: f64 = 60.0;

/// Why a handshake is not admitted.
#[derive(Debug)]
pub(crate) enum AuthError {
    /// The token is not good enough.
    Denied(Denial),
    /// The hub or the issuer failed.
    Failed(Failure),
}

/// Why a token is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    /// A stable word for the log. It holds nothing of the token.
    pub(crate) why: &'static str,
    /// The claim in question, if the settings name it.
    pub(crate) claim: Option<String>,
}

impl From<&'static str> for Denial {
    fn from(why: &'static str) -> Self {
        Self { why, claim: None }
    }
}

impl<R: Into<Denial>> From<R> for AuthError {
    fn from(refusal: R) -> Self {
        Self::Denied(refusal.into())
    }
}

/// The claims of a token whose signature, audience and times have been checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The sessions that its bearer may join.
    pub(crate) sessions: Patterns,
    /// The sessions that its bearer may send to; `None` is only the one that it joins.
    pub(crate) send_to: Option<Patterns>,
    /// The same for subscriptions.
    pub(crate) subscribe_to: Option<Patterns>,
    /// When the token expires, in seconds since 1970.
    pub(crate) expires_at: i64,
}

/// A parsed token, of which nothing has been checked.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a [u8],
    signature: Vec<u8>,
    claims: Value,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "malformed_token";
        if text.len() > MAX_TOKEN_BYTES {
            return Err("token_too_large");
        }
        let (message, signature) = text.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = message.split_once('.').ok_or(MALFORMED)?;
        let header = object(header).ok_or(MALFORMED)?;
        let claims = object(claims).ok_or(MALFORMED)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
        if header.get("crit").is_some() {
            // The issuer requires the understanding of extensions that the hub does not know.
            return Err("critical_header");
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(MALFORMED)?;
        let algorithm = Algorithm::named(algorithm).ok_or("unsupported_algorithm")?;
        let key_id = match header.get("kid") {
            None | Some(Value::Null) => None,
            Some(id) => Some(id.as_str().ok_or(MALFORMED)?.to_owned()),
        };
        Ok(Self { algorithm, key_id, message: message.as_bytes(), signature, claims })
    }

    /// The issuer that it claims.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    pub(crate) fn signed(&self) -> SignedMessage<'_> {
        SignedMessage {
            key_id: self.key_id.as_deref(),
            algorithm: self.algorithm,
            message: self.message,
            signature: &self.signature,
        }
    }

    /// Checks its claims and returns them. To be called once the signature has been found valid.
    pub(crate) fn read(&self, issuer: &Issuer) -> Result<Claims, Denial> {
        let named = |claim: &str| self.claims.get(claim);
        let now = now_seconds();
        let expires_at = named("exp").and_then(seconds).ok_or("no_expiry")?;
        if expires_at <= now {
            return Err("expired".into());
        }
        if let Some(from) = named("nbf").filter(|from| !from.is_null()) {
            #[allow(clippy::cast_precision_loss, reason = "the time in seconds is exact for a while yet")]
            if from.as_f64().ok_or("bad_nbf")? > now as f64 + LEEWAY {
                return Err("not_yet_valid".into());
            }
        }
        self.check_audience(issuer)?;
        let patterns = |claim: &Claim, malformed, pattern| match claim.of(&self.claims) {
            None => Ok(None),
            Some(value) => Patterns::from_json(value, issuer.patterns).map(Some).map_err(|error| {
                let why = if error == PatternError::Pattern { pattern } else { malformed };
                Denial::about(why, claim)
            }),
        };
        let sessions = patterns(&issuer.session_claim, "bad_session_claim", "pattern_in_session_claim")?;
        Ok(Claims {
            sessions: sessions.ok_or_else(|| Denial::about("no_session_claim", &issuer.session_claim))?,
            send_to: patterns(&issuer.send_claim, "bad_send_claim", "pattern_in_send_claim")?,
            subscribe_to: patterns(
                &issuer.subscribe_claim,
                "bad_subscribe_claim",
                "pattern_in_subscribe_claim",
            )?,
            expires_at,
        })
    }

    fn check_audience(&self, issuer: &Issuer) -> Result<(), Denial> {
        let refused = |why| Denial::about(why, &issuer.audience_claim);
        let claim = issuer.audience_claim.of(&self.claims).ok_or_else(|| refused("no_audience"))?;
        let members: Option<Vec<&str>> = match claim {
            Value::Array(members) => members.iter().map(Value::as_str).collect(),
            one => one.as_str().map(|one| vec![one]),
        };
        let is_ours = |member: &&str| issuer.audiences.iter().any(|audience| audience == member);
        if members.is_some_and(|members| members.iter().any(is_ours)) {
            Ok(())
        } else {
            Err(refused("wrong_audience"))
        }
    }
}

impl Denial {
    fn about(why: &'static str, claim: &Claim) -> Self {
        Self { why, claim: Some(claim.0.clone()) }
    }
}

/// Whole seconds. Some issuers write times with a decimal point.
fn seconds(number: &Value) -> Option<i64> {
    let whole = number.as_u64().or_else(|| {
        let time = std::time::Duration::try_from_secs_f64(number.as_f64()?).ok()?;
        Some(time.as_secs())
    })?;
    Some(i64::try_from(whole).unwrap_or(i64::MAX))
}

/// A part of a token that must be a JSON object.
fn object(part: &str) -> Option<Value> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    let UniqueKeys(value) = serde_json::from_slice(&json).ok()?;
    value.is_object().then_some(value)
}

#[cfg(test)]
mod tests;
