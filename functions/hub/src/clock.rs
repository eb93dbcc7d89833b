//! The time as numbers, as tables and tokens hold it, and ages that include the time in which Lambda froze the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

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

/// A moment by both clocks: the monotonic one may stand still while Lambda freezes the process, and the wall clock may
/// be set back.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the monotonic clock.
    pub steady: Instant,
    /// By the wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// The time since then, by the clock that advanced further.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_measured_by_the_clock_that_advanced_further() {
        let hour = Duration::from_secs(3600);
        let frozen = Moment { wall: SystemTime::now() - hour, ..Moment::now() };
        assert!(frozen.age() >= hour, "the monotonic clock stood still");
        let set_back = Moment { wall: SystemTime::now() + hour, ..Moment::now() };
        assert!(set_back.age() < hour, "the wall clock was set back");
    }
}
