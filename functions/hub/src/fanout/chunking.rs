//! Which recipients a fan-out hands over to workers: full chunks, after the first recipients that it keeps for itself.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::settings::Split;
use crate::{registry::Recipient, signing::Payload};

/// The most connections in one chunk: some 100 KB, and about a second's work. infra/variables_capacity.tf reckons with it.
const LARGEST_CHUNK: usize = 2_000;
/// An idle fan-out posts the next chunk itself if none was handed over or came back for so long.
const IDLE_PATIENCE: Duration = Duration::from_secs(2);
/// An idle fan-out stops waiting for a chunk to fill if no page was read for so long.
const READ_PATIENCE: Duration = Duration::from_millis(250);
/// A worker must finish so long before posting ends, since its answer has to come back.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// With a shorter budget, a worker may not even start in time.
const LEAST_BUDGET: Duration = Duration::from_secs(1);
/// The longest budget, unless four times what a chunk takes at the worker's rate is longer. An answer that never comes
/// must not hold up the whole message.
const LONGEST_BUDGET: Duration = Duration::from_secs(10);

impl Split {
    /// How many connections a full chunk has.
    pub(super) fn chunk_size(self) -> usize {
        self.own.min(LARGEST_CHUNK)
    }

    /// The least time that a worker takes for a chunk at its rate.
    fn chunk_time(self) -> Duration {
        let size = u32::try_from(self.chunk_size()).unwrap_or(u32::MAX);
        (Duration::from_secs(1) * size).checked_div(self.rate()).unwrap_or_default()
    }
}

/// Some recipients of one session.
pub(super) struct Batch {
    /// The index of the session.
    pub(super) session: usize,
    pub(super) frame: Arc<Payload>,
    pub(super) recipients: Vec<Recipient>,
}

pub(super) struct Chunking {
    split: Split,
    /// How many more live recipients the fan-out keeps.
    own: usize,
    /// By the session's index, and by whether the recipients are subscribed.
    filling: HashMap<(usize, bool), Batch>,
    full: VecDeque<Batch>,
    has_begun: bool,
    /// When a chunk was last handed over or came back.
    changed_at: Instant,
    read_at: Instant,
    /// The times until which workers whose answer was lost may still be posting.
    lost: Vec<Instant>,
}

/// What to do with a chunk.
pub(super) enum Next {
    /// Hand it over to a worker, with this time budget.
    HandOver(Batch, Duration),
    /// Post it from this function.
    Keep(Batch),
}

impl Chunking {
    pub(super) fn new(split: Split) -> Self {
        let now = Instant::now();
        Self {
            split,
            own: split.own,
            filling: HashMap::new(),
            full: VecDeque::new(),
            has_begun: false,
            changed_at: now,
            read_at: now,
            lost: Vec::new(),
        }
    }

    /// Takes live recipients that were read. Returns those that the fan-out keeps.
    pub(super) fn take(&mut self, mut read: Batch) -> Batch {
        self.read_at = Instant::now();
        let rest = read.recipients.split_off(self.own.min(read.recipients.len()));
        self.own -= read.recipients.len();
        let size = self.split.chunk_size();
        for recipient in rest {
            let key = (read.session, recipient.is_subscribed);
            let batch = self.filling.entry(key).or_insert_with(|| Batch {
                session: read.session,
                frame: read.frame.clone(),
                recipients: Vec::with_capacity(size),
            });
            batch.recipients.push(recipient);
            if batch.recipients.len() == size {
                self.full.extend(self.filling.remove(&key));
            }
        }
        read
    }

    /// The recipients of a session that fill no chunk, once all of it has been read.
    pub(super) fn rest(&mut self, session: usize) -> impl Iterator<Item = Batch> {
        [false, true]
            .into_iter()
            .filter_map(move |is_subscribed| self.filling.remove(&(session, is_subscribed)))
    }

    /// What to do with the next chunk, while `at_work` workers have one each and posting ends at `end`. The fan-out
    /// `is_idle` when it has no recipient of its own without an attempt.
    pub(super) fn next(&mut self, at_work: usize, is_idle: bool, end: Instant, now: Instant) -> Option<Next> {
        self.lost.retain(|until| *until > now);
        if self.full.is_empty() {
            let is_overdue = is_idle && now >= self.read_at + READ_PATIENCE;
            let key = *self.filling.keys().next().filter(|_| is_overdue)?;
            return self.filling.remove(&key).map(Next::Keep);
        }
        let has_time = now + self.least_time() <= end;
        if has_time && at_work + self.lost.len() < self.split.workers as usize {
            (self.has_begun, self.changed_at) = (true, now);
            let longest = LONGEST_BUDGET.max(4 * self.split.chunk_time());
            let budget = end.saturating_duration_since(now).saturating_sub(ANSWER_MARGIN).min(longest);
            return self.full.pop_front().map(|batch| Next::HandOver(batch, budget));
        }
        let is_stuck = at_work == 0 || (is_idle && now >= self.changed_at + IDLE_PATIENCE);
        if has_time && !is_stuck { None } else { self.full.pop_front().map(Next::Keep) }
    }

