//! Sends a message, for send-message and publish: writes it to the histories, delivers it, and returns its receipt.
//! Counts and logs the result.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_config::SdkConfig;
use tokio::sync::SetOnce;

use crate::{
    config::Variables,
    fanout::{Fanout, Numbering, Role, settings},
    gateway::Connections,
    history::History,
    invocation::{Invocation, RequestError},
    metrics::{self, HANDLER_ERRORS, Metric},
    protocol::{DeliveryFrame, Message, Receipt, Refusal, SessionId, limits},
    recent_failures::RecentFailures,
    registry::Registry,
    report::{ErrorSummary, Report},
    signing::PayloadStart,
    subscriptions::Subscriptions,
    telemetry,
    workers::Workers,
};

/// Messages sent, whatever their result.
const MESSAGES: Metric = Metric::count("Messages");
/// Messages refused.
const MESSAGES_REFUSED: Metric = Metric::count("MessagesRefused");
/// Recipients delivered to.
const DELIVERED: Metric = Metric::count("Delivered");
/// Recipients whose connection no longer existed.
const GONE: Metric = Metric::count("Gone");
/// Recipients that count as failed.
const FAILED: Metric = Metric::count("Failed");
/// Posts that the gateway answered with 429.
const THROTTLED: Metric = Metric::count("Throttled");
/// Posts beyond each recipient's first.
const RETRIES: Metric = Metric::count("Retries");
/// Stale rows deleted.
const PRUNED: Metric = Metric::count("Pruned");
/// Recipients of a message.
const FANOUT_SIZE: Metric = Metric::count("FanoutSize");
/// Chunks handed over to workers.
const CHUNKS: Metric = Metric::count("Chunks");
/// Chunks that came back undelivered.
const CHUNKS_FAILED: Metric = Metric::count("ChunksFailed");
/// From the first read to the last answer.
const FANOUT_DURATION: Metric = Metric::milliseconds("FanoutDuration");

/// Sends messages. Lives as long as the process.
pub struct Messenger {
    /// The table of connections.
    pub registry: Registry,
    /// Whether the hub has an authorizer: then connections whose token has expired are closed.
    pub require_grant: bool,
    recent_failures: RecentFailures,
    concurrency: usize,
    straggler_patience: Duration,
    max_message_bytes: usize,
    history: Option<History>,
    subscriptions: Option<Subscriptions>,
    workers: Option<Workers>,
}

impl Messenger {
    /// Reads `MAX_MESSAGE_BYTES` and `REQUIRE_GRANT`, and the settings of the tables and the fan-out.
    ///
    /// # Errors
    ///
    /// A variable is missing or malformed.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let history = History::new(variables, sdk)?;
        Ok(Self {
            registry: Registry::new(variables, sdk)?.with_index(variables)?,
            recent_failures: RecentFailures::default(),
            concurrency: settings::concurrency(variables)?,
            straggler_patience: settings::straggler_patience(variables)?,
            max_message_bytes: limits::max_message_bytes(variables, history.is_some())?,
            require_grant: variables.require_grant()?,
            history,
            subscriptions: Subscriptions::new(variables, sdk)?,
            workers: Workers::new(variables)?,
        })
    }

    /// Delivers `message` with the id `id` to the live connections of its sessions, to each session's after the message
    /// is in the session's history. Reading the connections begins before `from`, the sender's session, is known;
    /// `None` is a backend.
    ///
    /// # Errors
    ///
    /// Those of `from`, a message that is too large, or a failure of [`Fanout::deliver`].
    pub async fn send(
        &self,
        invocation: &Invocation<'_>,
        connections: &Connections,
        Message { sessions, content, is_stored, .. }: Message<'_>,
        id: String,
        from: impl Future<Output = Result<Option<SessionId>, RequestError>>,
    ) -> Result<Receipt, RequestError> {
        let fanout = Fanout {
            sessions: &sessions,
            registry: &self.registry,
            subscriptions: self.subscriptions.as_ref(),
            connections,
            recent_failures: &self.recent_failures,
            concurrency: self.concurrency,
            sender: invocation.connection_id,
            role: Role::Planner {
                closes_expired: self.require_grant,
                straggler_patience: self.straggler_patience,
                workers: self.workers.as_ref(),
            },
            deadline: invocation.deadline,
        };
        let delivering = Instant::now();
        let (mut sent, mut report) = (None, Report::default());
        let written = SetOnce::new();
        let frame = async {
            let from = from.await?;
            let (now, most) = (SystemTime::now(), self.max_message_bytes);
            let frame = DeliveryFrame::new(&id, from.as_ref(), content, &sessions, now, most)?;
            sent = Some((from, frame.longest()));
            // Set once: this runs once.
            let _ = written.set((PayloadStart::new(frame.shared().to_owned()), frame));
            Ok::<_, RequestError>(())
        };
        let history = self.history.as_ref().filter(|_| is_stored);
        let kept = Mutex::new(vec![None; sessions.len()]);
        let session_frame = async |index: usize, session: &SessionId, numbering: &Numbering| {
            if history.is_none() {
                numbering.number_taken();
            }
            let (start, frame) = written.wait().await;
            let position = match history {
                None => None,
                Some(history) => {
                    let text = |position: &_| frame.text(session, position);
                    Some(history.append(session, text, || numbering.number_taken()).await?)
                }
            };
            let end = DeliveryFrame::end(session, position.as_ref());
            if let Some(kept) = kept.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
                *kept = position;
            }
            Ok(start.payload(end))
        };
        // Boxed, because it is large.
        let result = Box::pin(fanout.deliver(frame, session_frame, &mut report)).await;
        let kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (session, position) in report.sessions.iter_mut().zip(kept) {
            session.position = position;
        }
        let receipt = Receipt::new(id, std::mem::take(&mut report.sessions));
        if let Some((from, bytes)) = &sent {
            let from = from.as_ref().map_or("", SessionId::as_str);
            measure(&receipt, &report, delivering, result.is_ok());
            log(invocation, from, *bytes, &receipt, &report, result.is_ok());
        }
        result.map(|()| receipt)
    }
}

