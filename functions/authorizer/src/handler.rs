//! Admits or denies a handshake, by its token.

use std::{collections::BTreeMap, time::Instant};

use hub::{
    config::Variables,
    deadline::Deadline,
    event::Admission,
    failure::{Failure, chain},
    grant::{Grant, Patterns},
    metrics::{self, Metric},
    protocol::SessionId,
    telemetry, tls,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::time::timeout_at;

use crate::{
    bearer,
    config::{self, Issuer},
    keys::{Keys, SignatureCheck, no_keys},
    verify::{AuthError, Claims, Denial, Token},
};

const ROUTE: &str = "authorizer";

/// Handshakes that were admitted.
const HANDSHAKES_ADMITTED: Metric = Metric::count("HandshakesAdmitted");
/// Handshakes that were denied.
const HANDSHAKES_REFUSED: Metric = Metric::count("HandshakesRefused");

/// The most bytes of the context. API Gateway answers 500 if the authorizer's answer has more than 8 KB; the rest of it
/// is small.
const MAX_CONTEXT_BYTES: usize = 7_500;

/// Lives as long as the process.
pub(crate) struct Authorizer {
    issuers: Vec<(Issuer, Keys)>,
}

/// The answer of the function.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// The answer to API Gateway.
    Handshake(Handshake),
    /// The answer to an operator.
    Explanation(Explanation),
}

/// Whether a handshake with a token would be admitted, and why not. Holds no part of the token.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    admitted: bool,
    /// The reason, as in the log.
    why: Option<&'static str>,
    /// The token's issuer, if the hub knows it.
    issuer: Option<String>,
    session: Option<SessionId>,
    send_to: Option<Value>,
    subscribe_to: Option<Value>,
    /// Seconds since 1970.
    expires_at: Option<i64>,
}

/// The answer of a REQUEST authorizer.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshake {
    /// The session, and no other claim, since the gateway's access log shows it.
    principal_id: String,
    policy_document: Policy,
    /// The grant, which API Gateway adds to the events of the other functions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    context: BTreeMap<&'static str, String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

impl Handshake {
    fn allow(method_arn: &str, grant: &Grant) -> Self {
        Self::new("Allow", method_arn, grant.session.to_string(), grant.to_context())
    }

    fn deny(method_arn: &str) -> Self {
        Self::new("Deny", method_arn, "nobody".into(), BTreeMap::new())
    }

    fn new(
        effect: &'static str,
        method_arn: &str,
        principal_id: String,
        context: BTreeMap<&'static str, String>,
    ) -> Self {
        let statement = Statement { action: "execute-api:Invoke", effect, resource: method_arn.to_owned() };
        Self {
            principal_id,
            policy_document: Policy { version: "2012-10-17", statement: [statement] },
            context,
        }
    }
}

/// The result of checking a token.
struct TokenCheck<'a> {
    /// Its issuer, once that is known.
    issuer: Option<&'a str>,
    result: Result<Grant, AuthError>,
}

impl Authorizer {
    /// # Errors
    ///
    /// A variable is missing or malformed, or the trust anchors cannot be read.
    pub(crate) fn new(variables: &Variables) -> anyhow::Result<Self> {
        let issuers = config::read(variables)?;
        let addresses: Vec<_> = issuers.iter().map(|issuer| Some(issuer.address())).collect();
        let tls = tls::config(&addresses, variables)?;
        let keys: Vec<_> = issuers.iter().map(|issuer| Keys::new(issuer, tls.clone())).collect();
        Ok(Self { issuers: issuers.into_iter().zip(keys).collect() })
    }

    /// Fetches the keys before the first handshake if there is a single issuer. Of several issuers, only those whose
    /// tokens arrive are asked.
    pub(crate) async fn prepare(&self) {
        if let [(_, keys)] = self.issuers.as_slice() {
            let _ = keys.refresh().await;
        }
    }

    /// Answers a handshake, or an operator's request to explain a token.
    ///
    /// # Errors
    ///
    /// The event is neither, or the issuer's keys cannot be fetched.
    pub(crate) async fn handle(&self, payload: &RawValue, deadline: Deadline) -> Result<Answer, Failure> {
        let started = Instant::now();
        let failure = match Admission::parse(payload) {
            Ok(admission) => return self.admit(&admission, deadline, started).await.map(Answer::Handshake),
            Err(failure) => failure,
        };
        /// `{"explain":{"token":…,"session_id":…?}}`, which API Gateway never sends. Only operators may invoke this function.
        #[derive(Deserialize)]
        struct ExplainRequest {
            explain: Option<Value>,
        }
        if let Ok(ExplainRequest { explain: Some(about) }) = serde_json::from_str(payload.get()) {
            return Ok(Answer::Explanation(self.explain(&about, deadline).await));
        }
        telemetry::failed(ROUTE, "", &failure, started);
        Err(failure)
    }

