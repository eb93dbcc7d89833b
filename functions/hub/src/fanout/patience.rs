//! When a fan-out gives up on its last recipients.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::ATTEMPT_TIMEOUT;

/// A worker stops waiting for its last recipients after so long without an answer, though never before each had an
/// attempt's full time.
const WORKER_PATIENCE: Duration = Duration::from_secs(1);

/// The moments from which a fan-out waits for its last recipients.
pub(super) struct Patience {
    /// When a recipient last had its first attempt.
    last_begun: Instant,
    /// When a recipient was last settled.
    last_settled: Instant,
    /// Whether any post was answered with 200 or 410.
    answered: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { last_begun: now, last_settled: now, answered: false }
    }

    /// Notes that a recipient has its first attempt.
    pub(super) fn begin(&mut self, now: Instant) {
        self.last_begun = now;
    }

    /// Notes that a recipient was settled.
    pub(super) fn settle(&mut self, now: Instant) {
        self.last_settled = now;
    }

    /// Notes an answer of 200 or 410: it shows that posts arrive.
    pub(super) fn answer(&mut self) {
        self.answered = true;
    }

    /// Until when to wait for the last recipients, once each has had an attempt. A worker has no `straggler` patience:
    /// it soon leaves them to the planner.
    pub(super) fn ends_at(&self, straggler: Option<Duration>) -> Instant {
        match (straggler, self.answered) {
            (None, _) => (self.last_settled + WORKER_PATIENCE).max(self.last_begun + ATTEMPT_TIMEOUT),
            (Some(straggler), true) => self.last_settled.max(self.last_begun) + straggler,
            // A single recipient, or a throttled account: no other answer shows that the recipient can be reached.
            (Some(straggler), false) => self.last_begun + 3 * straggler,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(after: u64) -> Duration {
        Duration::from_secs(after)
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_waits_an_attempts_time_for_a_new_recipient_and_a_second_after_an_answer() {
        let (start, mut patience) = (Instant::now(), Patience::new());
        patience.begin(start + seconds(3));
        assert_eq!(patience.ends_at(None), start + seconds(3) + ATTEMPT_TIMEOUT);
        patience.settle(start + seconds(10));
        assert_eq!(patience.ends_at(None), start + seconds(10) + WORKER_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_planner_waits_three_times_as_long_for_a_first_answer_as_for_a_later_one() {
        let (start, mut patience) = (Instant::now(), Patience::new());
        patience.begin(start + seconds(1));
        patience.settle(start + seconds(2));
        assert_eq!(patience.ends_at(Some(seconds(5))), start + seconds(1 + 3 * 5));
        patience.answer();
        assert_eq!(patience.ends_at(Some(seconds(5))), start + seconds(2 + 5));
        patience.begin(start + seconds(3));
        assert_eq!(patience.ends_at(Some(seconds(5))), start + seconds(3 + 5));
    }
}
