//! Sends a backend's message, and answers with its receipt.

use std::{collections::HashMap, sync::Arc, time::Instant};

use hub::{
    aws::SdkConfig,
    config::Variables,
    deadline::Deadline,
    gateway::{Connections, Gateway},
    invocation::{Invocation, RequestError},
    messenger::{self, Messenger},
    protocol::{Message, Receipt, Refusal},
};
use lambda_runtime::Context;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const ROUTE: &str = "publish";

/// Lives as long as the process.
pub(crate) struct Handler {
    messenger: Messenger,
    connections: Arc<Connections>,
}

impl Handler {
    /// Reads the settings of the messenger and the gateway. A variable must name the API and its stage, since no event
    /// does.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let connections = Gateway::new(variables, sdk)?.connections(None)?;
        Ok(Self { messenger: Messenger::new(variables, sdk)?, connections })
    }

    /// A refusal is an error, too: otherwise the caller of a queued or asynchronous invocation could not tell a refused
    /// message from a delivered one.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<Receipt, RequestError> {
        let deadline = Deadline::of_invocation(context.deadline());
        let invocation = Invocation { route: ROUTE, connection_id: None, deadline, started: Instant::now() };
        let sending = async {
            let message = read(payload.get())?;
            let id = message.id_or(&context.request_id);
            self.messenger.send(&invocation, &self.connections, message, id, async { Ok(None) }).await
        };
        let result = sending.await;
        match &result {
            Ok(_) => {}
            Err(RequestError::Refused(refusal)) => messenger::refuse(&invocation, refusal),
            Err(RequestError::Failed(failure)) => invocation.log_failure(failure),
        }
        result
    }
}

const WANTED: &str = r#"{"sessions":["…"],"message":…}"#;

/// Parses the request. Events of other AWS services get a refusal that says what to send instead.
fn read(payload: &str) -> Result<Message<'_>, Refusal> {
    // If this is no object, the parser below refuses it.
    let keys: HashMap<String, IgnoredAny> = serde_json::from_str(payload).unwrap_or_default();
    let has = |key| keys.contains_key(key);
    if has("requestContext") {
        let text = format!(
            "`requestContext` is not accepted: publish does not send on behalf of a connection, and unpacks no event; send {WANTED} \
             itself as the payload"
        );
        return Err(Refusal::bad_request(text));
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
