//! Connections that failed for recent messages: those that are suspect get one attempt per message.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Moment;

const REMEMBERED_FOR: Duration = Duration::from_secs(30);
const MOST_REMEMBERED: usize = 1024;

/// Connections that a fan-out gave up on in the last 30 s.
#[derive(Debug, Default)]
pub struct RecentFailures(Mutex<HashMap<String, Mark>>);

#[derive(Debug)]
struct Mark {
    at: Moment,
    is_suspect: bool,
}

impl RecentFailures {
    /// Whether the connection gets a single attempt.
    #[must_use]
    pub fn suspects(&self, connection_id: &str) -> bool {
        self.marks().get(connection_id).is_some_and(|mark| mark.is_suspect && mark.is_fresh())
    }

    /// Marks a connection that a fan-out gave up on. If no other connection was delivered to either (`alone`), the
    /// cause may lie elsewhere: then it takes two such fan-outs in a row to make the connection suspect.
    pub(crate) fn gave_up_on(&self, connection_id: &str, alone: bool) {
        let mut marks = self.marks();
        if marks.len() >= MOST_REMEMBERED {
            marks.retain(|_, mark| mark.is_fresh());
        }
        let again = marks.get(connection_id).is_some_and(Mark::is_fresh);
        if marks.len() < MOST_REMEMBERED || again {
            let mark = Mark { at: Moment::now(), is_suspect: again || !alone };
            marks.insert(connection_id.to_owned(), mark);
        }
    }

    /// Forgets a connection that has been delivered to.
    pub(crate) fn forget(&self, connection_id: &str) {
        self.marks().remove(connection_id);
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<String, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    fn is_fresh(&self) -> bool {
        self.at.age() < REMEMBERED_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_beside_others_is_suspect_at_once_and_one_alone_after_two_failures_in_a_row() {
        let recent_failures = RecentFailures::default();
        recent_failures.gave_up_on("beside", false);
        recent_failures.gave_up_on("alone", true);
        assert!(
            recent_failures.suspects("beside")
                && !recent_failures.suspects("alone")
                && !recent_failures.suspects("other")
        );
        recent_failures.gave_up_on("alone", true);
        assert!(recent_failures.suspects("alone"));
        recent_failures.forget("alone");
        recent_failures.gave_up_on("alone", true);
        assert!(!recent_failures.suspects("alone"), "a success in between starts the count again");
    }

    #[test]
    fn the_number_of_marks_is_bounded() {
        let recent_failures = RecentFailures::default();
        for index in 0..=MOST_REMEMBERED {
            recent_failures.gave_up_on(&index.to_string(), false);
        }
        assert_eq!(recent_failures.marks().len(), MOST_REMEMBERED);
        assert!(recent_failures.suspects("0") && !recent_failures.suspects(&MOST_REMEMBERED.to_string()));
    }
}
