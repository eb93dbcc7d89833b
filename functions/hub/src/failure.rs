//! Failures that are the hub's own, with one face for the log and another for whoever called.

use std::{error::Error as StdError, panic::AssertUnwindSafe};

use futures::FutureExt;
use lambda_runtime::Diagnostic;

use crate::metrics::{self, HANDLER_ERRORS};

/// A failure of ours: the handler returns it, so that Lambda's Errors metric and its alarm see it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The invocation's payload is not what this function is wired to. Holds no part of the payload.
    #[error("the event is not one that this function is made for: {0}")]
    Event(String),
    /// DynamoDB did not do what was asked, after the SDK's own retries.
    #[error("could not {action} the table of {what}")]
    Table {
        /// What was attempted, as in "read from".
        action: &'static str,
        /// What the table holds.
        what: &'static str,
        /// The SDK's error.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A table had not given all that was asked of it when the answer was due.
    #[error(
        "the time ran out before the tables had answered; see whether DynamoDB is slow, or raise the function's timeout"
    )]
    OutOfTime,
    /// What only one module can fail at.
    #[error("{text}")]
    Other {
        /// A stable word for the log.
        cause: &'static str,
        /// What is wrong, and what to do about it.
        text: String,
    },
    /// A bug. Where it is, the panic's own log line says.
    #[error("the handler panicked")]
    Panic,
}

/// What a caller is told of any failure of ours.
pub const PUBLIC_TEXT: &str =
    "the hub could not handle this; try again, and if it persists ask its operator to look in the log";

impl Failure {
    /// A stable word for the log, to count failures by.
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

    /// A failure of a kind that has no variant of its own.
    pub fn other(cause: &'static str, text: impl Into<String>) -> Self {
        Self::Other { cause, text: text.into() }
    }
}

impl From<Failure> for Diagnostic {
    /// API Gateway or the invoker may pass this on, so it holds no internals: those are in the log.
    fn from(_: Failure) -> Self {
        Self { error_type: "internal".into(), error_message: PUBLIC_TEXT.into() }
    }
}

/// Handles one invocation: writes what is counted in it, and makes a panic one failure, without the panic's text. The
/// next invocation finds the same process: nothing outlives one but clients and counters, which a panic leaves whole.
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

/// An error and everything beneath it on one line: `outer: inner: innermost`.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // The SDK repeats a cause in the text of its wrapper.
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
        assert_eq!((told.error_type.as_str(), told.error_message.as_str()), ("internal", PUBLIC_TEXT));
    }
}
