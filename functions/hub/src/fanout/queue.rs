//! Which recipient a fan-out posts to next.

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
    chunking::{Batch, Chunking, Next},
    delivery::Delivery,
};
use crate::{clock::now_seconds, registry::Recipient, signing::Payload};

/// Reading pauses while so many recipients wait for another attempt: about 2 MB. Recipients that workers leave of
/// chunks under way may come on top.
const MOST_PARKED: usize = 16 * 1024;
/// The most connections with an expired token that one fan-out closes. The next message closes the others.
const MOST_CLOSED: usize = 100;

/// A recipient that waits for its next attempt. Ordered by time alone.
struct Due(Instant, Delivery);

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

/// The recipients to which no post is under way.
pub(super) struct Queue<'a> {
    fanout: &'a Fanout<'a>,
    new: VecDeque<New>,
    /// The next one due on top.
    parked: BinaryHeap<Reverse<Due>>,
    chunking: Option<Chunking>,
    /// Recipients whose row has expired and to which something remains to be done, each with the index of its session.
    pub(super) expired: Vec<(usize, Recipient)>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(fanout: &'a Fanout<'a>) -> Self {
        let chunking = fanout.role.workers().map(|workers| Chunking::new(workers.split));
        Self { fanout, new: VecDeque::new(), parked: BinaryHeap::new(), chunking, expired: Vec::new() }
    }

    /// Adds recipients that were read.
    pub(super) fn add(&mut self, mut read: Batch) {
        if let Some(chunking) = &mut self.chunking {
            let now = now_seconds();
            // Expired rows have no connection, and a suspect would delay a whole chunk.
            let stays = |one: &Recipient| {
                one.has_expired(now) || self.fanout.recent_failures.suspects(&one.connection_id)
            };
            let (kept, live) = read.recipients.into_iter().partition(stays);
            read.recipients = live;
            read = chunking.take(read);
            read.recipients.extend::<Vec<_>>(kept);
        }
        self.put_back(read);
    }

    /// Adds recipients that this function posts to itself.
    pub(super) fn put_back(&mut self, Batch { session, frame, recipients }: Batch) {
        if !recipients.is_empty() {
            self.new.push_back(New { session, frame, recipients: recipients.into_iter() });
        }
    }

    /// Adds recipients that a worker has left. They come after those that have had no attempt.
    pub(super) fn put_last(&mut self, Batch { session, frame, recipients }: Batch) {
        let now = Instant::now();
        let left = recipients.into_iter().map(|recipient| {
            let is_suspect = self.fanout.recent_failures.suspects(&recipient.connection_id);
            // The worker has made the first attempt.
            let delivery =
                Delivery { attempts: 1, ..Delivery::new(session, frame.clone(), recipient, is_suspect) };
            Reverse(Due(now, delivery))
        });
        self.parked.extend(left);
    }

    /// Adds a recipient whose next attempt is due at a later time, if there is one.
    pub(super) fn park(&mut self, unsettled: Option<(Instant, Delivery)>) {
        self.parked.extend(unsettled.map(|(at, delivery)| Reverse(Due(at, delivery))));
    }

    /// Notes that no more of a session is read.
    pub(super) fn end(&mut self, session: usize) {
        let rest: Vec<_> = self.chunking.iter_mut().flat_map(|chunking| chunking.rest(session)).collect();
        rest.into_iter().for_each(|batch| self.put_back(batch));
    }

    /// The chunk that is to be handed over next, and its time budget, while `at_work` workers have one each.
    pub(super) fn hand_over(&mut self, at_work: usize, now: Instant) -> Option<(Batch, Duration)> {
        loop {
            let is_idle = self.new.is_empty();
            let end = self.fanout.deadline.post_until;
            match self.chunking.as_mut()?.next(at_work, is_idle, end, now)? {
                Next::HandOver(batch, budget) => return Some((batch, budget)),
                Next::Keep(batch) => self.put_back(batch),
            }
        }
    }

    /// Notes that a chunk came back. Until `lost_until` its worker may still be posting, and no other takes its place.
    pub(super) fn chunk_back(&mut self, lost_until: Option<Instant>) {
        if let Some(chunking) = &mut self.chunking {
            chunking.chunk_back();
            lost_until.into_iter().for_each(|until| chunking.lose(until));
        }
    }

    /// This function's share of the rate, in posts per second, once workers have a share.
    pub(super) fn own_rate(&self, at_work: usize) -> Option<u32> {
        self.chunking.as_ref()?.own_rate(at_work)
    }

    /// A recipient without an attempt, or else one whose next attempt is due by `now`. Rows that have expired by then
    /// are passed over.
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
        let is_suspect = self.fanout.recent_failures.suspects(&recipient.connection_id);
        let (session, frame) = (new.session, new.frame.clone());
        if new.recipients.len() == 0 {
            self.new.pop_front();
        }
        Some(Delivery::new(session, frame, recipient, is_suspect))
    }

    /// All recipients that remain at the end.
    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        let batches: Vec<_> = self.chunking.iter_mut().flat_map(Chunking::drain).collect();
        batches.into_iter().for_each(|batch| self.put_back(batch));
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
        // The receipt needs the sender's own connection; the sender's next frame ends it.
        let is_own = self.fanout.sender == Some(id.as_str());
        // The same connection may be a recipient in several sessions.
        let is_known = || self.expired.iter().any(|(_, known)| known.connection_id == *id);
        !is_own && expired.may_be_open(now) && self.expired.len() < MOST_CLOSED && !is_known()
    }

    /// When the next attempt may be made.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.new.is_empty() { self.next_parked() } else { Some(now) }
    }

    /// When to ask for a chunk again if nothing happens before.
    pub(super) fn chunk_due(&self, now: Instant) -> Option<Instant> {
        self.chunking.as_ref()?.due(self.fanout.deadline.post_until, now)
    }

    fn next_parked(&self) -> Option<Instant> {
        self.parked.peek().map(|Reverse(due)| due.0)
    }

    pub(super) fn has_new(&self) -> bool {
        !self.new.is_empty() || self.chunking.as_ref().is_some_and(Chunking::has_full)
    }

    /// Whether another page should be read.
    pub(super) fn wants_more(&self) -> bool {
        let ahead: usize = self.new.iter().map(|new| new.recipients.len()).sum();
        let is_short = match &self.chunking {
            None => ahead == 0,
            Some(chunking) => ahead <= chunking.reads_ahead() && !chunking.has_full(),
        };
        is_short && self.parked.len() < MOST_PARKED
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_new() && self.parked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipient_due_first_comes_first() {
        let now = Instant::now();
        let due = |seconds| {
            let recipient = Recipient {
                connection_id: "c".into(),
                connected_at: None,
                expires_at: None,
                is_subscribed: false,
            };
            let delivery = Delivery::new(0, Arc::new(Payload::new(Vec::new())), recipient, false);
            Reverse(Due(now + Duration::from_secs(seconds), delivery))
        };
        let mut parked: BinaryHeap<_> = [4, 1, 5, 2, 3].map(due).into();
        let order: Vec<_> =
            std::iter::from_fn(|| parked.pop()).map(|next| (next.0.0 - now).as_secs()).collect();
        assert_eq!(order, [1, 2, 3, 4, 5]);
    }
}