    /// When to ask for the next chunk again if nothing happens before.
    pub(super) fn due(&self, end: Instant, now: Instant) -> Option<Instant> {
        let late = end.checked_sub(self.least_time()).map(|last| last + Duration::from_millis(1));
        let chunk = [late, Some(self.changed_at + IDLE_PATIENCE)];
        let rest = self.read_at + READ_PATIENCE;
        let chunk = chunk.into_iter().flatten().filter(|_| self.has_full());
        let rest = Some(rest).filter(|_| self.full.is_empty() && !self.filling.is_empty());
        chunk.chain(rest).chain(self.lost.iter().copied()).filter(|due| *due > now).min()
    }

    /// The shortest time before the end of posting in which a worker can deliver a chunk.
    fn least_time(&self) -> Duration {
        ANSWER_MARGIN + self.split.chunk_time().max(LEAST_BUDGET)
    }

    /// Notes that a chunk came back.
    pub(super) fn chunk_back(&mut self) {
        self.changed_at = Instant::now();
    }

    /// Notes that the answer of a worker was lost. It may be posting `until` then, with its share of the rate, so no
    /// other takes its place before.
    pub(super) fn lose(&mut self, until: Instant) {
        self.lost.push(until);
    }

    /// This function's share of the rate: what the workers leave of it. `None` until a chunk was handed over.
    pub(super) fn own_rate(&self, at_work: usize) -> Option<u32> {
        self.has_begun.then(|| self.split.rate_beside(at_work + self.lost.len()))
    }

    pub(super) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// How many recipients of its own the fan-out may have while more are read.
    pub(super) fn reads_ahead(&self) -> usize {
        if self.has_begun { self.split.chunk_size() } else { 0 }
    }

