//! How long a delivery waits before its next attempt.

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
