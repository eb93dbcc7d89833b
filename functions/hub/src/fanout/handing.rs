//! Which recipients a fan-out hands to other functions: all after the first so many, as far as they fill chunks.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{registry::Recipient, signed::Payload, workers::Workers};

/// With less time than this left for posting, another function may not be up before it is over.
const LEAST_BUDGET: Duration = Duration::from_secs(1);

/// Some recipients of one session.
pub(super) struct Part {
    /// The session's place in the list.
    pub(super) session: usize,
    pub(super) frame: Arc<Payload>,
    pub(super) recipients: Vec<Recipient>,
}

pub(super) struct Handing<'a> {
    workers: &'a Workers,
    /// Live recipients that are not handed out, whatever comes.
    own: usize,
    /// By the session's place, and by how they were found.
    filling: HashMap<(usize, bool), Part>,
    full: VecDeque<Part>,
    has_begun: bool,
    /// Functions that may be at work to the end, since their answers were lost.
    lost: usize,
}

impl<'a> Handing<'a> {
    pub(super) fn new(workers: &'a Workers) -> Self {
        let (filling, full) = (HashMap::new(), VecDeque::new());
        Self { workers, own: workers.split, filling, full, has_begun: false, lost: 0 }
    }

    /// Takes a live recipient, or returns it where the fan-out is to post to it itself.
    pub(super) fn take(
        &mut self,
        session: usize,
        frame: &Arc<Payload>,
        recipient: Recipient,
    ) -> Option<Recipient> {
        if self.own > 0 {
            self.own -= 1;
            return Some(recipient);
        }
        let (size, key) = (self.workers.chunk_size(), (session, recipient.is_subscribed));
        let empty = || Part { session, frame: frame.clone(), recipients: Vec::with_capacity(size) };
        let part = self.filling.entry(key).or_insert_with(empty);
        part.recipients.push(recipient);
        if part.recipients.len() == size {
            self.full.extend(self.filling.remove(&key));
        }
        None
    }

    /// What fills no chunk of a session, of which no more recipients come.
    pub(super) fn rest(&mut self, session: usize) -> impl Iterator<Item = Part> {
        [false, true].into_iter().filter_map(move |found| self.filling.remove(&(session, found)))
    }

    /// The next chunk, where so many are under way; or else what the fan-out is to post itself, since no function is left
    /// for it, or no time.
    pub(super) fn next(&mut self, under_way: usize, budget: Duration) -> Option<Next> {
        if self.full.is_empty() {
            return None;
        }
        let has_place = under_way + self.lost < self.workers.at_once;
        if budget >= LEAST_BUDGET && has_place {
            self.has_begun = true;
            return self.full.pop_front().map(Next::HandOut);
        }
        if budget < LEAST_BUDGET || under_way == 0 {
            return self.full.pop_front().map(Next::Keep);
        }
        None
    }

    /// A function was lost that may still be at work: nothing takes its place, so that no more post at once than may.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
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

/// Where a full chunk goes.
pub(super) enum Next {
    HandOut(Part),
    Keep(Part),
}