    /// All recipients that were not handed over.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Batch> {
        self.full.drain(..).chain(self.filling.drain().map(|(_, batch)| batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;

    fn split_of(split: &str, workers: &str) -> Split {
        Split::new(&Variables::of(&[("FANOUT_SPLIT", split), ("FANOUT_WORKERS", workers)])).unwrap()
    }

    /// How many of `count` recipients of a session are kept.
    fn take(chunking: &mut Chunking, session: usize, is_subscribed: bool, count: usize) -> usize {
        let recipient = |id: usize| Recipient {
            connection_id: id.to_string(),
            connected_at: None,
            expires_at: None,
            is_subscribed,
        };
        let frame = Arc::new(Payload::new(Vec::new()));
        chunking
            .take(Batch { session, frame, recipients: (0..count).map(recipient).collect() })
            .recipients
            .len()
    }

    /// Asks for the next chunk with `at_work` workers, `after` milliseconds, with `left` milliseconds for posting.
    struct Clock(Instant);

    impl Clock {
        const AMPLE: u64 = 20_000;

        fn next(&self, chunking: &mut Chunking, at_work: usize, is_idle: bool, after: u64) -> Option<Next> {
            self.next_with(chunking, at_work, is_idle, after, Self::AMPLE)
        }

        fn next_with(
            &self,
            chunking: &mut Chunking,
            at_work: usize,
            is_idle: bool,
            after: u64,
            left: u64,
        ) -> Option<Next> {
            let now = self.0 + Duration::from_millis(after);
            chunking.next(at_work, is_idle, now + Duration::from_millis(left), now)
        }
    }

    fn is_handed_over(next: &Option<Next>) -> bool {
        matches!(next, Some(Next::HandOver(..)))
    }

    fn is_kept(next: &Option<Next>) -> bool {
        matches!(next, Some(Next::Keep(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_first_recipients_full_chunks_of_a_session_and_a_kind_are_handed_over() {
        let (split, clock) = (split_of("10", "100"), Clock(Instant::now()));
        let mut chunking = Chunking::new(split);
        assert_eq!(take(&mut chunking, 0, false, 12), 10);
        assert_eq!(take(&mut chunking, 0, false, 23) + take(&mut chunking, 0, true, 9), 0);
        assert_eq!(take(&mut chunking, 1, false, 10) + take(&mut chunking, 0, true, 2), 0);
        assert_eq!(chunking.reads_ahead(), 0, "no worker has anything to do yet");
        let mut handed_over = Vec::new();
        while let Some(next) = clock.next(&mut chunking, 0, false, 0) {
            let Next::HandOver(batch, budget) = next else { panic!("there is a worker for each") };
            assert_eq!(budget, LONGEST_BUDGET);
            handed_over.push((batch.session, batch.recipients[0].is_subscribed, batch.recipients.len()));
        }
        assert_eq!(handed_over, [(0, false, 10), (0, false, 10), (1, false, 10), (0, true, 10)]);
        assert_eq!(chunking.reads_ahead(), 10, "the next chunk is read while workers post");
        let rest = |chunking: &mut Chunking, session| {
            chunking.rest(session).map(|batch| batch.recipients.len()).collect::<Vec<_>>()
        };
        assert_eq!((rest(&mut chunking, 0), rest(&mut chunking, 1)), (vec![5, 1], vec![]));
        assert_eq!(chunking.drain().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_worker_keeps_its_place_and_its_share_until_its_budget_is_used_up() {
        let (split, clock) = (split_of("1", "2"), Clock(Instant::now()));
        let mut chunking = Chunking::new(split);
        assert_eq!(chunking.own_rate(0), None, "nothing was handed over");
        take(&mut chunking, 0, false, 6);
        assert!(is_handed_over(&clock.next(&mut chunking, 0, false, 0)));
        assert!(is_handed_over(&clock.next(&mut chunking, 1, false, 0)));
        assert!(clock.next(&mut chunking, 2, false, 0).is_none() && chunking.has_full(), "both are at work");
        assert_eq!((chunking.own_rate(2), chunking.own_rate(1)), (Some(2_668), Some(5_334)));
        chunking.lose(clock.0 + Duration::from_secs(1));
        assert!(clock.next(&mut chunking, 1, false, 500).is_none(), "one is at work, and the other may be");
        assert_eq!(chunking.own_rate(1), Some(2_668));
        chunking.lose(clock.0 + Duration::from_secs(1));
        assert!(is_kept(&clock.next(&mut chunking, 0, false, 500)), "neither will answer");
        assert!(is_handed_over(&clock.next(&mut chunking, 0, false, 1_000)), "both have certainly ended");
    }

    #[tokio::test(start_paused = true)]
    async fn while_no_worker_answers_an_idle_fan_out_posts_chunks_itself() {
        let (split, clock) = (split_of("1", "1"), Clock(Instant::now()));
        let mut chunking = Chunking::new(split);
        take(&mut chunking, 0, false, 4);
        assert!(is_handed_over(&clock.next(&mut chunking, 0, true, 0)));
        assert!(clock.next(&mut chunking, 1, true, 1_999).is_none());
        let end = clock.0 + Duration::from_secs(20);
        assert_eq!(chunking.due(end, clock.0), Some(clock.0 + IDLE_PATIENCE));
        assert!(clock.next(&mut chunking, 1, false, 2_000).is_none(), "it has others to post to");
        assert!(is_kept(&clock.next(&mut chunking, 1, true, 2_000)));
        tokio::time::advance(Duration::from_millis(2_100)).await;
        chunking.chunk_back();
        assert!(clock.next(&mut chunking, 1, true, 2_200).is_none(), "one has answered");
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_for_another_function_nothing_is_handed_over() {
        let (split, clock) = (split_of("1", "1"), Clock(Instant::now()));
        let mut chunking = Chunking::new(split);
        take(&mut chunking, 0, false, 4);
        assert!(is_kept(&clock.next_with(&mut chunking, 0, false, 0, 1_999)));
        assert!(is_handed_over(&clock.next_with(&mut chunking, 0, false, 0, 2_000)));
        let end = clock.0 + Duration::from_secs(3);
        assert_eq!(
            chunking.due(end, clock.0),
            Some(clock.0 + Duration::from_millis(1_001)),
            "then it is too late"
        );
        // At 1,600 per second, 2,000 posts take longer.
        let mut chunking = Chunking::new(split_of("4000", "4"));
        take(&mut chunking, 0, false, 8_000);
        assert!(is_kept(&clock.next_with(&mut chunking, 0, false, 0, 2_200)));
        assert!(is_handed_over(&clock.next_with(&mut chunking, 0, false, 0, 2_300)));
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_is_read_an_idle_fan_out_does_not_wait_for_chunks_to_fill() {
        let (split, clock) = (split_of("10", "1"), Clock(Instant::now()));
        let mut chunking = Chunking::new(split);
        take(&mut chunking, 0, false, 13);
        let end = clock.0 + Duration::from_secs(20);
        assert_eq!(chunking.due(end, clock.0), Some(clock.0 + READ_PATIENCE));
        assert!(clock.next(&mut chunking, 0, true, 249).is_none());
        assert_eq!(chunking.due(end, clock.0 + READ_PATIENCE), None, "it need not be woken for what is due");
        assert!(clock.next(&mut chunking, 0, false, 250).is_none(), "it has others to post to");
        assert!(is_kept(&clock.next(&mut chunking, 0, true, 250)));
        assert_eq!(chunking.due(end, clock.0), None);
    }
}
