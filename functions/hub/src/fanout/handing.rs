//! Which recipients a fan-out hands to other functions: those after the first so many, in full chunks.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{registry::Recipient, signed::Payload, workers::Workers};

/// After so long without a chunk that was handed out or came back, a fan-out that is idle posts the next one itself.
const IDLE_PATIENCE: Duration = Duration::from_secs(2);
/// After so long without a page, a fan-out that is idle does not wait for chunks to fill.
const READ_PATIENCE: Duration = Duration::from_millis(250);
/// A function has less time than there is left for posting, since its answer has to come back.
const WAY_BACK: Duration = Duration::from_secs(1);
/// With less time, another function may not even start.
const LEAST_BUDGET: Duration = Duration::from_secs(1);
/// A function has no longer for a chunk, or four times as long as its rate allows for it: it leaves what it has not done by
/// then, and an answer that never comes must not hold up the whole message.
const LONGEST_BUDGET: Duration = Duration::from_secs(10);

/// Some recipients of one session.
pub(super) struct Part {
    /// The session's place in the list.
    pub(super) session: usize,
    pub(super) frame: Arc<Payload>,
    pub(super) recipients: Vec<Recipient>,
}

pub(super) struct Handing<'a> {
    workers: &'a Workers,
    /// How many live recipients the fan-out still keeps before it hands out any.
    own: usize,
    /// By the session's place, and by whether they are subscribed.
    filling: HashMap<(usize, bool), Part>,
    full: VecDeque<Part>,
    has_begun: bool,
    /// When a chunk was last handed out or came back.
    changed_at: Instant,
    read_at: Instant,
    /// Until when functions may be at work whose answers were lost.
    lost: Vec<Instant>,
}

impl<'a> Handing<'a> {
    pub(super) fn new(workers: &'a Workers) -> Self {
        let now = Instant::now();
        Self {
            workers,
            own: workers.split,
            filling: HashMap::new(),
            full: VecDeque::new(),
            has_begun: false,
            changed_at: now,
            read_at: now,
            lost: Vec::new(),
        }
    }

    /// Takes live recipients that were read, and returns those that the fan-out keeps.
    pub(super) fn take(&mut self, mut read: Part) -> Part {
        self.read_at = Instant::now();
        let rest = read.recipients.split_off(self.own.min(read.recipients.len()));
        self.own -= read.recipients.len();
        let size = self.workers.chunk_size();
        for recipient in rest {
            let key = (read.session, recipient.is_subscribed);
            let part = self.filling.entry(key).or_insert_with(|| Part {
                session: read.session,
                frame: read.frame.clone(),
                recipients: Vec::with_capacity(size),
            });
            part.recipients.push(recipient);
            if part.recipients.len() == size {
                self.full.extend(self.filling.remove(&key));
            }
        }
        read
    }

    /// Recipients of a session that fill no chunk, once no more of them come.
    pub(super) fn rest(&mut self, session: usize) -> impl Iterator<Item = Part> {
        [false, true]
            .into_iter()
            .filter_map(move |is_subscribed| self.filling.remove(&(session, is_subscribed)))
    }

    /// What to do with the chunk that is next. `at_work` functions have one each, and posting ends at `end`. `is_idle`: the
    /// fan-out has no recipient of its own left to try.
    pub(super) fn next(&mut self, at_work: usize, is_idle: bool, end: Instant, now: Instant) -> Option<Next> {
        self.lost.retain(|until| *until > now);
        if self.full.is_empty() {
            let is_overdue = is_idle && now >= self.read_at + READ_PATIENCE;
            let key = *self.filling.keys().next().filter(|_| is_overdue)?;
            return self.filling.remove(&key).map(Next::Keep);
        }
        let has_time = now + self.least_time() <= end;
        if has_time && at_work + self.lost.len() < self.workers.at_once {
            (self.has_begun, self.changed_at) = (true, now);
            let longest = LONGEST_BUDGET.max(4 * self.workers.chunk_time());
            let budget = end.saturating_duration_since(now).saturating_sub(WAY_BACK).min(longest);
            return self.full.pop_front().map(|part| Next::HandOut(part, budget));
        }
        let is_stuck = at_work == 0 || (is_idle && now >= self.changed_at + IDLE_PATIENCE);
        if has_time && !is_stuck { None } else { self.full.pop_front().map(Next::Keep) }
    }

