//! What send-message and publish have in common: from a message that has been read to its receipt, its metrics and its
//! log lines.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_config::SdkConfig;
use tokio::sync::SetOnce;

use crate::{
    config::Variables,
    fanout::{self, Fanout, Numbers, Report, Role, Trouble},
    history::History,
    invocation::{Origin, Stop},
    metrics::{self, HANDLER_ERRORS, Metric},
    posts::Connections,
    protocol::{DeliveryFrame, Message, Receipt, Refusal, SessionId},
    registry::Registry,
    signed::PayloadStart,
    stragglers::Stragglers,
    subscriptions::Subscriptions,
    telemetry,
    workers::Workers,
};

/// The largest frame that API Gateway passes on, in bytes.
const GATEWAY_MESSAGE_BYTES: usize = 128 * 1024;
/// The largest delivery that an answer of `history` has room for, in bytes.
const HISTORY_MESSAGE_BYTES: usize = 126 * 1024;

/// Messages that were sent, whatever became of them.
const MESSAGES: Metric = Metric::count("Messages");
/// Messages refused for what they asked.
const MESSAGES_REFUSED: Metric = Metric::count("MessagesRefused");
/// Recipients that a message reached.
const DELIVERED: Metric = Metric::count("Delivered");
/// Recipients whose socket no longer existed.
const GONE: Metric = Metric::count("Gone");
/// Recipients given up.
const FAILED: Metric = Metric::count("Failed");
/// Posts that the gateway answered with 429.
const THROTTLED: Metric = Metric::count("Throttled");
/// Posts beyond each recipient's first.
const RETRIES: Metric = Metric::count("Retries");
/// Stale rows deleted.
const PRUNED: Metric = Metric::count("Pruned");
/// Recipients of a message.
const FANOUT_SIZE: Metric = Metric::count("FanoutSize");
/// Chunks handed to other functions.
const CHUNKS: Metric = Metric::count("Chunks");
/// Those that came back undone.
const CHUNKS_FAILED: Metric = Metric::count("ChunksFailed");
/// From the first read to the last answer.
const FANOUT_DURATION: Metric = Metric::milliseconds("FanoutDuration");

/// Sends messages; outlives an invocation.
pub struct Messenger {
    /// The table of connections.
    pub registry: Registry,
    /// Whether the hub has an authorizer: then connections that are met after their token's end are closed.
    pub require_grant: bool,
    stragglers: Stragglers,
    concurrency: usize,
    straggler_patience: Duration,
    max_message_bytes: usize,
    history: Option<History>,
    subscriptions: Option<Subscriptions>,
    workers: Option<Workers>,
}

