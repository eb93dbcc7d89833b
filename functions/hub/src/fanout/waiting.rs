//! Who is posted to next, and how many at once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
    vec,
};

use tokio::time::Instant;

use super::{
    Fanout, Role,
    handing::{Handing, Next, Part},
    posting::Outcome,
};
use crate::{clock::now_seconds, registry::Recipient, signed::Payload};

/// How many recipients may wait for another attempt before reading waits for them: about 2 MB. What other functions leave
/// of chunks that are under way may come on top.
const MOST_PARKED: usize = 16 * 1024;
/// Connections that one fan-out closes because their token has ended. The others wait for the next one.
const MOST_CLOSED: usize = 100;
/// Posts under way at first, and at least.
const FEW_POSTS: usize = 8;
/// Where connections are opened, twice as many are after this. A handshake for each recipient at once would take so long
/// on a small function that all of them time out.
const DOUBLED_EVERY: Duration = Duration::from_millis(100);
const HALVED_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// A recipient in hand, and what its attempts so far came to.
pub(super) struct Delivery {
    /// Its session's place in the list.
    pub(super) session: usize,
    pub(super) frame: Arc<Payload>,
    pub(super) recipient: Recipient,
    pub(super) attempts: u32,
    pub(super) was_gone: bool,
    /// It was in trouble lately, and gets one attempt.
    pub(super) is_suspect: bool,
}

impl Delivery {
    /// Whether it has had no attempt before this one.
    pub(super) fn is_new(&self) -> bool {
        self.attempts <= 1
    }
}

/// A recipient that waits for its next attempt. Ordered by time alone.
pub(super) struct Due(pub(super) Instant, pub(super) Delivery);

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Due {}

/// Recipients of a session that have had no attempt.
struct New {
    session: usize,
    frame: Arc<Payload>,
    recipients: vec::IntoIter<Recipient>,
}

