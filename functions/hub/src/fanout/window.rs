//! How many posts may be under way at once.

use std::time::Duration;

use tokio::time::Instant;

use super::delivery::AttemptResult;

/// The lowest limit, and the first where no connection is open.
const FEW_POSTS: usize = 8;
/// The time in which the limit doubles while connections are opened. A TLS handshake for every recipient at once would
/// take so long on a small function that all of them time out.
const DOUBLED_EVERY: Duration = Duration::from_millis(100);
const HALVED_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// The limit. It starts at the number of connections that are open, rises with each success and with time, and is
/// halved when the gateway throttles.
pub(super) struct Window {
    size: usize,
    most: usize,
    doubled_at: Instant,
    halved_at: Option<Instant>,
}

impl Window {
    pub(super) fn new(idle_connections: usize, most: usize) -> Self {
        let size = idle_connections.max(FEW_POSTS).min(most);
        Self { size, most, doubled_at: Instant::now(), halved_at: None }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// When it rises next without an answer. Once it has been halved, only successes raise it.
    pub(super) fn grows_at(&self) -> Option<Instant> {
        let grows = self.size < self.most && self.halved_at.is_none();
        grows.then(|| self.doubled_at + DOUBLED_EVERY)
    }

    pub(super) fn grow(&mut self, now: Instant) {
        if self.grows_at().is_some_and(|at| at <= now) {
            self.size = (self.size * 2).min(self.most);
            self.doubled_at = now;
        }
    }

    /// Takes an answer into account; a throttled one only if it `is_first` for its recipient.
    pub(super) fn adapt(&mut self, is_first: bool, result: &AttemptResult) {
        match result {
            AttemptResult::Delivered => self.size = (self.size + 1).min(self.most),
            AttemptResult::Retry { throttled: true, .. } if is_first => {
                let now = Instant::now();
                if self.halved_at.is_none_or(|at| now - at >= HALVED_AT_MOST_EVERY) {
                    self.size = (self.size / 2).max(FEW_POSTS.min(self.most));
                    self.halved_at = Some(now);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_widens_with_time_and_success_and_halves_at_most_every_100_ms() {
        let throttled = AttemptResult::Retry { throttled: true, cause: String::new() };
        let mut window = Window::new(0, 100);
        assert_eq!((window.size(), window.grows_at()), (8, Some(Instant::now() + DOUBLED_EVERY)));
        for expected in [16, 32, 64, 100] {
            let grows_at = window.grows_at().unwrap();
            window.grow(grows_at - Duration::from_millis(1));
            assert!(window.size() < expected);
            window.grow(grows_at);
            assert_eq!(window.size(), expected);
        }
        assert_eq!(window.grows_at(), None);
        window.adapt(true, &throttled);
        window.adapt(true, &throttled);
        window.adapt(false, &throttled);
        assert_eq!((window.size(), window.grows_at()), (50, None));
        tokio::time::advance(Duration::from_millis(100)).await;
        window.adapt(false, &throttled);
        assert_eq!(window.size(), 50, "only first attempts count");
        window.adapt(true, &throttled);
        window.adapt(true, &AttemptResult::Delivered);
        assert_eq!(window.size(), 26);
        for _ in 0..10 {
            tokio::time::advance(Duration::from_millis(100)).await;
            window.adapt(true, &throttled);
        }
        assert_eq!(window.size(), 8, "it never stops posting");
    }

    #[test]
    fn a_window_begins_with_the_connections_that_are_open_and_is_never_too_large() {
        for (open, most, expected) in [(40, 64, 40), (80, 64, 64), (0, 64, 8), (0, 3, 3), (9, 1, 1)] {
            assert_eq!(Window::new(open, most).size(), expected, "{open} {most}");
        }
    }
}
