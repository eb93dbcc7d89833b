//! Handles `sendMessage`: sends a client's message, and answers with a receipt if the client wants one, or with an
//! error.

use std::{sync::Arc, time::Instant};

use hub::{
    answer::GatewayAnswer,
    aws::SdkConfig,
    config::Variables,
    deadline::Deadline,
    event::{Sender, SocketFrame},
    failure::{Failure, chain},
    gateway::{Connections, Gateway, PostResult},
    grant::Grant,
    invocation::{Invocation, RequestError},
    messenger::{self, Messenger},
    protocol::{Message, Receipt, Refusal, SessionId},
    signing::Payload,
    telemetry,
};
use lambda_runtime::Context;
use serde_json::value::RawValue;
use tokio::time::timeout_at;

const ROUTE: &str = "sendMessage";

/// Lives as long as the process.
pub(crate) struct Handler {
    messenger: Messenger,
    gateway: Gateway,
}

impl Handler {
    /// Reads the settings of the messenger and the gateway.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self { messenger: Messenger::new(variables, sdk)?, gateway: Gateway::new(variables, sdk)? })
    }

    /// # Errors
    ///
    /// The event is not a frame's, or the hub failed. The sender is then notified by a post, since the gateway's own
    /// error frame has neither the id nor a code.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<GatewayAnswer, Failure> {
        let started = Instant::now();
        let frame = SocketFrame::parse(payload)
            .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
        let sender = &frame.sender;
        let deadline = Deadline::of_route(context.deadline());
        let invocation =
            Invocation { route: ROUTE, connection_id: Some(&sender.connection_id), deadline, started };

        let message = frame.text().and_then(Message::parse_frame);
        // This closes the connection, even if the frame is malformed.
        if let Some(refusal) = sender.refusal(self.messenger.require_grant) {
            let id = message.map_or_else(|refusal| refusal.id, |message| message.id);
            let refusal = refusal.with_id(id);
            messenger::refuse(&invocation, &refusal);
            // Posted before the connection is closed, since the answer would come afterwards.
            let notified = self.notify(&invocation, sender, &refusal).await;
            self.close(&invocation, sender).await;
            return Ok(if notified { GatewayAnswer::ok() } else { GatewayAnswer::frame(&refusal) });
        }

        let is_silent = message.as_ref().is_ok_and(|message| !message.wants_receipt);
        let mut known_id = None;
        let sending = async {
            let message = message?;
            let id = known_id.insert(message.id_or(&context.request_id)).clone();
            self.send(&invocation, sender, message, id).await
        };
        match sending.await {
            Ok(_) if is_silent => Ok(GatewayAnswer::ok()),
            Ok(receipt) => Ok(GatewayAnswer::frame(&receipt)),
            Err(RequestError::Refused(refusal)) => {
                messenger::refuse(&invocation, &refusal);
                Ok(GatewayAnswer::frame(&refusal))
            }
            Err(RequestError::Failed(failure)) => {
                invocation.log_failure(&failure);
                self.notify(&invocation, sender, &Refusal::internal().with_id(known_id)).await;
                Err(failure)
            }
        }
    }

    async fn send(
        &self,
        invocation: &Invocation<'_>,
        sender: &Sender,
        message: Message<'_>,
        id: String,
    ) -> Result<Receipt, RequestError> {
        if let Some(grant) = &sender.grant {
            check_sessions(grant, &message.sessions, &id)?;
        }
        let connections = self.connections(sender)?;
        let registry = &self.messenger.registry;
        let from = async { sender.session(registry, invocation.deadline, &id).await.map(Some) };
        self.messenger.send(invocation, &connections, message, id.clone(), from).await
    }

    fn connections(&self, sender: &Sender) -> Result<Arc<Connections>, Failure> {
        self.gateway.connections(Some((&sender.api_id, &sender.stage)))
    }

    /// Posts an error frame to the sender, if there is time, and returns whether the gateway accepted it. Makes a
    /// second attempt after a transient error, such as a dead connection to the gateway.
    async fn notify(&self, invocation: &Invocation<'_>, sender: &Sender, notice: &Refusal) -> bool {
        let posting = async {
            let connections = self.connections(sender).ok()?;
            let frame = Payload::new(serde_json::to_vec(notice).ok()?);
            let first = connections.post(&sender.connection_id, &frame).await;
            Some(match first {
                PostResult::Transient(_) => connections.post(&sender.connection_id, &frame).await,
                settled => settled,
            })
        };
        let result = timeout_at(invocation.deadline.notice_by, posting).await;
        tracing::debug!(route = ROUTE, connection_id = sender.connection_id, ?result, "sender notified");
        matches!(result, Ok(Some(PostResult::Delivered)))
    }

    /// Closes the sender's socket, if there is time. Otherwise the gateway closes it within two hours.
    async fn close(&self, invocation: &Invocation<'_>, sender: &Sender) {
        let closing = async {
            let connections = self.connections(sender).map_err(|failure| chain(&failure))?;
            connections.close(&sender.connection_id).await
        };
        let closed = timeout_at(invocation.deadline.notice_by, closing).await;
        if let Err(error) = closed.unwrap_or_else(|_| Err("the time ran out".into())) {
            tracing::warn!(route = ROUTE, connection_id = sender.connection_id, error, "not closed");
        }
    }
}

/// Refuses a message unless the grant allows sending to all of its sessions.
fn check_sessions(grant: &Grant, sessions: &[SessionId], id: &str) -> Result<(), Refusal> {
    match sessions.iter().find(|session| !grant.send_to.covers(session)) {
        None => Ok(()),
        Some(session) => Err(Refusal::may_not_send_to(session).with_id(id.to_owned())),
    }
}

#[cfg(test)]
mod tests;
