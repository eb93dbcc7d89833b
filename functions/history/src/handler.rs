//! The `history` route: answers with the messages that a session's history holds.

use std::time::Instant;

use anyhow::Context as _;
use hub::{
    aws::SdkConfig,
    config::Variables,
    deadline::Deadline,
    event::{self, GatewayAnswer, Sender, SocketFrame},
    failure::{Failure, PUBLIC_TEXT},
    history::{History, Reading},
    invocation::{Origin, Stop},
    metrics::{self, Metric},
    protocol::{Code, Refusal, SessionId},
    registry::Registry,
    telemetry,
};
use lambda_runtime::Context;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::question::Question;

const ROUTE: &str = "history";

/// Questions that were answered.
const READS: Metric = Metric::count("HistoryReads");
/// Answers of which it is not proven that nothing is missing.
const INCOMPLETE: Metric = Metric::count("HistoryIncomplete");

/// What outlives an invocation.
pub(crate) struct Handler {
    registry: Registry,
    history: History,
    require_grant: bool,
}

/// `{"type":"history",…}`: the answer to a question.
#[derive(Serialize)]
#[serde(tag = "type", rename = "history")]
struct Answer<'a> {
    id: &'a str,
    session: &'a SessionId,
    #[serde(flatten)]
    reading: &'a Reading,
}

impl Handler {
    /// Reads what the tables need, and `REQUIRE_GRANT`.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let history = History::to_read(variables, sdk)?;
        Ok(Self {
            registry: Registry::new(variables, sdk)?,
            history: history.context(
                "environment variable MESSAGES_TABLE is missing: set it to the name of the table of messages",
            )?,
            require_grant: variables.require_grant()?,
        })
    }

    /// A failure of ours is an answer too: this function cannot post to whoever asked.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<GatewayAnswer, Failure> {
        let started = Instant::now();
        let SocketFrame { sender, text } = SocketFrame::parse(payload)
            .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
        let deadline = Deadline::of_route(context.deadline());
        let origin = Origin { route: ROUTE, connection_id: Some(&sender.connection_id), deadline, started };
        let mut known_id = None;
        let answering = async {
            let question = event::text(text.as_deref()).and_then(Question::parse);
            if let Some(why) = sender.why_over(self.require_grant) {
                let id = question.map_or_else(|refusal| refusal.id, |question| question.id);
                return Err(Refusal::new(Code::NotConnected, why, id).into());
            }
            let question = question?;
            let id = question.id.clone().unwrap_or_else(|| context.request_id.clone());
            self.answer(&origin, &sender, &question, known_id.insert(id)).await
        };
        let stop = match answering.await {
            Ok(answer) => return Ok(answer),
            Err(stop) => stop,
        };
        Ok(GatewayAnswer::frame(&match stop {
            Stop::Refused(refusal) => {
                origin.log_refusal(&refusal);
                refusal
            }
            Stop::Failed(failure) => {
                origin.log_failure(&failure);
                Refusal::new(Code::Internal, PUBLIC_TEXT, known_id)
            }
        }))
    }

    async fn answer(
        &self,
        origin: &Origin<'_>,
        sender: &Sender,
        question: &Question,
        id: &str,
    ) -> Result<GatewayAnswer, Stop> {
        let Question { session, range, .. } = question;
        let own = sender.session(&self.registry, origin.deadline, id).await?;
        if *session != own {
            let text = format!(
                "the history of \"{session}\" is not this connection's to read: ask for that of its own session"
            );
            return Err(Refusal::new(Code::Forbidden, text, Some(id.to_owned())).into());
        }
        let reading = origin.deadline.bound(self.history.read(session, range)).await?;
        log(origin, session, &reading);
        Ok(GatewayAnswer::frame(&Answer { id, session, reading: &reading }))
    }
}

fn log(origin: &Origin<'_>, session: &SessionId, reading: &Reading) {
    metrics::count(READS);
    if reading.complete == Some(false) {
        metrics::count(INCOMPLETE);
    }
    tracing::info!(
        route = ROUTE,
        connection_id = origin.id(),
        session_id = session.as_str(),
        messages = reading.messages.len(),
        bytes = reading.messages.iter().map(|frame| frame.get().len()).sum::<usize>(),
        more = reading.more,
        complete = reading.complete,
        sealed = reading.sealed,
        duration_ms = telemetry::millis_since(origin.started),
        "history"
    );
}
