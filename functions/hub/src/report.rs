//! The result of a fan-out: what became of its recipients, and what went wrong.

use serde::{Deserialize, Serialize};

use crate::protocol::SessionCounts;

/// The result of a fan-out. Every recipient that was read is in exactly one count of its session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The counts of each session, in the order given.
    pub sessions: Vec<SessionCounts>,
    /// Attempts beyond each recipient's first.
    pub retries: u64,
    /// Attempts that were answered with 429.
    pub throttled: u64,
    /// Stale rows deleted.
    pub pruned: u64,
    /// Sessions whose message could not be written, or whose recipients could not all be read.
    pub session_failures: ErrorSummary,
    /// Prunes that failed.
    pub prune_failures: ErrorSummary,
    /// Recipients that count as failed.
    pub delivery_failures: ErrorSummary,
    /// Connections closed because their token has expired: they are in no count.
    pub closed: u64,
    /// Connections that could not be closed.
    pub close_failures: ErrorSummary,
    /// Chunks that were handed to other functions.
    pub chunks: u64,
    /// Chunks that came back undelivered.
    pub chunk_failures: ErrorSummary,
}

/// Errors of one kind: how many, and the cause of the first. A log line for each recipient would flood the log.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorSummary {
    /// How many.
    pub count: u64,
    /// The first one's cause chain.
    pub first_cause: Option<String>,
}

impl ErrorSummary {
    pub(crate) fn add(&mut self, cause: String) {
        self.count += 1;
        self.first_cause.get_or_insert(cause);
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        self.count += other.count;
        self.first_cause = self.first_cause.take().or(other.first_cause);
    }
}
