//! The invocation that brings a request, and the errors that end a request.

use std::time::Instant;

use lambda_runtime::Diagnostic;

use crate::{deadline::Deadline, failure::Failure, protocol::Refusal, telemetry};

/// Why a request was not carried out.
#[derive(Debug)]
pub enum RequestError {
    /// It was refused.
    Refused(Refusal),
    /// The hub failed.
    Failed(Failure),
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for RequestError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<RequestError> for Diagnostic {
    /// A function error whose type is the refusal's code, or `internal`. A queue or a retry policy sees nothing else of
    /// the answer.
    fn from(stop: RequestError) -> Self {
        match stop {
            RequestError::Refused(refusal) => {
                Self { error_type: refusal.code.as_str().into(), error_message: refusal.message }
            }
            RequestError::Failed(failure) => failure.into(),
        }
    }
}

/// The invocation that brings a request.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The route or function, for the log.
    pub route: &'static str,
    /// The connection that the request came over; `None` for a backend.
    pub connection_id: Option<&'a str>,
    /// Its time limits.
    pub deadline: Deadline,
    /// When it began.
    pub started: Instant,
}

impl Invocation<'_> {
    /// The connection's id for the log.
    #[must_use]
    pub fn id(&self) -> &str {
        self.connection_id.unwrap_or_default()
    }

    /// Logs a refusal.
    pub fn log_refusal(&self, refusal: &Refusal) {
        telemetry::refused(self.route, self.id(), refusal.code, self.started);
    }

    /// Logs and counts a failure.
    pub fn log_failure(&self, failure: &Failure) {
        telemetry::failed(self.route, self.id(), failure, self.started);
    }
}
