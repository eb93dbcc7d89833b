//! The wall clock as numbers, which is how the table and the tokens know the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole seconds since 1970.
#[must_use]
pub fn now_seconds() -> i64 {
    since_epoch().as_secs().try_into().unwrap_or(i64::MAX)
}
