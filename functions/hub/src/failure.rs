//! Failures of the hub itself: detailed in the log, and a single public text for callers.

use std::{error::Error as StdError, panic::AssertUnwindSafe};

use futures::FutureExt;
use lambda_runtime::Diagnostic;

use crate::{
    metrics::{self, HANDLER_ERRORS},
    protocol::INTERNAL_TEXT,
};

/// A failure of the hub. The handler returns it, so that Lambda counts it in the metric Errors, which has an alarm.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The payload is not an event for this function. The text holds no part of the payload.
    #[error("the event is not one for this function: {0}")]
    Event(String),
    /// A DynamoDB call failed, after all retries.
    #[error("could not {action} the table of {what}")]
    Table {
        /// The attempted action, such as "read from".
        action: &'static str,
        /// What the table holds.
        what: &'static str,
        /// The SDK's error.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The tables had not answered when the answer was due.
    #[error(
        "the time ran out before the tables had answered; check whether DynamoDB is slow, or raise the function's timeout"
    )]
    OutOfTime,
    /// A failure that only one module can have.
    #[error("{text}")]
    Other {
        /// A stable word for the log.
        cause: &'static str,
        /// What is wrong, and how to fix it.
        text: String,
    },
    /// A bug. The panic's own log line names the place.
    #[error("the handler panicked")]
    Panic,
}

impl Failure {
    /// A stable word for the log, by which failures can be counted.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Table { .. } => "table",
            Self::OutOfTime => "out_of_time",
            Self::Other { cause, .. } => cause,
            Self::Panic => "panic",
        }
    }

    /// A failure without a variant of its own.
    pub fn other(cause: &'static str, text: impl Into<String>) -> Self {
        Self::Other { cause, text: text.into() }
    }
}

impl From<Failure> for Diagnostic {
    /// API Gateway or the invoker may pass this on, so it holds no internals.
    fn from(_: Failure) -> Self {
        Self { error_type: "internal".into(), error_message: INTERNAL_TEXT.into() }
    }
}

/// Handles one invocation: writes its metrics, and turns a panic into a failure without the panic's text. The process
/// goes on to the next invocation: only clients and counters outlive an invocation, and a panic leaves them intact.
pub(crate) fn guard<T, E: From<Failure>>(
    handling: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // Boxed before anything wraps it, because the SDK's futures are large.
    let handling = AssertUnwindSafe(Box::pin(handling)).catch_unwind();
    metrics::collected(async {
        handling.await.unwrap_or_else(|_| {
            metrics::count(HANDLER_ERRORS);
            Err(Failure::Panic.into())
        })
    })
}

/// An error and its causes on one line: `outer: inner: innermost`.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // The SDK repeats a cause in the text of the outer error.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_sees_no_internals_and_the_log_sees_them_all() {
        let failure = Failure::Table {
            action: "read from",
            what: "connections",
            source: Box::new(std::io::Error::other("no route to 10.0.0.7")),
        };
        assert_eq!(chain(&failure), "could not read from the table of connections: no route to 10.0.0.7");
        let told = Diagnostic::from(failure);
        assert_eq!((told.error_type.as_str(), told.error_message.as_str()), ("internal", INTERNAL_TEXT));
    }
}
