//! Admits a handshake or turns it away.

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
    config::{self, Issuer},
    keys::{Keys, Verdict, no_keys},
    token,
    verify::{Claims, Refusal, Stop, Token},
};

const ROUTE: &str = "authorizer";

/// Handshakes that were admitted.
const HANDSHAKES_ADMITTED: Metric = Metric::count("HandshakesAdmitted");
/// Handshakes that were turned away.
const HANDSHAKES_REFUSED: Metric = Metric::count("HandshakesRefused");

/// API Gateway takes no larger answer than 8 KB, and answers 500 to one that is. The rest of the answer is a few names.
const MAX_CONTEXT_BYTES: usize = 7_500;

/// What outlives an invocation.
pub(crate) struct Authorizer {
    issuers: Vec<(Issuer, Keys)>,
}

/// What the function answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// To API Gateway.
    Handshake(Handshake),
    /// To an operator.
    Explanation(Explanation),
}

/// What would become of a handshake with a token, without any part of the token.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    admitted: bool,
    /// The word that stands in the log of a refusal.
    why: Option<&'static str>,
    /// Whose token it is, if it is of one that the hub knows.
    issuer: Option<String>,
    session: Option<SessionId>,
    send_to: Option<Value>,
    subscribe_to: Option<Value>,
    /// Seconds since 1970.
    expires_at: Option<i64>,
}

/// What a REQUEST authorizer answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshake {
    /// Shown in the gateway's access log, so it is the session and no claim of another kind.
    principal_id: String,
    policy_document: Policy,
    /// What the other functions find in their events.
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

/// What was found of a token.
struct Finding<'a> {
    /// Its issuer, once that is known.
    issuer: Option<&'a str>,
    result: Result<Grant, Stop>,
}

impl Authorizer {
    /// # Errors
    ///
    /// A variable is missing or malformed, or the certificates to trust cannot be read.
    pub(crate) fn new(variables: &Variables) -> anyhow::Result<Self> {
        let issuers = config::read(variables)?;
        let addresses: Vec<_> = issuers.iter().map(|issuer| Some(issuer.address())).collect();
        let tls = tls::config(&addresses, variables)?;
        let keys: Vec<_> = issuers.iter().map(|issuer| Keys::new(issuer, tls.clone())).collect();
        Ok(Self { issuers: issuers.into_iter().zip(keys).collect() })
    }

    /// Fetches the keys ahead of the first handshake, where they can only be those of one issuer. Of several, only that
    /// of the token at hand is ever asked.
    pub(crate) async fn prepare(&self) {
        if let [(_, keys)] = self.issuers.as_slice() {
            let _ = keys.refresh().await;
        }
    }

    /// Answers a handshake or a question.
    ///
    /// # Errors
    ///
    /// The event is neither, or the issuer's keys cannot be had.
    pub(crate) async fn handle(&self, payload: &RawValue, deadline: Deadline) -> Result<Answer, Failure> {
        let started = Instant::now();
        let failure = match Admission::parse(payload) {
            Ok(admission) => return self.admit(&admission, deadline, started).await.map(Answer::Handshake),
            Err(failure) => failure,
        };
        /// `{"explain":{"token":…,"session_id":…?}}`, which API Gateway never sends: only an operator can ask, by IAM.
        #[derive(Deserialize)]
        struct Question {
            explain: Option<Value>,
        }
        if let Ok(Question { explain: Some(about) }) = serde_json::from_str(payload.get()) {
            return Ok(Answer::Explanation(self.explain(&about, deadline).await));
        }
        telemetry::failed(ROUTE, "", &failure, started);
        Err(failure)
    }

    /// Whoever is turned away, for whatever reason, gets the same 403: the reason is in the log. Only where the
    /// issuer's keys cannot be had is it a failure of ours, a 500, since the token may well be good.
    async fn admit(
        &self,
        admission: &Admission,
        deadline: Deadline,
        started: Instant,
    ) -> Result<Handshake, Failure> {
        let Admission { method_arn, connection_id, .. } = admission;
        let Finding { issuer, result } = match token::find(admission) {
            Ok(token) => self.judge(token, &admission.session, deadline).await,
            Err(why) => Finding { issuer: None, result: Err(why.into()) },
        };
        let duration_ms = telemetry::millis_since(started);
        match result {
            Ok(grant) => {
                let session_id = grant.session.as_str();
                metrics::count(HANDSHAKES_ADMITTED);
                tracing::info!(route = ROUTE, connection_id, issuer, session_id, duration_ms, "admitted");
                Ok(Handshake::allow(method_arn, &grant))
            }
            Err(Stop::Refused(Refusal { why, claim })) => {
                metrics::count(HANDSHAKES_REFUSED);
                tracing::info!(route = ROUTE, connection_id, why, issuer, claim, duration_ms, "refused");
                Ok(Handshake::deny(method_arn))
            }
            Err(Stop::Failed(failure)) => {
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
        let Finding { issuer, result } = match about.get("token").and_then(Value::as_str) {
            Some(token) => self.judge(token, &session, deadline).await,
            None => Finding { issuer: None, result: Err("no_token".into()) },
        };
        let (why, claim, error) = match &result {
            Ok(_) => (None, None, None),
            Err(Stop::Refused(Refusal { why, claim })) => (Some(*why), claim.as_deref(), None),
            Err(Stop::Failed(failure)) => (Some(failure.cause()), None, Some(chain(failure))),
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

    async fn judge(
        &self,
        token: &str,
        session: &Result<Option<SessionId>, &'static str>,
        deadline: Deadline,
    ) -> Finding<'_> {
        let of_none = |why: &'static str| Finding { issuer: None, result: Err(why.into()) };
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
            let text = "the function's time ran out; raise it, or see why the issuer is slow";
            Err(Stop::Failed(no_keys(text)))
        });
        Finding { issuer: Some(&issuer.name), result }
    }
}

/// What a token of this issuer grants to a handshake that asks for this session.
async fn grant(
    token: &Token<'_>,
    session: &Result<Option<SessionId>, &'static str>,
    issuer: &Issuer,
    keys: &Keys,
) -> Result<Grant, Stop> {
    match keys.check(token.signed()).await.map_err(Stop::Failed)? {
        Verdict::Good => {}
        Verdict::Bad | Verdict::Unknown { tried: true } => return Err("bad_signature".into()),
        Verdict::Unknown { tried: false } => return Err("unknown_key".into()),
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

/// The session asked for, if the token covers it; where none is asked for, the only one that the token can mean.
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