/// Logs and counts a message that is refused.
pub fn refuse(invocation: &Invocation<'_>, refusal: &Refusal) {
    metrics::count(MESSAGES_REFUSED);
    invocation.log_refusal(refusal);
}

#[allow(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn measure(receipt: &Receipt, report: &Report, started: Instant, is_ok: bool) {
    let total = receipt.total;
    metrics::count(MESSAGES);
    // Where the whole message failed, that is counted elsewhere; sessions that failed are counted here.
    if is_ok && report.session_failures.count > 0 {
        metrics::count(HANDLER_ERRORS);
    }
    for (metric, count) in [
        (FANOUT_SIZE, total.delivered + total.gone + total.failed),
        (DELIVERED, total.delivered),
        (GONE, total.gone),
        (FAILED, total.failed),
        (THROTTLED, report.throttled),
        (RETRIES, report.retries),
        (PRUNED, report.pruned),
    ] {
        metrics::add(metric, count as f64);
    }
    // Most hubs never hand over a chunk, and need not pay for these metrics.
    for (metric, count) in [(CHUNKS, report.chunks), (CHUNKS_FAILED, report.chunk_failures.count)] {
        if count > 0 {
            metrics::add(metric, count as f64);
        }
    }
    metrics::add(FANOUT_DURATION, telemetry::millis_since(started));
}

/// Writes one INFO line for each message, and one more line for each kind of error. `complete` is false if the hub
/// failed midway or not every recipient could be counted; the counts are then those so far.
fn log(invocation: &Invocation, from: &str, bytes: usize, receipt: &Receipt, report: &Report, is_ok: bool) {
    let (route, connection_id, message_id) = (invocation.route, invocation.id(), &receipt.id);
    tracing::info!(
        route,
        connection_id,
        session_id = from,
        message_id,
        sessions = receipt.sessions.len(),
        stored = receipt.sessions.iter().filter(|session| session.position.is_some()).count(),
        delivered = receipt.total.delivered,
        gone = receipt.total.gone,
        failed = receipt.total.failed,
        retries = report.retries,
        throttled = report.throttled,
        pruned = report.pruned,
        bytes,
        complete = is_ok && receipt.complete,
        closed = report.closed,
        chunks = (report.chunks > 0).then_some(report.chunks),
        duration_ms = telemetry::millis_since(invocation.started),
        "sent"
    );
    if let ErrorSummary { count, first_cause: Some(error) } = &report.session_failures {
        tracing::error!(route, connection_id, message_id, count, error, "sessions not served");
    }
    if let ErrorSummary { count, first_cause: Some(error) } = &report.delivery_failures {
        tracing::error!(route, connection_id, message_id, count, error, "deliveries failed");
    }
    if let ErrorSummary { count, first_cause: Some(error) } = &report.chunk_failures {
        tracing::warn!(route, connection_id, message_id, count, error, "chunks failed");
    }
    if let ErrorSummary { count, first_cause: Some(error) } = &report.prune_failures {
        tracing::warn!(route, connection_id, message_id, count, error, "prunes failed");
    }
    if let ErrorSummary { count, first_cause: Some(error) } = &report.close_failures {
        tracing::warn!(route, connection_id, message_id, count, error, "not closed");
    }
}
