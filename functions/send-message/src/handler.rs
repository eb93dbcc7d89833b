//! Delivers a message to every live connection of the sessions it names, and says what became of it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hub::{
    aws_config::SdkConfig,
    clock::now_seconds,
    config::Variables,
    deadline::Deadline,
    event::{GatewayAnswer, Publish, Sender},
    failure::{Failure, PUBLIC_TEXT, chain},
    fanout::{Fanout, Report},
    grant::Grant,
    metrics::{self, Metric},
    posts::{Connections, Frame, Gateway, Verdict},
    protocol::{Code, Receipt, Refusal, Send, SessionId, delivery_frame},
    registry::Registry,
    stragglers::Stragglers,
    telemetry,
};
use lambda_runtime::Context;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout_at;

/// The largest frame that API Gateway passes on, in bytes.
const GATEWAY_MESSAGE_BYTES: usize = 128 * 1024;

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
    stragglers: Stragglers,
    concurrency: usize,
    straggler_patience: Duration,
    max_message_bytes: usize,
    require_grant: bool,
}

/// Why there is no receipt.
enum Stop {
    /// The caller's fault.
    Refused(Refusal),
    /// The caller's token has ended, and its connection with it; or it has none where one is required.
    Ended(Refusal),
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

    fn log_refusal(&self, refusal: &Refusal) {
        metrics::count(Metric::MessagesRefused);
        tracing::info!(
            route = self.route,
            connection_id = self.connection_id(),
            code = refusal.code.as_str(),
            duration_ms = telemetry::millis_since(self.started),
            "refused"
        );
    }
}

impl Handler {
    /// Reads `FANOUT_CONCURRENCY`, `STRAGGLER_SECONDS`, `MAX_MESSAGE_BYTES` and `REQUIRE_GRANT`, and what is needed to
    /// read the table and to post.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self {
            registry: Registry::new(variables, sdk)?.with_index(variables)?,
            gateway: Gateway::new(variables, sdk)?,
            stragglers: Stragglers::default(),
            concurrency: variables.number("FANOUT_CONCURRENCY", 64, &(1..=512))?,
            straggler_patience: Duration::from_secs(variables.number("STRAGGLER_SECONDS", 5, &(1..=60))?),
            max_message_bytes: variables.number(
                "MAX_MESSAGE_BYTES",
                32 * 1024,
                &(1..=GATEWAY_MESSAGE_BYTES),
            )?,
            require_grant: variables.require_grant()?,
        })
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
        let reply = match Box::pin(self.send(&origin, frame, context, &mut id)).await {
            Ok(receipt) => Reply::Receipt(receipt),
            Err(Stop::Refused(refusal)) => {
                origin.log_refusal(&refusal);
                Reply::Refusal(refusal)
            }
            Err(Stop::Ended(refusal)) => {
                origin.log_refusal(&refusal);
                // Ahead of the answer, which would come when the socket is closed.
                let told = self.tell(&origin, &refusal).await;
                self.hang_up(&origin).await;
                if told {
                    return Ok(Answer::Socket(GatewayAnswer::ok()));
                }
                Reply::Refusal(refusal)
            }
            Err(Stop::Failed(failure)) => {
                telemetry::failed(route, origin.connection_id(), &failure, started);
                self.tell(&origin, &Refusal::new(Code::Internal, PUBLIC_TEXT, id)).await;
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
        let binary = || Refusal::new(Code::BadRequest, "the frame must be text: send JSON, not binary", None);
        let parsed = frame.ok_or_else(binary).and_then(Send::parse);
        // Whatever the frame is like: a connection that is over stays open for none.
        if let Some(sender) = origin.sender {
            let id = parsed.as_ref().map_or_else(|refusal| refusal.id.clone(), |send| send.id.clone());
            self.check_connection(sender, id)?;
        }
        let Send { sessions, message, id } = parsed?;
        // Lambda's request id stays the same when it repeats an asynchronous invocation, so recipients can tell
        // that a repeated message is one.
        let id = id.unwrap_or_else(|| context.request_id.clone());
        *known_id = Some(id.clone());
        if let Some(grant) = origin.sender.and_then(|sender| sender.grant.as_ref()) {
            check_sessions(grant, &sessions, &id)?;
        }

        let connections = self.connections(origin.sender)?;
        let fanout = Fanout {
            registry: &self.registry,
            connections: &connections,
            stragglers: &self.stragglers,
            concurrency: self.concurrency,
            straggler_patience: self.straggler_patience,
            sender: origin.sender.map(|sender| sender.connection_id.as_str()),
            closes_expired: self.require_grant,
            deadline: origin.deadline,
        };
        let delivering = Instant::now();
        let (mut sent, mut report) = (None, Report::default());
        let frame = async {
            let from = match origin.sender {
                Some(sender) => Some(self.session_of(origin, sender, &id).await?),
                None => None,
            };
            let frame =
                delivery_frame(&id, from.as_ref(), message, SystemTime::now(), self.max_message_bytes)?;
            sent = Some((from, frame.len()));
            Ok::<_, Stop>(Frame::new(frame))
        };
        let result = fanout.deliver(&sessions, frame, &mut report).await;
        let receipt = Receipt::new(id, std::mem::take(&mut report.sessions));
        if let Some((from, bytes)) = &sent {
            measure(&receipt, &report, delivering, result.is_ok());
            log(
                origin,
                from.as_ref().map_or("", SessionId::as_str),
                *bytes,
                &receipt,
                &report,
                result.is_ok(),
            );
        }
        result.map(|()| receipt)
    }

    /// Whether the connection may still send at all.
    fn check_connection(&self, sender: &Sender, id: Option<String>) -> Result<(), Stop> {
        let text = match &sender.grant {
            Some(grant) if grant.has_ended(now_seconds()) => {
                "the token of this connection has expired: connect again with a new one"
            }
            None if self.require_grant => {
                "this connection was opened without a token: connect again with one"
            }
            _ => return Ok(()),
        };
        Err(Stop::Ended(Refusal::new(Code::NotConnected, text, id)))
    }

    /// Whose name a message is sent in: the grant says it, or else the connection's row.
    async fn session_of(&self, origin: &Origin<'_>, sender: &Sender, id: &str) -> Result<SessionId, Stop> {
        if let Some(grant) = &sender.grant {
            return Ok(grant.session.clone());
        }
        let reading = self.registry.session_of(&sender.connection_id);
        origin.deadline.bound(reading).await?.ok_or_else(|| {
            let text = "this connection is not registered, or has expired: connect again";
            Refusal::new(Code::NotConnected, text, Some(id.to_owned())).into()
        })
    }

    fn connections(&self, sender: Option<&Sender>) -> Result<Arc<Connections>, Failure> {
        self.gateway.connections(sender.map(|sender| (sender.api_id.as_str(), sender.stage.as_str())))
    }

    /// Posts a frame to a sender at a socket if it can be done in time, and says whether it was taken. A second attempt
    /// follows where the first met a connection that had died.
    async fn tell(&self, origin: &Origin<'_>, notice: &Refusal) -> bool {
        let Some(sender) = origin.sender else { return false };
        let posting = async {
            let connections = self.connections(Some(sender)).ok()?;
            let frame = Frame::new(serde_json::to_vec(notice).ok()?);
            let first = connections.post(&sender.connection_id, &frame).await;
            Some(match first {
                Verdict::Transient(_) => connections.post(&sender.connection_id, &frame).await,
                settled => settled,
            })
        };
        let verdict = timeout_at(origin.deadline.notice_by, posting).await;
        tracing::debug!(
            route = origin.route,
            connection_id = sender.connection_id,
            ?verdict,
            "sender notified"
        );
        matches!(verdict, Ok(Some(Verdict::Delivered)))
    }

    /// Closes a sender's socket, if it can be done in time: else the gateway does so within two hours.
    async fn hang_up(&self, origin: &Origin<'_>) {
        let Some(sender) = origin.sender else { return };
        let closing = async {
            let connections = self.connections(Some(sender)).map_err(|failure| chain(&failure))?;
            connections.close(&sender.connection_id).await
        };
        let closed = timeout_at(origin.deadline.notice_by, closing).await;
        if let Err(error) = closed.unwrap_or_else(|_| Err("the time ran out".into())) {
            let (route, connection_id) = (origin.route, &sender.connection_id);
            tracing::warn!(route, connection_id, error, "not closed");
        }
    }
}

