//! Admits a handshake or turns it away.

use std::{collections::BTreeMap, time::Instant};

use hub::{
    config::Variables,
    deadline::Deadline,
    event::Admission,
    failure::Failure,
    grant::{Grant, Patterns},
    metrics::{self, Metric},
    protocol::SessionId,
    telemetry, tls,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout_at;

use crate::{
    config::Config,
    keys::{Keys, no_keys},
    token,
    verify::{Claims, Stop, verify},
};

const ROUTE: &str = "authorizer";

/// Handshakes that were admitted.
const HANDSHAKES_ADMITTED: Metric = Metric::count("HandshakesAdmitted");
/// Handshakes that were turned away.
const HANDSHAKES_REFUSED: Metric = Metric::count("HandshakesRefused");

/// API Gateway takes no larger answer than 8 KB, and answers 500 to one that is.
const MAX_ANSWER_BYTES: usize = 8_000;

/// What outlives an invocation.
pub(crate) struct Authorizer {
    config: Config,
    keys: Keys,
}

/// What a REQUEST authorizer answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
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

impl Answer {
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

    fn bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len())
    }
}

impl Authorizer {
    /// # Errors
    ///
    /// A variable is missing or malformed, or the certificates to trust cannot be read.
    pub(crate) fn new(variables: &Variables) -> anyhow::Result<Self> {
        let config = Config::read(variables)?;
        let tls = tls::config(&config.addresses(), variables)?;
        Ok(Self { keys: Keys::new(&config, tls), config })
    }

    /// Fetches the keys ahead of the first handshake, if the issuer answers.
    pub(crate) async fn prepare(&self) {
        let _ = self.keys.refresh().await;
    }

    /// Whoever is turned away, for whatever reason, gets the same 403: the reason is in the log. Only where the
    /// issuer's keys cannot be had is it a failure of ours, a 500, since the token may well be good.
    pub(crate) async fn handle(&self, payload: &RawValue, deadline: Deadline) -> Result<Answer, Failure> {
        let started = Instant::now();
        let admission = Admission::parse(payload)
            .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
        let Admission { method_arn, connection_id, .. } = &admission;
        let result = timeout_at(deadline.answer_by, self.admit(&admission)).await.unwrap_or_else(|_| {
            let text = "the function's time ran out; raise it, or see why the issuer is slow";
            Err(no_keys(text).into())
        });
        let duration_ms = telemetry::millis_since(started);
        match result {
            Ok((grant, answer)) => {
                let session_id = grant.session.as_str();
                metrics::count(HANDSHAKES_ADMITTED);
                tracing::info!(route = ROUTE, connection_id, session_id, duration_ms, "admitted");
                Ok(answer)
            }
            Err(Stop::Refused(why)) => {
                metrics::count(HANDSHAKES_REFUSED);
                tracing::info!(route = ROUTE, connection_id, why, duration_ms, "refused");
                Ok(Answer::deny(method_arn))
            }
            Err(Stop::Failed(failure)) => {
                telemetry::failed(ROUTE, connection_id, &failure, started);
                Err(failure)
            }
        }
    }

    async fn admit(&self, admission: &Admission) -> Result<(Grant, Answer), Stop> {
        let token = token::find(admission)?;
        let claims = verify(&self.config, &self.keys, token).await?;
        let session = choose(&admission.session, &claims)?;
        let send_to = claims.send_to.unwrap_or_else(|| Patterns::exactly(session.clone()));
        let grant = Grant { session, send_to, expires_at: claims.expires_at };
        let answer = Answer::allow(&admission.method_arn, &grant);
        if answer.bytes() > MAX_ANSWER_BYTES {
            return Err("grant_too_large".into());
        }
        Ok((grant, answer))
    }
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