/// Recipients that no post is under way to.
pub(super) struct Waiting<'a> {
    fanout: &'a Fanout<'a>,
    new: VecDeque<New>,
    /// The next one due on top.
    pub(super) parked: BinaryHeap<Reverse<Due>>,
    handing: Option<Handing<'a>>,
    /// Each with its session's place.
    pub(super) expired: Vec<(usize, Recipient)>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(fanout: &'a Fanout<'a>) -> Self {
        let handing = fanout.role.workers().map(Handing::new);
        Self { fanout, new: VecDeque::new(), parked: BinaryHeap::new(), handing, expired: Vec::new() }
    }

    /// Takes what was read of a session.
    pub(super) fn add(&mut self, mut read: Part) {
        if let Some(handing) = &mut self.handing {
            let now = now_seconds();
            // What has expired is not there. What may hang is not to hold up a whole chunk.
            let stays =
                |one: &Recipient| one.has_expired(now) || self.fanout.stragglers.suspects(&one.connection_id);
            let (apart, live) = read.recipients.into_iter().partition(stays);
            read.recipients = live;
            read = handing.take(read);
            read.recipients.extend::<Vec<_>>(apart);
        }
        self.put_back(read);
    }

    /// Recipients that this function posts to itself.
    pub(super) fn put_back(&mut self, Part { session, frame, recipients }: Part) {
        if !recipients.is_empty() {
            self.new.push_back(New { session, frame, recipients: recipients.into_iter() });
        }
    }

    /// Recipients that another function has left: they come after those that no function has tried.
    pub(super) fn put_last(&mut self, Part { session, frame, recipients }: Part) {
        let now = Instant::now();
        self.parked.extend(recipients.into_iter().map(|recipient| {
            let is_suspect = self.fanout.stragglers.suspects(&recipient.connection_id);
            let frame = frame.clone();
            // One attempt was the other function's.
            let delivery = Delivery { session, frame, recipient, attempts: 1, was_gone: false, is_suspect };
            Reverse(Due(now, delivery))
        }));
    }

    /// No more is read of a session.
    pub(super) fn end(&mut self, session: usize) {
        let rest: Vec<_> = self.handing.iter_mut().flat_map(|handing| handing.rest(session)).collect();
        rest.into_iter().for_each(|part| self.put_back(part));
    }

    /// The chunk that is to be handed to another function next, and the time that it has; `at_work` functions have one each.
    pub(super) fn hand_out(&mut self, at_work: usize, now: Instant) -> Option<(Part, Duration)> {
        loop {
            let is_idle = self.new.is_empty();
            let end = self.fanout.deadline.post_until;
            match self.handing.as_mut()?.next(at_work, is_idle, end, now)? {
                Next::HandOut(part, budget) => return Some((part, budget)),
                Next::Keep(part) => self.put_back(part),
            }
        }
    }

    /// A chunk is back; if it is not known whether the function is at work still, nothing takes its place until then.
    pub(super) fn chunk_back(&mut self, lost_until: Option<Instant>) {
        if let Some(handing) = &mut self.handing {
            handing.change();
            lost_until.into_iter().for_each(|until| handing.lose(until));
        }
    }

    /// How many posts per second are left to this function, once others have a part in them.
    pub(super) fn own_rate(&self, at_work: usize) -> Option<u32> {
        self.handing.as_ref()?.own_rate(at_work)
    }

    /// A new recipient, or else one whose pause is over by `now`. One that has expired by then is not there.
    pub(super) fn next(&mut self, now: Instant) -> Option<Delivery> {
        loop {
            let delivery = match self.next_new() {
                Some(delivery) => delivery,
                None if self.next_parked()? <= now => self.parked.pop()?.0.1,
                None => return None,
            };
            let Some(live) = self.unless_expired(delivery) else { continue };
            return Some(live);
        }
    }

    fn next_new(&mut self) -> Option<Delivery> {
        let new = self.new.front_mut()?;
        let recipient = new.recipients.next()?;
        let is_suspect = self.fanout.stragglers.suspects(&recipient.connection_id);
        let (session, frame) = (new.session, new.frame.clone());
        if new.recipients.len() == 0 {
            self.new.pop_front();
        }
        Some(Delivery { session, frame, recipient, attempts: 0, was_gone: false, is_suspect })
    }

    /// All the others, at the end.
    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        let parts: Vec<_> = self.handing.iter_mut().flat_map(Handing::drain).collect();
        parts.into_iter().for_each(|part| self.put_back(part));
        let end = Instant::now() + Duration::from_secs(3600);
        std::iter::from_fn(|| self.next(end)).collect()
    }

    fn unless_expired(&mut self, delivery: Delivery) -> Option<Delivery> {
        let now = now_seconds();
        if !delivery.recipient.has_expired(now) {
            return Some(delivery);
        }
        let keeps = match self.fanout.role {
            Role::Planner { closes_expired, .. } => closes_expired && self.closes(&delivery.recipient, now),
            Role::Worker => true,
        };
        if keeps {
            self.expired.push((delivery.session, delivery.recipient));
        }
        None
    }

    fn closes(&self, expired: &Recipient, now: i64) -> bool {
        let id = &expired.connection_id;
        // The sender's own is needed for the receipt: whatever it sends next ends it.
        let is_own = self.fanout.sender == Some(id.as_str());
        // It may be in several of the sessions.
        let is_known = || self.expired.iter().any(|(_, known)| known.connection_id == *id);
        !is_own && expired.may_be_open(now) && self.expired.len() < MOST_CLOSED && !is_known()
    }

    /// When the next one may be tried.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.new.is_empty() { self.next_parked() } else { Some(now) }
    }

    /// When to look for a chunk again, if nothing happens before.
    pub(super) fn chunk_due(&self, now: Instant) -> Option<Instant> {
        self.handing.as_ref()?.due(self.fanout.deadline.post_until, now)
    }

    fn next_parked(&self) -> Option<Instant> {
        self.parked.peek().map(|Reverse(due)| due.0)
    }

    pub(super) fn has_new(&self) -> bool {
        !self.new.is_empty() || self.handing.as_ref().is_some_and(Handing::has_full)
    }

    pub(super) fn wants_more(&self) -> bool {
        let ahead: usize = self.new.iter().map(|new| new.recipients.len()).sum();
        let is_short = match &self.handing {
            None => ahead == 0,
            Some(handing) => ahead <= handing.reads_ahead() && !handing.has_full(),
        };
        is_short && self.parked.len() < MOST_PARKED
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_new() && self.parked.is_empty()
    }
}

/// How many posts may be under way: at first as many as there are open connections; more with each success and while
/// time goes by; half as many where the gateway throttles.
pub(super) struct Window {
    size: usize,
    most: usize,
    doubled_at: Instant,
    halved_at: Option<Instant>,
}

impl Window {
    pub(super) fn new(open_connections: usize, most: usize) -> Self {
        let size = open_connections.max(FEW_POSTS).min(most);
        Self { size, most, doubled_at: Instant::now(), halved_at: None }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// When it will be larger though nothing is answered. Once it was halved, only success makes it larger.
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

    pub(super) fn adapt(&mut self, is_new: bool, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered => self.size = (self.size + 1).min(self.most),
            Outcome::Again(true, _) if is_new => {
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
        let throttled = Outcome::Again(true, String::new());
        let mut window = Window::new(0, 100);
        assert_eq!(window.size(), 8);
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
        assert_eq!(window.size(), 50, "a second attempt says nothing new");
        window.adapt(true, &throttled);
        window.adapt(true, &Outcome::Delivered);
        assert_eq!(window.size(), 26);
        for _ in 0..10 {
            tokio::time::advance(Duration::from_millis(100)).await;
            window.adapt(true, &throttled);
        }
        assert_eq!(window.size(), 8, "a few posts go on");
    }

    #[test]
    fn a_window_begins_with_the_connections_that_are_open_and_is_never_too_large() {
        for (open, most, expected) in [(40, 64, 40), (80, 64, 64), (0, 64, 8), (0, 3, 3), (9, 1, 1)] {
            assert_eq!(Window::new(open, most).size(), expected, "{open} {most}");
        }
    }
}
