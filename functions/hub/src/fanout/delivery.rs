//! One recipient of a fan-out, and the result of an attempt to reach it.

use std::sync::Arc;

use crate::{
    failure::Failure,
    registry::{Prune, Recipient},
    signing::Payload,
};

/// A recipient and the attempts that it has had.
pub(super) struct Delivery {
    /// The index of its session.
    pub(super) session: usize,
    pub(super) frame: Arc<Payload>,
    pub(super) recipient: Recipient,
    pub(super) attempts: u32,
    /// Whether the last attempt was answered with 410.
    pub(super) was_gone: bool,
    /// Whether it failed for a recent message, and so gets a single attempt.
    pub(super) is_suspect: bool,
}

impl Delivery {
    /// A recipient without any attempt.
    pub(super) fn new(session: usize, frame: Arc<Payload>, recipient: Recipient, is_suspect: bool) -> Self {
        Self { session, frame, recipient, attempts: 0, was_gone: false, is_suspect }
    }

    /// Whether the attempt under way is its first.
    pub(super) fn is_first_attempt(&self) -> bool {
        self.attempts <= 1
    }
}

/// The result of one attempt.
pub(super) enum AttemptResult {
    Delivered,
    /// A second 410 in a row, upon which the row was pruned.
    Gone(Result<Prune, Failure>),
    /// A first 410, which another attempt has to confirm.
    PerhapsGone,
    /// Worth another attempt.
    Retry {
        /// Whether the answer was 429.
        throttled: bool,
        cause: String,
    },
    Failed(String),
    /// 403: every other post may be forbidden for the same reason.
    Forbidden(String),
    /// No request can be sent at all.
    Unsent(String),
    /// The fan-out ended before the answer came.
    Interrupted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_after_the_first_is_a_repeated_one() {
        let recipient = Recipient {
            connection_id: "c".into(),
            connected_at: None,
            expires_at: None,
            is_subscribed: false,
        };
        let mut delivery = Delivery::new(0, Arc::new(Payload::new(Vec::new())), recipient, false);
        for (attempts, is_first) in [(1, true), (2, false), (3, false)] {
            delivery.attempts = attempts;
            assert_eq!(delivery.is_first_attempt(), is_first, "{attempts}");
        }
    }
}