    /// Every denied handshake gets the same 403; the reason is in the log. If the issuer's keys cannot be fetched, that
    /// is a failure of the hub, a 500, since the token may be valid.
    async fn admit(
        &self,
        admission: &Admission,
        deadline: Deadline,
        started: Instant,
    ) -> Result<Handshake, Failure> {
        let Admission { method_arn, connection_id, .. } = admission;
        let TokenCheck { issuer, result } = match bearer::find(admission) {
            Ok(token) => self.check_token(token, &admission.session, deadline).await,
            Err(why) => TokenCheck { issuer: None, result: Err(why.into()) },
        };
        let duration_ms = telemetry::millis_since(started);
        match result {
            Ok(grant) => {
                let session_id = grant.session.as_str();
                metrics::count(HANDSHAKES_ADMITTED);
                tracing::info!(route = ROUTE, connection_id, issuer, session_id, duration_ms, "admitted");
                Ok(Handshake::allow(method_arn, &grant))
            }
            Err(AuthError::Denied(Denial { why, claim })) => {
                metrics::count(HANDSHAKES_REFUSED);
                tracing::info!(route = ROUTE, connection_id, why, issuer, claim, duration_ms, "refused");
                Ok(Handshake::deny(method_arn))
            }
            Err(AuthError::Failed(failure)) => {
                telemetry::failed(ROUTE, connection_id, &failure, started);
                Err(failure)
            }
        }
    }

    async fn explain(&self, about: &Value, deadline: Deadline) -> Explanation {
        let session = match about.get("session_id") {
            None | Some(Value::Null) => Ok(None),
            Some(name) => name.as_str().and_then(SessionId::parse).map(Some).ok_or("malformed"),
        };
        let TokenCheck { issuer, result } = match about.get("token").and_then(Value::as_str) {
            Some(token) => self.check_token(token, &session, deadline).await,
            None => TokenCheck { issuer: None, result: Err("no_token".into()) },
        };
        let (why, claim, error) = match &result {
            Ok(_) => (None, None, None),
            Err(AuthError::Denied(Denial { why, claim })) => (Some(*why), claim.as_deref(), None),
            Err(AuthError::Failed(failure)) => (Some(failure.cause()), None, Some(chain(failure))),
        };
        tracing::info!(route = ROUTE, why, issuer, claim, error, "explained");
        let of_issuer = Explanation { why, issuer: issuer.map(str::to_owned), ..Explanation::default() };
        match result {
            Ok(grant) => Explanation {
                admitted: true,
                send_to: Some(grant.send_to.to_json()),
                subscribe_to: Some(grant.subscribe_to.to_json()),
                expires_at: Some(grant.expires_at),
                session: Some(grant.session),
                ..of_issuer
            },
            Err(_) => of_issuer,
        }
    }

    async fn check_token(
        &self,
        token: &str,
        session: &Result<Option<SessionId>, &'static str>,
        deadline: Deadline,
    ) -> TokenCheck<'_> {
        let of_none = |why: &'static str| TokenCheck { issuer: None, result: Err(why.into()) };
        let token = match Token::parse(token) {
            Ok(token) => token,
            Err(why) => return of_none(why),
        };
        let Some(name) = token.issuer() else { return of_none("no_issuer") };
        let Some((issuer, keys)) = self.issuers.iter().find(|(issuer, _)| issuer.name == name) else {
            return of_none("wrong_issuer");
        };
        let result = timeout_at(deadline.answer_by, grant(&token, session, issuer, keys));
        let result = result.await.unwrap_or_else(|_| {
            let text = "the function's time ran out: check whether the issuer is slow, or raise the timeout";
            Err(AuthError::Failed(no_keys(text)))
        });
        TokenCheck { issuer: Some(&issuer.name), result }
    }
}

/// The grant of a token of this issuer, for a handshake that asks for this session.
async fn grant(
    token: &Token<'_>,
    session: &Result<Option<SessionId>, &'static str>,
    issuer: &Issuer,
    keys: &Keys,
) -> Result<Grant, AuthError> {
    match keys.check(token.signed()).await.map_err(AuthError::Failed)? {
        SignatureCheck::Valid => {}
        SignatureCheck::Invalid | SignatureCheck::UnknownKey { tried: true } => {
            return Err("bad_signature".into());
        }
        SignatureCheck::UnknownKey { tried: false } => return Err("unknown_key".into()),
    }
    let claims = token.read(issuer)?;
    let session = choose(session, &claims)?;
    let own = || Patterns::exactly(session.clone());
    let grant = Grant {
        send_to: claims.send_to.unwrap_or_else(own),
        subscribe_to: claims.subscribe_to.unwrap_or_else(own),
        expires_at: claims.expires_at,
        session,
    };
    let context = serde_json::to_vec(&grant.to_context()).map_or(usize::MAX, |json| json.len());
    if context > MAX_CONTEXT_BYTES { Err("grant_too_large".into()) } else { Ok(grant) }
}

/// The requested session, if the token covers it. If none is requested, the only session that the token covers.
fn choose(
    asked: &Result<Option<SessionId>, &'static str>,
    claims: &Claims,
) -> Result<SessionId, &'static str> {
    match asked {
        Err(_) => Err("malformed_session"),
        Ok(Some(session)) if claims.sessions.covers(session) => Ok(session.clone()),
        Ok(Some(_)) => Err("session_not_allowed"),
        Ok(None) => claims.sessions.only().cloned().ok_or("no_session"),
    }
}

#[cfg(test)]
mod tests;
