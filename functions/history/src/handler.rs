//! The `history` route: answers with the messages that a session's history holds.

use std::time::Instant;

use anyhow::Context as _;
use hub::{
    aws::SdkConfig,
    config::Variables,
    event::{GatewayAnswer, Sender, SocketFrame},
    failure::Failure,
    history::{History, Reading},
    invocation::{Origin, Stop},
    metrics::{self, Metric},
    protocol::{Code, Refusal, SessionId},
    responder::{Request, Responder},
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
    responder: Responder,
    history: History,
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
    /// Reads what the tables and the responder need.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let history = History::to_read(variables, sdk)?;
        Ok(Self {
            responder: Responder::new(variables, sdk)?,
            history: history.context(
                "environment variable MESSAGES_TABLE is missing: set it to the name of the table of messages",
            )?,
        })
    }

    /// # Errors
    ///
    /// The event is not that of a frame.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<GatewayAnswer, Failure> {
        let frame = SocketFrame::parse(payload)
            .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, Instant::now()))?;
        let parse = |text: &str| Question::parse(text).map(|question| (question.id.clone(), question));
        let answer = async |request: Request<'_>, question| self.answer(request, &question).await;
        Ok(self.responder.respond(ROUTE, &frame, context, parse, answer).await)
    }

    async fn answer(
        &self,
        Request { sender, id, origin }: Request<'_>,
        Question { session, range, .. }: &Question,
    ) -> Result<GatewayAnswer, Stop> {
        if !self.may_read(sender, session, id).await? {
            let text = format!(
                "the history of \"{session}\" is not this connection's to read: ask for that of its own session, or of one that it is subscribed to"
            );
            return Err(Refusal::new(Code::Forbidden, text, Some(id.to_owned())).into());
        }
        let reading = self.history.read(session, range).await?;
        log(origin, session, &reading);
        Ok(GatewayAnswer::frame(&Answer { id, session, reading: &reading }))
    }

    /// Whether it is the history of the connection's own session, or of one that it is subscribed to.
    async fn may_read(&self, sender: &Sender, session: &SessionId, id: &str) -> Result<bool, Stop> {
        if let Some(grant) = &sender.grant {
            let is_own = grant.session == *session;
            // What it may not subscribe to, it is not subscribed to.
            if is_own || !grant.subscribe_to.covers(session) {
                return Ok(is_own);
            }
        }
        let connection = sender.connection(&self.responder.registry, id).await?;
        Ok(connection.session == *session || connection.subscriptions.contains(session))
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
