//! Delivers a message to every live connection of the sessions it names, and says what became of it.

use std::time::{Instant, SystemTime};

use hub::{
    aws_config::SdkConfig,
    config::Config,
    connections::{Connections, Gateway},
    deadline::Deadline,
    event::{GatewayAnswer, Publish, Sender},
    failure::{Failure, PUBLIC_TEXT, guard},
    fanout::{Fanout, Report},
    protocol::{Code, Receipt, Refusal, Send, SessionId, delivery_frame},
    registry::Registry,
    telemetry,
};
use lambda_runtime::Context;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout_at;

/// What a sender is told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Reply {
    Receipt(Receipt),
    Refusal(Refusal),
}

/// The same in the form that the invoker expects.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Socket(GatewayAnswer),
    Backend(Reply),
}

/// What outlives an invocation.
pub(crate) struct Handler {
    registry: Registry,
    gateway: Gateway,
    concurrency: usize,
    max_message_bytes: usize,
}

/// Why there is no receipt.
enum Stop {
    /// The caller's fault.
    Refused(Refusal),
    /// Ours.
    Failed(Failure),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is known of an invocation before its frame is read.
struct Origin<'a> {
    route: &'static str,
    /// `None` for a backend, which invokes the function itself.
    sender: Option<&'a Sender>,
    deadline: Deadline,
    started: Instant,
}

impl Origin<'_> {
    fn connection_id(&self) -> &str {
        self.sender.map_or("", |sender| &sender.connection_id)
    }
}

impl Handler {
    pub(crate) fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self {
            registry: Registry::new(sdk, config),
            gateway: Gateway::new(sdk, config),
            concurrency: config.fanout_concurrency,
            max_message_bytes: config.max_message_bytes,
        }
    }

    /// Answers with a receipt, or with an error frame if the caller is at fault. A failure of ours is returned
    /// as one, and a sender at a socket is told of it besides: the gateway would give no id and no code.
    pub(crate) async fn handle(&self, payload: &RawValue, context: &Context) -> Result<Answer, Failure> {
        let started = Instant::now();
        let publish = Publish::parse(payload)
            .inspect_err(|failure| telemetry::failed("sendMessage", "", failure, started))?;
        let (sender, frame) = match &publish {
            Publish::Socket { sender, frame } => (Some(sender), frame.as_deref()),
            Publish::Backend => (None, Some(payload.get())),
        };
        let route = if sender.is_some() { "sendMessage" } else { "direct" };
        let deadline = Deadline::new(context.deadline(), sender.is_some());
        let origin = Origin { route, sender, deadline, started };

        let mut id = None;
        // Guarded here too, and not only around the whole, so that a bug is told to the sender as well.
        let reply = match guard(self.send(&origin, frame, context, &mut id)).await {
            Ok(receipt) => Reply::Receipt(receipt),
            Err(Stop::Refused(refusal)) => {
                tracing::info!(
                    route,
                    connection_id = origin.connection_id(),
                    code = refusal.code.as_str(),
                    duration_ms = telemetry::millis_since(started),
                    "refused"
                );
                Reply::Refusal(refusal)
            }
            Err(Stop::Failed(failure)) => {
                telemetry::failed(route, origin.connection_id(), &failure, started);
                self.notify(&origin, id).await;
                return Err(failure);
            }
        };
        Ok(match sender {
            Some(_) => Answer::Socket(GatewayAnswer::frame(&reply)),
            None => Answer::Backend(reply),
        })
    }

    async fn send(
        &self,
        origin: &Origin<'_>,
        frame: Option<&str>,
        context: &Context,
        known_id: &mut Option<String>,
    ) -> Result<Receipt, Stop> {
        let frame = frame.ok_or_else(|| {
            Refusal::new(Code::BadRequest, "the frame must be text: send JSON, not binary", None)
        })?;
        let Send { sessions, message, id } = Send::parse(frame)?;
        // Lambda's request id stays the same when it repeats an asynchronous invocation, so recipients can tell
        // that a repeated message is one.
        let id = id.unwrap_or_else(|| context.request_id.clone());
        *known_id = Some(id.clone());

        let from = match origin.sender {
            Some(sender) => Some(self.session_of(origin, sender, &id).await?),
            None => None,
        };
        let delivery =
            delivery_frame(&id, from.as_ref(), message, SystemTime::now(), self.max_message_bytes)?;
        let connections = self.connections(origin.sender).await?;

        let fanout = Fanout {
            registry: &self.registry,
            connections: &connections,
            concurrency: self.concurrency,
            sender: origin.sender.map(|sender| sender.connection_id.as_str()),
            deadline: origin.deadline,
        };
        let (report, result) = fanout.deliver(sessions, &delivery).await;
        let from = from.as_ref().map_or("", SessionId::as_str);
        let receipt = Receipt::new(id, report.sessions.clone());
        log(origin, from, delivery.len(), &receipt, &report, result.is_ok());
        result?;
        Ok(receipt)
    }

    async fn session_of(&self, origin: &Origin<'_>, sender: &Sender, id: &str) -> Result<SessionId, Stop> {
        let reading = self.registry.session_of(&sender.connection_id);
        origin.deadline.bound(reading).await?.ok_or_else(|| {
            let text = "this connection is not registered, or has expired: connect again";
            Refusal::new(Code::NotConnected, text, Some(id.to_owned())).into()
        })
    }

    async fn connections(&self, sender: Option<&Sender>) -> Result<Connections, Failure> {
        let origin = sender.map(|sender| (sender.api_id.as_str(), sender.stage.as_str()));
        self.gateway.connections(origin).await
    }

    /// Tells a sender at a socket, once and if it can be done in time, that there will be no receipt.
    async fn notify(&self, origin: &Origin<'_>, id: Option<String>) {
        let Some(sender) = origin.sender else { return };
        let notice = Refusal::new(Code::Internal, PUBLIC_TEXT, id);
        let posting = async {
            let connections = self.connections(Some(sender)).await.ok()?;
            let frame = serde_json::to_vec(&notice).ok()?;
            Some(connections.post(&sender.connection_id, &frame).await)
        };
        let verdict = timeout_at(origin.deadline.notice_by, posting).await;
        tracing::debug!(
            route = origin.route,
            connection_id = sender.connection_id,
            ?verdict,
            "sender notified"
        );
    }
}

/// One INFO line an invocation, and one more for each kind of trouble. `complete` is false where the hub
/// failed midway: the counts then say how far it came.
fn log(origin: &Origin, from: &str, bytes: usize, receipt: &Receipt, report: &Report, complete: bool) {
    let (route, connection_id) = (origin.route, origin.connection_id());
    tracing::info!(
        route,
        connection_id,
        session_id = from,
        message_id = receipt.id,
        sessions = receipt.sessions.len(),
        delivered = receipt.total.delivered,
        gone = receipt.total.gone,
        failed = receipt.total.failed,
        retries = report.retries,
        pruned = report.pruned,
        bytes,
        complete,
        duration_ms = telemetry::millis_since(origin.started),
        "sent"
    );
    if let Some(error) = &report.delivery_failures.first_cause {
        let count = report.delivery_failures.count;
        tracing::error!(route, connection_id, message_id = receipt.id, count, error, "deliveries failed");
    }
    if let Some(error) = &report.prune_failures.first_cause {
        let count = report.prune_failures.count;
        tracing::warn!(route, connection_id, message_id = receipt.id, count, error, "prunes failed");
    }
}

#[cfg(test)]
mod tests;
