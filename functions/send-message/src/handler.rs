//! The `sendMessage` route: answers a frame with a receipt if its sender wants one, or with an error frame.

use std::{sync::Arc, time::Instant};

use hub::{
    aws::SdkConfig,
    config::Variables,
    deadline::Deadline,
    event::{self, GatewayAnswer, Sender, SocketFrame},
    failure::{Failure, PUBLIC_TEXT, chain},
    grant::Grant,
    invocation::{Origin, Stop},
    messenger::{self, Messenger},
    posts::{Connections, Gateway, Verdict},
    protocol::{Code, Message, Receipt, Refusal, SessionId},
    signed::Payload,
    telemetry,
};
use lambda_runtime::Context;
use serde_json::value::RawValue;
use tokio::time::timeout_at;

const ROUTE: &str = "sendMessage";

/// What outlives an invocation.
pub(crate) struct Handler {
    messenger: Messenger,
    gateway: Gateway,
}

impl Handler {
    /// Reads what the messenger and the gateway need.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self { messenger: Messenger::new(variables, sdk)?, gateway: Gateway::new(variables, sdk)? })
    }

    /// A failure of ours is returned as one, and the sender is told of it besides: the gateway would give no id and no code.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<GatewayAnswer, Failure> {
        let started = Instant::now();
        let SocketFrame { sender, text, .. } = SocketFrame::parse(payload)
            .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
        let deadline = Deadline::of_route(context.deadline());
        let origin = Origin { route: ROUTE, connection_id: Some(&sender.connection_id), deadline, started };

        let message = event::text(text.as_deref()).and_then(Message::parse_frame);
        // Whatever the frame is like: a connection that is over stays open for none.
        if let Some(why) = sender.why_over(self.messenger.require_grant) {
            let id = message.map_or_else(|refusal| refusal.id, |message| message.id);
            let refusal = Refusal::new(Code::NotConnected, why, id);
            messenger::refuse(&origin, &refusal);
            // Ahead of the answer, which would come when the socket is closed.
            let told = self.tell(&origin, &sender, &refusal).await;
            self.hang_up(&origin, &sender).await;
            return Ok(if told { GatewayAnswer::ok() } else { GatewayAnswer::frame(&refusal) });
        }

        let is_silent = message.as_ref().is_ok_and(|message| !message.wants_receipt);
        let mut known_id = None;
        let sending = async {
            let message = message?;
            let id = known_id.insert(message.id_or(&context.request_id)).clone();
            self.send(&origin, &sender, message, id).await
        };
        match sending.await {
            Ok(_) if is_silent => Ok(GatewayAnswer::ok()),
            Ok(receipt) => Ok(GatewayAnswer::frame(&receipt)),
            Err(Stop::Refused(refusal)) => {
                messenger::refuse(&origin, &refusal);
                Ok(GatewayAnswer::frame(&refusal))
            }
            Err(Stop::Failed(failure)) => {
                origin.log_failure(&failure);
                self.tell(&origin, &sender, &Refusal::new(Code::Internal, PUBLIC_TEXT, known_id)).await;
                Err(failure)
            }
        }
    }

    async fn send(
        &self,
        origin: &Origin<'_>,
        sender: &Sender,
        message: Message<'_>,
        id: String,
    ) -> Result<Receipt, Stop> {
        if let Some(grant) = &sender.grant {
            check_sessions(grant, &message.sessions, &id)?;
        }
        let connections = self.connections(sender)?;
        let registry = &self.messenger.registry;
        let from = async { sender.session(registry, origin.deadline, &id).await.map(Some) };
        self.messenger.send(origin, &connections, message, id.clone(), from).await
    }

    fn connections(&self, sender: &Sender) -> Result<Arc<Connections>, Failure> {
        self.gateway.connections(Some((&sender.api_id, &sender.stage)))
    }

    /// Posts a frame to the sender if it can be done in time, and says whether it was taken. A second attempt follows where
    /// the first met a connection that had died.
    async fn tell(&self, origin: &Origin<'_>, sender: &Sender, notice: &Refusal) -> bool {
        let posting = async {
            let connections = self.connections(sender).ok()?;
            let frame = Payload::new(serde_json::to_vec(notice).ok()?);
            let first = connections.post(&sender.connection_id, &frame).await;
            Some(match first {
                Verdict::Transient(_) => connections.post(&sender.connection_id, &frame).await,
                settled => settled,
            })
        };
        let verdict = timeout_at(origin.deadline.notice_by, posting).await;
        tracing::debug!(route = ROUTE, connection_id = sender.connection_id, ?verdict, "sender notified");
        matches!(verdict, Ok(Some(Verdict::Delivered)))
    }

    /// Closes the sender's socket, if it can be done in time: else the gateway does so within two hours.
    async fn hang_up(&self, origin: &Origin<'_>, sender: &Sender) {
        let closing = async {
            let connections = self.connections(sender).map_err(|failure| chain(&failure))?;
            connections.close(&sender.connection_id).await
        };
        let closed = timeout_at(origin.deadline.notice_by, closing).await;
        if let Err(error) = closed.unwrap_or_else(|_| Err("the time ran out".into())) {
            tracing::warn!(route = ROUTE, connection_id = sender.connection_id, error, "not closed");
        }
    }
}

/// Whether a grant allows this message: to all of its sessions, or to none.
fn check_sessions(grant: &Grant, sessions: &[SessionId], id: &str) -> Result<(), Refusal> {
    match sessions.iter().find(|session| !grant.send_to.covers(session)) {
        None => Ok(()),
        Some(session) => {
            let text = format!("the token of this connection does not allow it to send to \"{session}\"");
            Err(Refusal::new(Code::Forbidden, text, Some(id.to_owned())))
        }
    }
}

#[cfg(test)]
mod tests;
