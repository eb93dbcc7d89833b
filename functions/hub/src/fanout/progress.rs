//! What became of a fan-out's recipients and sessions so far.

use std::{cmp::Reverse, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    posting::Outcome,
    waiting::{Delivery, Due},
};
use crate::{
    chunk,
    endpoint::cannot_post,
    failure::{Failure, chain},
    posts::ATTEMPT_TIMEOUT,
    protocol::{Counts, SessionCounts},
    registry::{Prune, Recipient},
    stragglers::Stragglers,
};

/// A 410 is asked about once more after this: the gateway is known to answer it for sockets that are alive.
const GONE_PAUSE: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);
/// A worker leaves what is not settled so long after the last answer, and once every attempt had its time.
const LEAVES_AFTER: Duration = Duration::from_secs(1);
/// Where so many first posts are all forbidden, the others would be too.
const ENOUGH_FORBIDDEN: u64 = 8;

/// How a fan-out went. Every recipient that was read is in exactly one count of its session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The counts of each session, in the order given.
    pub sessions: Vec<SessionCounts>,
    /// Attempts beyond each recipient's first.
    pub retries: u64,
    /// Attempts that were answered with 429.
    pub throttled: u64,
    /// Stale rows deleted.
    pub pruned: u64,
    /// Sessions that could not be written, or not read to their end, and why the first one could not.
    pub session_failures: Trouble,
    /// Prunes that failed, and why the first one did.
    pub prune_failures: Trouble,
    /// Why the first recipient that counts as failed did.
    pub delivery_failures: Trouble,
    /// Connections closed because their token has ended: they are in no count.
    pub closed: u64,
    /// Those that could not be closed, and why the first one could not.
    pub close_failures: Trouble,
    /// Chunks that were handed to other functions.
    pub chunks: u64,
    /// Those that came back undone, and why the first one did.
    pub chunk_failures: Trouble,
}

/// Some number of mishaps, with the cause of the first: a log line for each recipient would bury the log.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How many.
    pub count: u64,
    /// The first one's cause chain.
    pub first_cause: Option<String>,
}

impl Trouble {
    pub(super) fn add(&mut self, cause: String) {
        self.count += 1;
        self.first_cause.get_or_insert(cause);
    }

    fn add_all(&mut self, other: Self) {
        self.count += other.count;
        self.first_cause = self.first_cause.take().or(other.first_cause);
    }
}

