//! The time limits of an invocation: until when it may post, and when its answer is due.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;

/// How long API Gateway waits for the function behind a route.
const GATEWAY_LIMIT: Duration = Duration::from_secs(29);
/// Reserved for the last counts, for the answer to travel, and for the time that the gateway used before the
/// invocation.
const MARGIN: Duration = Duration::from_secs(2);
/// Reserved by a worker for its answer.
const WORKER_MARGIN: Duration = Duration::from_millis(500);

/// The time limits of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// No post is begun or awaited after this. Recipients that are not settled by then count as failed.
    pub post_until: Instant,
    /// The answer leaves by this time in any case.
    pub answer_by: Instant,
    /// A sender whose frame failed is notified by this time, or not at all.
    pub notice_by: Instant,
}

impl Deadline {
    /// The limits of a function behind a route, from Lambda's `limit` and the gateway's own.
    #[must_use]
    pub fn of_route(limit: SystemTime) -> Self {
        Self::after(remaining(limit).min(GATEWAY_LIMIT))
    }

    /// The limits of a function that is invoked directly, from Lambda's `limit`.
    #[must_use]
    pub fn of_invocation(limit: SystemTime) -> Self {
        Self::after(remaining(limit))
    }

    /// The limits of a worker, from the `budget` that it has from now on and Lambda's `limit`.
    #[must_use]
    pub fn of_worker(limit: SystemTime, budget: Duration) -> Self {
        let end = Instant::now() + budget.min(remaining(limit).saturating_sub(WORKER_MARGIN));
        Self { post_until: end, answer_by: end, notice_by: end }
    }

    /// Runs `work` until the answer is due, and no longer: a function that runs into Lambda's own timeout gives its
    /// caller no answer and writes no log line. The work is boxed, because the SDK's futures are large.
    pub async fn bound<T, E: From<Failure>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout_at(self.answer_by, Box::pin(work)).await.unwrap_or_else(|_| Err(Failure::OutOfTime.into()))
    }

    fn after(budget: Duration) -> Self {
        let margin = (budget / 5).min(MARGIN);
        let end = Instant::now() + budget;
        Self { post_until: end - margin, answer_by: end - margin / 2, notice_by: end - margin / 4 }
    }
}

fn remaining(limit: SystemTime) -> Duration {
    limit.duration_since(SystemTime::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn short_and_long_budgets_keep_a_margin() {
        let now = Instant::now();
        let limits = |seconds, of: fn(SystemTime) -> Deadline| {
            let deadline = of(SystemTime::now() + Duration::from_secs(seconds));
            let millis = |moment: Instant| (moment - now).as_millis().div_ceil(10) * 10;
            (millis(deadline.post_until), millis(deadline.answer_by))
        };
        assert_eq!(limits(1, Deadline::of_route), (800, 900));
        assert_eq!(limits(5, Deadline::of_route), (4_000, 4_500));
        assert_eq!(limits(60, Deadline::of_route), (27_000, 28_000), "the gateway's 29 s");
        assert_eq!(
            limits(60, Deadline::of_invocation),
            (58_000, 59_000),
            "for a backend, Lambda's timeout is the limit"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_uses_its_budget_and_answers_before_lambda_ends_it() {
        let now = Instant::now();
        for (limit, budget, expected) in [(30_000, 24_000, 24_000), (5_000, 24_000, 4_500), (400, 24_000, 0)]
        {
            let limit = SystemTime::now() + Duration::from_millis(limit);
            let deadline = Deadline::of_worker(limit, Duration::from_millis(budget));
            let millis = (deadline.post_until - now).as_millis();
            assert!((expected.max(20) - 20..=expected).contains(&millis), "{millis} for {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_in_the_past_leaves_no_time_at_all() {
        let deadline = Deadline::of_route(SystemTime::UNIX_EPOCH);
        assert_eq!(deadline.post_until, Instant::now());
    }
}
