//! Whether a token is one, whose it is, and what it allows.

use hub::{clock::now_seconds, failure::Failure, grant::Patterns};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use crate::{config::Config, keys::Keys};

/// API Gateway takes headers and query strings of about this size and no more. Checked before anything is
/// decoded.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far the issuer's clock may be from this one, in seconds.
const LEEWAY: u64 = 60;
/// Signatures by a private key, which only the issuer has. Never an HMAC: its key would be the public one.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// Why nobody is admitted.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The caller's fault: a stable word for the log, which holds nothing of the token.
    Refused(&'static str),
    /// Ours, or the issuer's.
    Failed(Failure),
}

impl From<&'static str> for Stop {
    fn from(why: &'static str) -> Self {
        Self::Refused(why)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a token says that is signed, meant for this hub and in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The sessions that its bearer may join.
    pub(crate) sessions: Patterns,
    /// The sessions that its bearer may send to; `None` is the one joined, and no other.
    pub(crate) send_to: Option<Patterns>,
    /// When that ends, in seconds since 1970.
    pub(crate) expires_at: i64,
}

/// Checks a token from its size to its last claim.
pub(crate) async fn verify(config: &Config, keys: &Keys, token: &str) -> Result<Claims, Stop> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err("token_too_large".into());
    }
    // Nothing of the header is believed: it chooses among the issuer's keys and the algorithms above.
    let header = decode_header(token).map_err(|_| "malformed_token")?;
    if header.crit.is_some() {
        // What its issuer holds to be critical, and this function does not know.
        return Err("critical_header".into());
    }
    if !ALGORITHMS.contains(&header.alg) {
        return Err("unsupported_algorithm".into());
    }
    let key_id = header.kid.ok_or("no_key_id")?;
    let key = keys.find(&key_id, header.alg).await?.ok_or("unknown_key")?;
    let claims = decode::<Map<String, Value>>(token, &key, &validation(config, header.alg))
        .map_err(|error| word(error.kind()))?
        .claims;
    read(config, &claims).map_err(Stop::Refused)
}

fn validation(config: &Config, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&[&config.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation
}

fn word(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidSignature => "bad_signature",
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not_yet_valid",
        ErrorKind::InvalidIssuer => "wrong_issuer",
        ErrorKind::InvalidAudience => "wrong_audience",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => "missing_claim",
        _ => "malformed_token",
    }
}

fn read(config: &Config, claims: &Map<String, Value>) -> Result<Claims, &'static str> {
    // A list that holds the issuer among others passes for it until here.
    if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return Err("wrong_issuer");
    }
    let sessions =
        claims.get(&config.session_claim).and_then(Patterns::from_json).ok_or("bad_session_claim")?;
    let send_to = claims.get(&config.send_claim);
    let send_to = send_to.map(|claim| Patterns::from_json(claim).ok_or("bad_send_claim")).transpose()?;
    let exp = claims.get("exp").and_then(seconds).ok_or("missing_claim")?;
    let expires_at = end(exp, now_seconds()).ok_or("expired")?;
    Ok(Claims { sessions, send_to, expires_at })
}

/// A token that is accepted after its end, because clocks differ, admits for as long as it would be accepted:
/// a connection without any time would be open and yet out of reach. `None` for one that would have none even so.
fn end(exp: i64, now: i64) -> Option<i64> {
    [exp, exp.saturating_add_unsigned(LEEWAY)].into_iter().find(|end| *end > now)
}

/// JSON knows one kind of number: some issuers write a time with a decimal point.
fn seconds(number: &Value) -> Option<i64> {
    let whole = number.as_u64().or_else(|| {
        let time = std::time::Duration::try_from_secs_f64(number.as_f64()?).ok()?;
        Some(time.as_secs())
    })?;
    Some(i64::try_from(whole).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
