//! How long a delivery waits before its next attempt. Which connections get only one is for recent_failures.rs.

use std::time::Duration;

/// After a first 410: the gateway is known to answer it for sockets that are alive, so one more attempt has to confirm
/// it.
pub(super) const GONE_PAUSE: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// The pause after so many attempts. Full jitter keeps connections that were throttled together from returning
/// together.
pub(super) fn backoff(attempts: u32) -> Duration {
    let longest = FIRST_BACKOFF * 2_u32.saturating_pow(attempts.saturating_sub(1)).min(1 << 10);
    longest.min(LONGEST_BACKOFF).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_random_below_a_limit_that_doubles_up_to_3_s() {
        for (attempts, limit) in
            [(1, 50), (2, 100), (3, 200), (6, 1_600), (7, 3_000), (40, 3_000), (u32::MAX, 3_000)]
        {
            let limit = Duration::from_millis(limit);
            let pauses: Vec<_> = (0..1000).map(|_| backoff(attempts)).collect();
            assert!(pauses.iter().all(|pause| *pause <= limit), "{attempts}");
            assert!(pauses.iter().any(|pause| *pause > limit.mul_f64(0.9)), "{attempts}");
            assert!(pauses.iter().any(|pause| *pause < limit.mul_f64(0.1)), "{attempts}");
        }
    }
}