impl Messenger {
    /// Reads `STRAGGLER_SECONDS`, `MAX_MESSAGE_BYTES` and `REQUIRE_GRANT`, and what the tables and the fan-out need.
    ///
    /// # Errors
    ///
    /// A variable is missing or malformed.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let history = History::new(variables, sdk)?;
        let most = if history.is_some() { HISTORY_MESSAGE_BYTES } else { GATEWAY_MESSAGE_BYTES };
        Ok(Self {
            registry: Registry::new(variables, sdk)?.with_index(variables)?,
            stragglers: Stragglers::default(),
            concurrency: fanout::concurrency(variables)?,
            straggler_patience: Duration::from_secs(variables.number("STRAGGLER_SECONDS", 5, &(1..=60))?),
            max_message_bytes: variables.number("MAX_MESSAGE_BYTES", 32 * 1024, &(1..=most))?,
            require_grant: variables.require_grant()?,
            history,
            subscriptions: Subscriptions::new(variables, sdk)?,
            workers: Workers::new(variables)?,
        })
    }

    /// Delivers `message` under the id `id` to the live connections of its sessions, each session's once it is kept in its
    /// history. Reading the connections begins before `from`, the sender's session, is known; `None` is a backend.
    ///
    /// # Errors
    ///
    /// `from`'s own, a message that is too large, or a failure of [`Fanout::deliver`].
    pub async fn send(
        &self,
        origin: &Origin<'_>,
        connections: &Connections,
        Message { sessions, content, is_stored, .. }: Message<'_>,
        id: String,
        from: impl Future<Output = Result<Option<SessionId>, Stop>>,
    ) -> Result<Receipt, Stop> {
        let fanout = Fanout {
            sessions: &sessions,
            registry: &self.registry,
            subscriptions: self.subscriptions.as_ref(),
            connections,
            stragglers: &self.stragglers,
            concurrency: self.concurrency,
            sender: origin.connection_id,
            role: Role::Planner {
                closes_expired: self.require_grant,
                straggler_patience: self.straggler_patience,
                workers: self.workers.as_ref(),
            },
            deadline: origin.deadline,
        };
        let delivering = Instant::now();
        let (mut sent, mut report) = (None, Report::default());
        let written = SetOnce::new();
        let frame = async {
            let from = from.await?;
            let (now, most) = (SystemTime::now(), self.max_message_bytes);
            let frame = DeliveryFrame::new(&id, from.as_ref(), content, &sessions, now, most)?;
            sent = Some((from, frame.longest()));
            // There is one sender.
            let _ = written.set((PayloadStart::new(frame.shared().to_owned()), frame));
            Ok::<_, Stop>(())
        };
        let history = self.history.as_ref().filter(|_| is_stored);
        let kept = Mutex::new(vec![None; sessions.len()]);
        let session_frame = async |index: usize, session: &SessionId, numbers: &Numbers| {
            if history.is_none() {
                numbers.take();
            }
            let (start, frame) = written.wait().await;
            let position = match history {
                None => None,
                Some(history) => {
                    let text = |position: &_| frame.text(session, position);
                    Some(history.append(session, text, || numbers.take()).await?)
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
            log(origin, from, *bytes, &receipt, &report, result.is_ok());
        }
        result.map(|()| receipt)
    }
}

/// Logs and counts a message that is refused.
pub fn refuse(origin: &Origin<'_>, refusal: &Refusal) {
    metrics::count(MESSAGES_REFUSED);
    origin.log_refusal(refusal);
}

#[allow(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn measure(receipt: &Receipt, report: &Report, started: Instant, is_ok: bool) {
    let total = receipt.total;
    metrics::count(MESSAGES);
    // A failure of ours counts by itself; one within a receipt counts here.
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
    // Most hubs never hand out any, and are spared the metrics.
    for (metric, count) in [(CHUNKS, report.chunks), (CHUNKS_FAILED, report.chunk_failures.count)] {
        if count > 0 {
            metrics::add(metric, count as f64);
        }
    }
    metrics::add(FANOUT_DURATION, telemetry::millis_since(started));
}

/// One INFO line for each invocation, and one more for each kind of trouble. `complete` is false where the hub failed
/// midway, or not every recipient could be counted: the counts then say how far it came.
fn log(origin: &Origin, from: &str, bytes: usize, receipt: &Receipt, report: &Report, is_ok: bool) {
    let (route, connection_id, message_id) = (origin.route, origin.id(), &receipt.id);
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
        duration_ms = telemetry::millis_since(origin.started),
        "sent"
    );
    if let Trouble { count, first_cause: Some(error) } = &report.session_failures {
        tracing::error!(route, connection_id, message_id, count, error, "sessions not served");
    }
    if let Trouble { count, first_cause: Some(error) } = &report.delivery_failures {
        tracing::error!(route, connection_id, message_id, count, error, "deliveries failed");
    }
    if let Trouble { count, first_cause: Some(error) } = &report.chunk_failures {
        tracing::warn!(route, connection_id, message_id, count, error, "hand-overs failed");
    }
    if let Trouble { count, first_cause: Some(error) } = &report.prune_failures {
        tracing::warn!(route, connection_id, message_id, count, error, "prunes failed");
    }
    if let Trouble { count, first_cause: Some(error) } = &report.close_failures {
        tracing::warn!(route, connection_id, message_id, count, error, "not closed");
    }
}