/// Whether a grant allows this message: to all of its sessions, or to none.
fn check_sessions(grant: &Grant, sessions: &[SessionId], id: &str) -> Result<(), Refusal> {
    match sessions.iter().find(|session| !grant.send_to.covers(session)) {
        None => Ok(()),
        Some(session) => {
            let text = format!("the token of this connection does not allow it to send to {session}");
            Err(Refusal::new(Code::Forbidden, text, Some(id.to_owned())))
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn measure(receipt: &Receipt, report: &Report, started: Instant, is_ok: bool) {
    let total = receipt.total;
    metrics::count(Metric::Messages);
    // A failure of ours counts by itself; one within a receipt counts here.
    if is_ok && report.read_failures.count > 0 {
        metrics::count(Metric::HandlerErrors);
    }
    for (metric, count) in [
        (Metric::FanoutSize, total.delivered + total.gone + total.failed),
        (Metric::Delivered, total.delivered),
        (Metric::Gone, total.gone),
        (Metric::Failed, total.failed),
        (Metric::Throttled, report.throttled),
        (Metric::Retries, report.retries),
        (Metric::Pruned, report.pruned),
    ] {
        metrics::add(metric, count as f64);
    }
    metrics::add(Metric::FanoutDuration, telemetry::millis_since(started));
}

/// One INFO line for each invocation, and one more for each kind of trouble. `complete` is false where the hub failed
/// midway, or not every recipient could be counted: the counts then say how far it came.
fn log(origin: &Origin, from: &str, bytes: usize, receipt: &Receipt, report: &Report, is_ok: bool) {
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
        throttled = report.throttled,
        pruned = report.pruned,
        bytes,
        complete = is_ok && receipt.complete,
        closed = report.closed,
        duration_ms = telemetry::millis_since(origin.started),
        "sent"
    );
    if let Some(error) = &report.read_failures.first_cause {
        let count = report.read_failures.count;
        tracing::error!(route, connection_id, message_id = receipt.id, count, error, "sessions not read");
    }
    if let Some(error) = &report.delivery_failures.first_cause {
        let count = report.delivery_failures.count;
        tracing::error!(route, connection_id, message_id = receipt.id, count, error, "deliveries failed");
    }
    if let Some(error) = &report.prune_failures.first_cause {
        let count = report.prune_failures.count;
        tracing::warn!(route, connection_id, message_id = receipt.id, count, error, "prunes failed");
    }
    if let Some(error) = &report.close_failures.first_cause {
        let count = report.close_failures.count;
        tracing::warn!(route, connection_id, message_id = receipt.id, count, error, "not closed");
    }
}

#[cfg(test)]
mod tests;
