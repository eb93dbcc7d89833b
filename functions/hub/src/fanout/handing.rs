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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;

    fn workers(split: &str, at_once: &str) -> Workers {
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

    /// How many of so many recipients of a session stay.
    fn take(handing: &mut Handing<'_>, session: usize, is_subscribed: bool, count: usize) -> usize {
        let frame = Arc::new(Payload::new(Vec::new()));
        let recipient = |id: usize| Recipient {
            connection_id: id.to_string(),
            connected_at: None,
            expires_at: None,
            is_subscribed,
        };
        (0..count).filter_map(|id| handing.take(session, &frame, recipient(id))).count()
    }

    const AMPLE: Duration = Duration::from_secs(20);

    #[test]
    fn all_after_the_first_are_handed_out_as_far_as_they_fill_chunks_of_a_session_and_a_kind() {
        let workers = workers("10", "100");
        let mut handing = Handing::new(&workers);
        assert_eq!(take(&mut handing, 0, false, 10), 10);
        assert_eq!(take(&mut handing, 0, false, 25) + take(&mut handing, 0, true, 9), 0);
        assert_eq!(take(&mut handing, 1, false, 10) + take(&mut handing, 0, true, 2), 0);
        let mut handed = Vec::new();
        while let Some(next) = handing.next(0, AMPLE) {
            let Next::HandOut(part) = next else { panic!("there is a function for each") };
            handed.push((part.session, part.recipients[0].is_subscribed, part.recipients.len()));
        }
        assert_eq!(handed, [(0, false, 10), (0, false, 10), (1, false, 10), (0, true, 10)]);
        let rest = |handing: &mut Handing<'_>, session| {
            handing.rest(session).map(|part| part.recipients.len()).collect::<Vec<_>>()
        };
        assert_eq!((rest(&mut handing, 0), rest(&mut handing, 1)), (vec![5, 1], vec![]));
        assert_eq!(handing.drain().count(), 0);
    }

    #[test]
    fn a_function_that_is_lost_leaves_a_place_that_nothing_takes() {
        let workers = workers("1", "2");
        let mut handing = Handing::new(&workers);
        take(&mut handing, 0, false, 5);
        assert!(matches!(handing.next(0, AMPLE), Some(Next::HandOut(_))));
        assert!(matches!(handing.next(1, AMPLE), Some(Next::HandOut(_))));
        assert!(handing.next(2, AMPLE).is_none() && handing.has_full(), "both are at work");
        handing.lose();
        assert!(handing.next(1, AMPLE).is_none(), "one is, and the other may be");
        handing.lose();
        assert!(matches!(handing.next(0, AMPLE), Some(Next::Keep(_))), "none will answer any more");
    }

    #[test]
    fn without_time_for_another_function_nothing_is_handed_out() {
        let workers = workers("1", "2");
        let mut handing = Handing::new(&workers);
        take(&mut handing, 0, false, 3);
        let short = LEAST_BUDGET - Duration::from_millis(1);
        assert!(matches!(handing.next(0, short), Some(Next::Keep(_))));
        assert!(matches!(handing.next(0, LEAST_BUDGET), Some(Next::HandOut(_))));
    }
}