pub(super) struct Progress<'a> {
    report: &'a mut Report,
    stragglers: &'a Stragglers,
    /// The sessions whose end has not been read.
    unread: Vec<bool>,
    /// Whether anything was read.
    has_page: bool,
    session_failure: Option<Failure>,
    recipients: u64,
    answers: u64,
    forbidden: u64,
    /// Why no post can succeed.
    hopeless: Option<Failure>,
    /// Whether a post was answered with 200 or 410.
    answered: bool,
    last_settled: Instant,
    last_new: Instant,
    last_cause: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(report: &'a mut Report, stragglers: &'a Stragglers) -> Self {
        let now = Instant::now();
        Self {
            unread: vec![true; report.sessions.len()],
            report,
            stragglers,
            has_page: false,
            session_failure: None,
            recipients: 0,
            answers: 0,
            forbidden: 0,
            hopeless: None,
            answered: false,
            last_settled: now,
            last_new: now,
            last_cause: None,
        }
    }

    /// Whether there is more to read.
    pub(super) fn reads(&self) -> bool {
        self.unread.contains(&true)
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless.is_some()
    }

    /// Until when to go on, once every recipient has been tried. A worker has no `straggler` patience, and soon leaves the last
    /// ones to the planner.
    pub(super) fn patience(&self, straggler: Option<Duration>) -> Instant {
        match (straggler, self.answered) {
            (None, _) => (self.last_settled + LEAVES_AFTER).max(self.last_new + ATTEMPT_TIMEOUT),
            (Some(straggler), true) => self.last_settled.max(self.last_new) + straggler,
            // One recipient, or a throttled account: others give no hint that it can be reached.
            (Some(straggler), false) => self.last_new + 3 * straggler,
        }
    }

    pub(super) fn page(&mut self) {
        self.has_page = true;
    }

    pub(super) fn end(&mut self, session: usize, end: Result<(), Failure>) {
        if let Some(unread) = self.unread.get_mut(session) {
            *unread = false;
        }
        if let (Err(failure), Some(session)) = (end, self.report.sessions.get_mut(session)) {
            session.complete = false;
            self.report.session_failures.add(chain(&failure));
            self.session_failure.get_or_insert(failure);
        }
    }

    pub(super) fn begin(&mut self, is_new: bool, now: Instant) {
        if is_new {
            self.recipients += 1;
            self.last_new = now;
        }
    }

    /// Counts an attempt, and returns a recipient that is not settled by it.
    pub(super) fn settle(&mut self, mut delivery: Delivery, outcome: Outcome) -> Option<Reverse<Due>> {
        let now = Instant::now();
        self.report.retries += u64::from(delivery.attempts > 1);
        self.answers += u64::from(!matches!(outcome, Outcome::Interrupted));
        self.answered |= matches!(outcome, Outcome::Delivered | Outcome::PerhapsGone);
        match outcome {
            Outcome::Delivered => {
                self.counts(delivery.session).delivered += 1;
                self.stragglers.forget(&delivery.recipient.connection_id);
            }
            Outcome::Gone(prune) => {
                self.counts(delivery.session).gone += 1;
                match prune {
                    Ok(Prune::Deleted) => self.report.pruned += 1,
                    Ok(Prune::Kept) => {}
                    Err(failure) => self.report.prune_failures.add(chain(&failure)),
                }
            }
            Outcome::PerhapsGone => {
                delivery.was_gone = true;
                self.last_cause = Some("410 Gone".into());
                return Some(Reverse(Due(now + GONE_PAUSE, delivery)));
            }
            Outcome::Again(throttled, cause) => {
                self.report.throttled += u64::from(throttled);
                if !delivery.is_suspect {
                    self.last_cause = Some(cause);
                    return Some(Reverse(Due(now + backoff(delivery.attempts), delivery)));
                }
                self.stragglers.gave_up_on(&delivery.recipient.connection_id, false);
                self.fail(&delivery, format!("{cause}; it failed lately too, and gets one attempt"));
            }
            Outcome::Failed(cause) => self.fail(&delivery, cause),
            Outcome::Forbidden(cause) => {
                self.forbidden += 1;
                if self.forbidden == self.answers && self.forbidden == ENOUGH_FORBIDDEN {
                    self.hopeless = Some(forbidden(&cause));
                }
                self.fail(&delivery, cause);
            }
            Outcome::Unsent(cause) => {
                self.hopeless = Some(cannot_post(&cause));
                self.fail(&delivery, cause);
            }
            Outcome::Interrupted => return Some(Reverse(Due(now, delivery))),
        }
        self.last_settled = now;
        None
    }

    /// Counts a chunk that is handed over.
    pub(super) fn hand_over(&mut self) {
        self.report.chunks += 1;
    }

    /// Counts a chunk that came back undone.
    pub(super) fn chunk_returned(&mut self, cause: String) {
        self.report.chunk_failures.add(cause);
    }

    /// Counts the recipients of a chunk, and returns those that are left.
    pub(super) fn settle_chunk(
        &mut self,
        session: usize,
        recipients: Vec<Recipient>,
        outcome: chunk::Outcome,
    ) -> Vec<Recipient> {
        let chunk::Outcome { counts, left, .. } = outcome;
        self.answered |= counts.delivered + counts.gone > 0;
        self.recipients += counts.delivered + counts.gone + counts.failed + left.len() as u64;
        self.counts(session).add(counts);
        self.report.retries += outcome.retries;
        self.report.throttled += outcome.throttled;
        self.report.pruned += outcome.pruned;
        self.report.delivery_failures.add_all(outcome.delivery_failures);
        self.report.prune_failures.add_all(outcome.prune_failures);
        self.last_settled = Instant::now();
        let mut rest = Vec::with_capacity(left.len());
        for (place, recipient) in recipients.into_iter().enumerate() {
            if left.binary_search(&place).is_ok() {
                rest.push(recipient);
            } else if counts.failed == 0 {
                self.stragglers.forget(&recipient.connection_id);
            }
        }
        rest
    }

    fn counts(&mut self, session: usize) -> &mut Counts {
        #[allow(clippy::indexing_slicing, reason = "a recipient is of one of the sessions")]
        &mut self.report.sessions[session].counts
    }

    fn fail(&mut self, delivery: &Delivery, cause: String) {
        self.counts(delivery.session).failed += 1;
        self.report.delivery_failures.add(cause);
    }

    /// Counts recipients that are left at the end as failed. If the fan-out `gave_up` on them, the next one will not wait for
    /// them again.
    pub(super) fn leave(&mut self, rest: Vec<Delivery>, gave_up: bool) {
        let beside_others = self.report.sessions.iter().any(|session| session.counts.delivered > 0);
        for delivery in rest {
            if gave_up && (beside_others || self.recipients == 1) {
                self.stragglers.gave_up_on(&delivery.recipient.connection_id, !beside_others);
            }
            let cause = match &self.last_cause {
                Some(cause) => format!("given up after {cause}"),
                None => "the time ran out while waiting for an answer, or before the first attempt".into(),
            };
            self.fail(&delivery, cause);
        }
        for (session, unread) in self.report.sessions.iter_mut().zip(&self.unread) {
            session.complete &= !unread;
        }
    }

    /// # Errors
    ///
    /// No session could be served, or nobody could be posted to, and so there is nothing to report.
    pub(super) fn finish(self) -> Result<(), Failure> {
        if let Some(failure) = self.hopeless {
            return Err(failure);
        }
        if !self.has_page {
            return Err(self.session_failure.unwrap_or(Failure::OutOfTime));
        }
        let cause = self.report.delivery_failures.first_cause.as_ref();
        match cause.filter(|_| self.forbidden > 0 && self.forbidden == self.recipients) {
            Some(cause) => Err(forbidden(cause)),
            None => Ok(()),
        }
    }
}

fn forbidden(cause: &str) -> Failure {
    let hint = "see that WEBSOCKET_ENDPOINT is this API's and that the function's role may execute-api:ManageConnections there";
    Failure::other("forbidden", format!("no post is allowed: {hint}: {cause}"))
}

/// Full jitter: connections that were throttled together do not come back together.
fn backoff(attempts: u32) -> Duration {
    let longest = FIRST_BACKOFF * 2_u32.saturating_pow(attempts.saturating_sub(1)).min(1 << 10);
    longest.min(LONGEST_BACKOFF).mul_f64(fastrand::f64())
}
