//! The wall clock as numbers, which is how the table and the tokens know the time, and ages that a freeze cannot hide.

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

/// A moment by both clocks: the steady one may stand still while Lambda has the function frozen, and the wall clock
/// may be set back.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the clock that is never set.
    pub steady: Instant,
    /// By the clock on the wall.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago it was, by the clock that went further.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_by_the_clock_that_went_further() {
        let hour = Duration::from_secs(3600);
        let frozen = Moment { wall: SystemTime::now() - hour, ..Moment::now() };
        assert!(frozen.age() >= hour, "the steady clock stood still");
        let set_back = Moment { wall: SystemTime::now() + hour, ..Moment::now() };
        assert!(set_back.age() < hour, "the wall clock was set back");
    }
}
