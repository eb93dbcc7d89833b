//! The most posts per second that a fan-out may make.

use std::time::Duration;

use tokio::time::Instant;

/// A fan-out whose timer fires late may catch up on this much.
const CATCHES_UP: Duration = Duration::from_millis(10);
/// Posts may arrive closer together than they left, by so much of each second.
const ARRIVES_CLOSER: Duration = Duration::from_millis(30);

/// A limit, or none.
#[derive(Debug)]
pub(super) struct RateLimit {
    /// 0 is no limit.
    rate: u32,
    /// From one post to the next.
    interval: Duration,
    /// When the next post is due.
    due: Instant,
}

impl RateLimit {
    /// At most `rate` posts in any second; 0 is no limit.
    pub(super) fn new(rate: u32) -> Self {
        let mut rate_limit = Self { rate: 0, interval: Duration::ZERO, due: Instant::now() };
        rate_limit.set_rate(rate, rate_limit.due);
        rate_limit
    }

    /// Changes the rate from now on.
    pub(super) fn set_rate(&mut self, rate: u32, now: Instant) {
        if rate != self.rate {
            // Without a limit there was nothing to catch up on.
            self.due = if self.rate == 0 { now } else { self.due };
            self.rate = rate;
            // A little longer than a second, so that neither allowance exceeds the rate.
            let second = Duration::from_secs(1) + CATCHES_UP + ARRIVES_CLOSER;
            self.interval =
                second.checked_div(rate).map_or(Duration::ZERO, |even| even + Duration::from_nanos(1));
        }
    }

    /// When the next post may be made, if there is a limit.
    pub(super) fn free_at(&self) -> Option<Instant> {
        (self.rate > 0).then(|| self.due - CATCHES_UP)
    }

    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.free_at().is_none_or(|at| at <= now)
    }

    /// Notes that a post is made.
    pub(super) fn take(&mut self, now: Instant) {
        self.due = now.max(self.due) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When posts are made in the first 5 s by a fan-out that wakes up `every` so often.
    fn posts(rate: u32, every: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let mut rate_limit = RateLimit::new(rate);
        let mut posts = Vec::new();
        let mut now = start;
        while now < start + Duration::from_secs(5) {
            while rate_limit.is_free(now) {
                rate_limit.take(now);
                posts.push(now - start);
            }
            now += every;
        }
        posts
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_posts_than_the_rate_and_hardly_fewer() {
        for rate in [1, 7, 100, 1_600, 20_000] {
            for micros in [50, 1_000, 3_300, 9_000] {
                let posts = posts(rate, Duration::from_micros(micros));
                for (index, at) in posts.iter().enumerate() {
                    let within =
                        posts[index..].partition_point(|other| *other < *at + Duration::from_secs(1));
                    assert!(
                        within <= rate as usize,
                        "{within} in a second at {rate}, awake every {micros} µs"
                    );
                }
                let least = f64::from(rate) * 5.0 * 0.94 - 1.0;
                assert!(
                    posts.len() as f64 >= least,
                    "{} in 5 s at {rate}, awake every {micros} µs",
                    posts.len()
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_is_within_the_rate_even_where_posts_arrive_closer_together_than_they_left() {
        let start = Instant::now();
        for rate in [1, 7, 100, 1_600, 20_000] {
            let mut rate_limit = RateLimit::new(rate);
            (0..rate).for_each(|_| rate_limit.take(start));
            let next = rate_limit.free_at().unwrap();
            assert!(next > start + Duration::from_secs(1) + ARRIVES_CLOSER, "{rate}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_fan_out_saves_nothing_up() {
        let start = Instant::now();
        let mut rate_limit = RateLimit::new(100);
        let later = start + Duration::from_secs(60);
        let mut at_once = 0;
        while rate_limit.is_free(later) {
            rate_limit.take(later);
            at_once += 1;
        }
        assert_eq!(at_once, 1, "10 ms do not earn a second post");
        assert_eq!(RateLimit::new(0).free_at(), None, "0 is no limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_changes_often_adds_nothing() {
        let start = Instant::now();
        let (mut rate_limit, mut posts, mut now) = (RateLimit::new(1_000), 0, start);
        while now < start + Duration::from_secs(1) {
            rate_limit.set_rate(if posts % 2 == 0 { 1_000 } else { 999 }, now);
            while rate_limit.is_free(now) {
                rate_limit.take(now);
                posts += 1;
            }
            now += Duration::from_millis(3);
        }
        assert!((930..=1_000).contains(&posts), "{posts}");
    }
}
