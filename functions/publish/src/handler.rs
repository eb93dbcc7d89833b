//! Sends a backend's message and answers with its receipt.

use std::{collections::HashMap, sync::Arc, time::Instant};

use hub::{
    aws::SdkConfig,
    config::Variables,
    deadline::Deadline,
    invocation::{Origin, Stop},
    messenger::{self, Messenger},
    posts::{Connections, Gateway},
    protocol::{Code, Message, Receipt, Refusal},
};
use lambda_runtime::Context;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const ROUTE: &str = "publish";

/// What outlives an invocation.
pub(crate) struct Handler {
    messenger: Messenger,
    connections: Arc<Connections>,
}

impl Handler {
    /// Reads what the messenger and the gateway need. No event says where the connections are: a variable must.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let connections = Gateway::new(variables, sdk)?.connections(None)?;
        Ok(Self { messenger: Messenger::new(variables, sdk)?, connections })
    }

    /// Refusals are errors too. An invocation that is queued or sent asynchronously has no other way to tell a message
    /// that was refused from one that was delivered.
    pub(crate) async fn handle(&self, payload: &RawValue, context: &Context) -> Result<Receipt, Stop> {
        let deadline = Deadline::of_invocation(context.deadline());
        let origin = Origin { route: ROUTE, connection_id: None, deadline, started: Instant::now() };
        let sending = async {
            let message = read(payload.get())?;
            let id = message.id_or(&context.request_id);
            self.messenger.send(&origin, &self.connections, message, id, async { Ok(None) }).await
        };
        let result = sending.await;
        match &result {
            Ok(_) => {}
            Err(Stop::Refused(refusal)) => messenger::refuse(&origin, refusal),
            Err(Stop::Failed(failure)) => origin.log_failure(failure),
        }
        result
    }
}

const WANTED: &str = r#"{"sessions":["…"],"message":…}"#;

/// The request, or a refusal that says what to send in its place.
fn read(payload: &str) -> Result<Message<'_>, Refusal> {
    // What is no object at all is for the parser to say.
    let keys: HashMap<String, IgnoredAny> = serde_json::from_str(payload).unwrap_or_default();
    let has = |key| keys.contains_key(key);
    if has("requestContext") {
        let text = format!(
            "`requestContext` is not accepted: publish speaks in no connection's name and unpacks no event; send {WANTED} \
             itself as the payload"
        );
        return Err(Refusal::new(Code::BadRequest, text, None));
    }
    Message::parse_request(payload).map_err(|refusal| {
        let text = if has("sessions") {
            return refusal;
        } else if has("Records") || has("records") {
            "records of SQS, SNS or a stream are not unpacked: have a function of yours read them, and invoke publish for each \
             message with"
        } else if has("detail-type") {
            "an EventBridge event is not unpacked: have the target of its rule transform the input to"
        } else if payload.trim_start().starts_with('[') {
            "a list, as pipes and batches send, is not unpacked: invoke publish for each message with"
        } else {
            return refusal;
        };
        Refusal { message: format!("{text} {WANTED}"), ..refusal }
    })
}

#[cfg(test)]
mod tests;