    /// When to ask for the next chunk again, if nothing happens before.
    pub(super) fn due(&self, end: Instant, now: Instant) -> Option<Instant> {
        let late = end.checked_sub(self.least_time()).map(|last| last + Duration::from_millis(1));
        let chunk = [late, Some(self.changed_at + IDLE_PATIENCE)];
        let rest = self.read_at + READ_PATIENCE;
        let chunk = chunk.into_iter().flatten().filter(|_| self.has_full());
        let rest = Some(rest).filter(|_| self.full.is_empty() && !self.filling.is_empty());
        chunk.chain(rest).chain(self.lost.iter().copied()).filter(|due| *due > now).min()
    }

    /// What a function needs at the least to be done with a chunk before posting ends.
    fn least_time(&self) -> Duration {
        WAY_BACK + self.workers.chunk_time().max(LEAST_BUDGET)
    }

    /// A chunk is back.
    pub(super) fn change(&mut self) {
        self.changed_at = Instant::now();
    }

    /// A function was lost, and may be at work `until` then. Nothing takes its place meanwhile: it may use its share of the rate.
    pub(super) fn lose(&mut self, until: Instant) {
        self.lost.push(until);
    }

    /// How many posts per second the fan-out itself may make: what the functions at work leave of the rate. `None` while
    /// nothing was handed out.
    pub(super) fn own_rate(&self, at_work: usize) -> Option<u32> {
        self.has_begun.then(|| self.workers.rate_beside(at_work + self.lost.len()))
    }

    pub(super) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// How many recipients the fan-out may have at hand for itself and still read on.
    pub(super) fn reads_ahead(&self) -> usize {
        if self.has_begun { self.workers.chunk_size() } else { 0 }
    }

    /// All that is not handed out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Part> {
        self.full.drain(..).chain(self.filling.drain().map(|(_, part)| part))
    }
}

/// Where a chunk goes.
pub(super) enum Next {
    /// To another function, which has so long.
    HandOut(Part, Duration),
    /// Nowhere: the fan-out posts it itself.
    Keep(Part),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;

    fn workers_of(split: &str, at_once: &str) -> Workers {
        let variables = Variables::of(&[
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("DELIVER_FUNCTION", "deliver:live"),
            ("FANOUT_SPLIT", split),
            ("FANOUT_WORKERS", at_once),
        ]);
        Workers::new(&variables).unwrap().unwrap()
    }

    /// How many of so many recipients of a session are kept.
    fn take(handing: &mut Handing<'_>, session: usize, is_subscribed: bool, count: usize) -> usize {
        let recipient = |id: usize| Recipient {
            connection_id: id.to_string(),
            connected_at: None,
            expires_at: None,
            is_subscribed,
        };
        let frame = Arc::new(Payload::new(Vec::new()));
        handing
            .take(Part { session, frame, recipients: (0..count).map(recipient).collect() })
            .recipients
            .len()
    }

    /// Asks for the next chunk with so many functions at work, so long after the start and with so much time left.
    struct Clock(Instant);

    impl Clock {
        const AMPLE: u64 = 20_000;

        fn next(&self, handing: &mut Handing<'_>, at_work: usize, is_idle: bool, after: u64) -> Option<Next> {
            self.next_with(handing, at_work, is_idle, after, Self::AMPLE)
        }

        fn next_with(
            &self,
            handing: &mut Handing<'_>,
            at_work: usize,
            is_idle: bool,
            after: u64,
            left: u64,
        ) -> Option<Next> {
            let now = self.0 + Duration::from_millis(after);
            handing.next(at_work, is_idle, now + Duration::from_millis(left), now)
        }
    }

    fn is_handed_out(next: &Option<Next>) -> bool {
        matches!(next, Some(Next::HandOut(..)))
    }

