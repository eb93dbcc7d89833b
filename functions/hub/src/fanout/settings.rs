//! The settings of a fan-out: their variables, defaults and ranges.

use std::time::Duration;

use crate::config::{ConfigError, Variables};

/// Reads `FANOUT_CONCURRENCY`, the most posts that may be under way at once.
///
/// # Errors
///
/// It is malformed.
pub fn concurrency(variables: &Variables) -> Result<usize, ConfigError> {
    variables.number("FANOUT_CONCURRENCY", 64, &(1..=512))
}

/// Reads `STRAGGLER_SECONDS`: how long to wait for the last recipients after another one was settled.
pub(crate) fn straggler_patience(variables: &Variables) -> Result<Duration, ConfigError> {
    Ok(Duration::from_secs(variables.number("STRAGGLER_SECONDS", 5, &(1..=60))?))
}

/// How a fan-out shares its recipients with workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    /// How many recipients a fan-out posts to itself before it hands any over. 0 if it never does.
    pub(crate) own: usize,
    /// The most chunks under way at once.
    pub(crate) workers: u32,
    /// The most posts per second of one fan-out, by all functions together; 0 is no limit.
    total_rate: u32,
}

impl Split {
    /// Reads `FANOUT_SPLIT`, `FANOUT_WORKERS` and `FANOUT_RATE`.
    pub(crate) fn new(variables: &Variables) -> Result<Self, ConfigError> {
        let own = variables.number("FANOUT_SPLIT", 4_000, &(0..=1_000_000))?;
        let workers = variables.number("FANOUT_WORKERS", 4, &(1..=100))?;
        let total_rate = variables.number("FANOUT_RATE", 8_000, &(0..=1_000_000))?;
        let split = Self { own, workers, total_rate };
        let posters = split.posters();
        if (1..posters).contains(&total_rate) {
            let problem = format!(
                "is {total_rate}: it must be 0, for no limit, or at least FANOUT_WORKERS + 1, which is {posters}"
            );
            return Err(ConfigError::new("FANOUT_RATE", problem));
        }
        Ok(split)
    }

    /// The functions that post: the workers, and the one that hands over.
    fn posters(self) -> u32 {
        self.workers + 1
    }

    /// Each function's share of the rate, in posts per second; 0 is no limit.
    pub(crate) fn rate(self) -> u32 {
        self.total_rate / self.posters()
    }

    /// What `at_work` workers leave of the rate, in posts per second; 0 is no limit.
    pub(crate) fn rate_beside(self, at_work: usize) -> u32 {
        let at_work = u32::try_from(at_work).unwrap_or(u32::MAX).min(self.workers);
        self.total_rate - self.rate() * at_work
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(variables: &[(&str, &str)]) -> Split {
        Split::new(&Variables::of(variables)).unwrap()
    }

    #[test]
    fn the_rate_is_shared_with_the_function_that_hands_over() {
        for (variables, expected) in [
            (vec![], (4_000, 2_000, 4, 1_600)),
            (
                vec![("FANOUT_SPLIT", "200"), ("FANOUT_WORKERS", "2"), ("FANOUT_RATE", "100")],
                (200, 200, 2, 33),
            ),
            (vec![("FANOUT_RATE", "0")], (4_000, 2_000, 4, 0)),
            (vec![("FANOUT_RATE", "5")], (4_000, 2_000, 4, 1)),
        ] {
            let found = split(&variables);
            assert_eq!((found.own, found.chunk_size(), found.workers, found.rate()), expected);
        }
        let found = split(&[("FANOUT_WORKERS", "2")]);
        let left = [0, 1, 2, 3].map(|at_work| found.rate_beside(at_work));
        assert_eq!(left, [8_000, 5_334, 2_668, 2_668]);
    }

    #[test]
    fn a_fan_out_makes_64_posts_at_once_and_waits_5_s_for_the_last_recipients_unless_told_otherwise() {
        let read = |variables: &[(&str, &str)]| {
            let variables = Variables::of(variables);
            (concurrency(&variables).unwrap(), straggler_patience(&variables).unwrap())
        };
        assert_eq!(read(&[]), (64, Duration::from_secs(5)));
        let variables = [("FANOUT_CONCURRENCY", "512"), ("STRAGGLER_SECONDS", "60")];
        assert_eq!(read(&variables), (512, Duration::from_secs(60)));
        for value in ["0", "513"] {
            assert!(concurrency(&Variables::of(&[("FANOUT_CONCURRENCY", value)])).is_err(), "{value}");
        }
        for value in ["0", "61"] {
            assert!(straggler_patience(&Variables::of(&[("STRAGGLER_SECONDS", value)])).is_err(), "{value}");
        }
    }

    #[test]
    fn each_bad_value_is_refused_by_name() {
        for (name, value) in [
            ("FANOUT_SPLIT", "-1"),
            ("FANOUT_WORKERS", "0"),
            ("FANOUT_WORKERS", "101"),
            ("FANOUT_RATE", "4"),
            ("FANOUT_RATE", "1000001"),
        ] {
            let error = Split::new(&Variables::of(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
    }
}
