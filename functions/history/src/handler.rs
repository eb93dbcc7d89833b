//! Handles `history`: answers with messages from a session's history.

use std::time::Instant;

use anyhow::Context as _;
use hub::{
    answer::GatewayAnswer,
    aws::SdkConfig,
    config::Variables,
    event::{Sender, SocketFrame},
    failure::Failure,
    history::{History, Reading},
    invocation::{Invocation, RequestError},
    metrics::{self, Metric},
    protocol::{Refusal, SessionId},
    responder::{Request, Responder},
    telemetry,
};
use lambda_runtime::Context;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::request::HistoryRequest;

const ROUTE: &str = "history";

/// Requests answered.
const READS: Metric = Metric::count("HistoryReads");
/// Answers in which a message may be missing.
const INCOMPLETE: Metric = Metric::count("HistoryIncomplete");

/// Lives as long as the process.
pub(crate) struct Handler {
    responder: Responder,
    history: History,
}

/// `{"type":"history",…}`: the answer to a request.
#[derive(Serialize)]
#[serde(tag = "type", rename = "history")]
struct Answer<'a> {
    id: &'a str,
    session: &'a SessionId,
    #[serde(flatten)]
    reading: &'a Reading,
}

impl Handler {
    /// Reads the settings of the tables and the responder.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let history = History::read_only(variables, sdk)?;
        Ok(Self {
            responder: Responder::new(variables, sdk)?,
            history: history.context(
                "environment variable MESSAGES_TABLE is missing: set it to the name of the table of messages",
            )?,
        })
    }

    /// # Errors
    ///
    /// The event is not a frame's.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<GatewayAnswer, Failure> {
        let frame = SocketFrame::parse(payload)
            .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, Instant::now()))?;
        let parse = |text: &str| HistoryRequest::parse(text).map(|request| (request.id.clone(), request));
        let answer = async |asked: Request<'_>, request| self.answer(asked, &request).await;
        Ok(self.responder.respond(ROUTE, &frame, context, parse, answer).await)
    }

    async fn answer(
        &self,
        Request { sender, id, invocation }: Request<'_>,
        HistoryRequest { session, range, .. }: &HistoryRequest,
    ) -> Result<GatewayAnswer, RequestError> {
        if !self.may_read(sender, session, id).await? {
            return Err(Refusal::may_not_read(session).with_id(id.to_owned()).into());
        }
        let reading = self.history.read(session, range).await?;
        log(invocation, session, &reading);
        Ok(GatewayAnswer::frame(&Answer { id, session, reading: &reading }))
    }

    /// Whether the session is the connection's own, or one that it is subscribed to.
    async fn may_read(&self, sender: &Sender, session: &SessionId, id: &str) -> Result<bool, RequestError> {
        if let Some(grant) = &sender.grant {
            let is_own = grant.session == *session;
            // A connection is subscribed only to sessions that its grant allows.
            if is_own || !grant.subscribe_to.covers(session) {
                return Ok(is_own);
            }
        }
        let connection = sender.connection(&self.responder.registry, id).await?;
        Ok(connection.session == *session || connection.subscriptions.contains(session))
    }
}

fn log(invocation: &Invocation<'_>, session: &SessionId, reading: &Reading) {
    metrics::count(READS);
    if reading.complete == Some(false) {
        metrics::count(INCOMPLETE);
    }
    tracing::info!(
        route = ROUTE,
        connection_id = invocation.id(),
        session_id = session.as_str(),
        messages = reading.messages.len(),
        bytes = reading.messages.iter().map(|frame| frame.get().len()).sum::<usize>(),
        more = reading.more,
        complete = reading.complete,
        sealed = reading.sealed,
        duration_ms = telemetry::millis_since(invocation.started),
        "history"
    );
}