    fn is_kept(next: &Option<Next>) -> bool {
        matches!(next, Some(Next::Keep(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_first_recipients_full_chunks_of_a_session_and_a_kind_are_handed_out() {
        let (workers, clock) = (workers_of("10", "100"), Clock(Instant::now()));
        let mut handing = Handing::new(&workers);
        assert_eq!(take(&mut handing, 0, false, 12), 10);
        assert_eq!(take(&mut handing, 0, false, 23) + take(&mut handing, 0, true, 9), 0);
        assert_eq!(take(&mut handing, 1, false, 10) + take(&mut handing, 0, true, 2), 0);
        let mut handed = Vec::new();
        while let Some(next) = clock.next(&mut handing, 0, false, 0) {
            let Next::HandOut(part, budget) = next else { panic!("there is a function for each") };
            assert_eq!(budget, LONGEST_BUDGET);
            handed.push((part.session, part.recipients[0].is_subscribed, part.recipients.len()));
        }
        assert_eq!(handed, [(0, false, 10), (0, false, 10), (1, false, 10), (0, true, 10)]);
        let rest = |handing: &mut Handing<'_>, session| {
            handing.rest(session).map(|part| part.recipients.len()).collect::<Vec<_>>()
        };
        assert_eq!((rest(&mut handing, 0), rest(&mut handing, 1)), (vec![5, 1], vec![]));
        assert_eq!(handing.drain().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_is_lost_keeps_its_place_and_its_share_until_its_time_is_over() {
        let (workers, clock) = (workers_of("1", "2"), Clock(Instant::now()));
        let mut handing = Handing::new(&workers);
        assert_eq!(handing.own_rate(0), None, "nothing was handed out");
        take(&mut handing, 0, false, 6);
        assert!(is_handed_out(&clock.next(&mut handing, 0, false, 0)));
        assert!(is_handed_out(&clock.next(&mut handing, 1, false, 0)));
        assert!(clock.next(&mut handing, 2, false, 0).is_none() && handing.has_full(), "both are at work");
        assert_eq!((handing.own_rate(2), handing.own_rate(1)), (Some(2_668), Some(5_334)));
        handing.lose(clock.0 + Duration::from_secs(1));
        assert!(clock.next(&mut handing, 1, false, 500).is_none(), "one is, and the other may be");
        assert_eq!(handing.own_rate(1), Some(2_668));
        handing.lose(clock.0 + Duration::from_secs(1));
        assert!(is_kept(&clock.next(&mut handing, 0, false, 500)), "none will answer any more");
        assert!(is_handed_out(&clock.next(&mut handing, 0, false, 1_000)), "both are certainly done");
    }

    #[tokio::test(start_paused = true)]
    async fn while_no_function_answers_a_fan_out_that_is_idle_posts_chunks_itself() {
        let (workers, clock) = (workers_of("1", "1"), Clock(Instant::now()));
        let mut handing = Handing::new(&workers);
        take(&mut handing, 0, false, 4);
        assert!(is_handed_out(&clock.next(&mut handing, 0, true, 0)));
        assert!(clock.next(&mut handing, 1, true, 1_999).is_none());
        let end = clock.0 + Duration::from_secs(20);
        assert_eq!(handing.due(end, clock.0), Some(clock.0 + IDLE_PATIENCE));
        assert!(clock.next(&mut handing, 1, false, 2_000).is_none(), "it has others to post to");
        assert!(is_kept(&clock.next(&mut handing, 1, true, 2_000)));
        tokio::time::advance(Duration::from_millis(2_100)).await;
        handing.change();
        assert!(clock.next(&mut handing, 1, true, 2_200).is_none(), "one has answered");
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_for_another_function_nothing_is_handed_out() {
        let (workers, clock) = (workers_of("1", "1"), Clock(Instant::now()));
        let mut handing = Handing::new(&workers);
        take(&mut handing, 0, false, 4);
        assert!(is_kept(&clock.next_with(&mut handing, 0, false, 0, 1_999)));
        assert!(is_handed_out(&clock.next_with(&mut handing, 0, false, 0, 2_000)));
        let end = clock.0 + Duration::from_secs(3);
        assert_eq!(
            handing.due(end, clock.0),
            Some(clock.0 + Duration::from_millis(1_001)),
            "then it is late"
        );
        // At 1,600 a second two thousand take more than that.
        let large = workers_of("4000", "4");
        let mut handing = Handing::new(&large);
        take(&mut handing, 0, false, 8_000);
        assert!(is_kept(&clock.next_with(&mut handing, 0, false, 0, 2_200)));
        assert!(is_handed_out(&clock.next_with(&mut handing, 0, false, 0, 2_300)));
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_is_read_a_fan_out_that_is_idle_does_not_wait_for_chunks_to_fill() {
        let (workers, clock) = (workers_of("10", "1"), Clock(Instant::now()));
        let mut handing = Handing::new(&workers);
        take(&mut handing, 0, false, 13);
        let end = clock.0 + Duration::from_secs(20);
        assert_eq!(handing.due(end, clock.0), Some(clock.0 + READ_PATIENCE));
        assert!(clock.next(&mut handing, 0, true, 249).is_none());
        assert!(clock.next(&mut handing, 0, false, 250).is_none(), "it has others to post to");
        assert!(is_kept(&clock.next(&mut handing, 0, true, 250)));
        assert_eq!(handing.due(end, clock.0), None);
    }
}
