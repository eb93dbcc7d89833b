//! What the functions that answer a caller have in common: where a request comes from, and why it may have no answer.

use std::time::Instant;

use lambda_runtime::Diagnostic;

use crate::{deadline::Deadline, failure::Failure, protocol::Refusal, telemetry};

/// Why a caller gets nothing of what it asked for.
#[derive(Debug)]
pub enum Stop {
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

impl From<Stop> for Diagnostic {
    /// A function error whose type is the refusal's code, or `internal`: whoever queues an invocation, or repeats it, sees
    /// nothing else of an answer.
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(refusal) => {
                Self { error_type: refusal.code.as_str().into(), error_message: refusal.message }
            }
            Stop::Failed(failure) => failure.into(),
        }
    }
}

/// The invocation that a request comes with.
#[derive(Debug)]
pub struct Origin<'a> {
    /// For the log.
    pub route: &'static str,
    /// The connection that it came over; `None` for a backend.
    pub connection_id: Option<&'a str>,
    /// The bounds in time.
    pub deadline: Deadline,
    /// When the invocation began.
    pub started: Instant,
}

impl Origin<'_> {
    /// The connection's id for the log.
    #[must_use]
    pub fn id(&self) -> &str {
        self.connection_id.unwrap_or_default()
    }

    /// Logs a refusal. What it says stays out: it may quote the caller.
    pub fn log_refusal(&self, refusal: &Refusal) {
        tracing::info!(
            route = self.route,
            connection_id = self.id(),
            code = refusal.code.as_str(),
            duration_ms = telemetry::millis_since(self.started),
            "refused"
        );
    }

    /// Logs and counts a failure.
    pub fn log_failure(&self, failure: &Failure) {
        telemetry::failed(self.route, self.id(), failure, self.started);
    }
}
