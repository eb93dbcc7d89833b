//! Counts what became of a fan-out's recipients.

use tokio::time::Instant;

use super::{
    delivery::{AttemptResult, Delivery},
    patience::Patience,
    retry::{GONE_PAUSE, backoff},
};
use crate::{
    chunk::ChunkReport,
    endpoint::cannot_post,
    failure::{Failure, chain},
    protocol::Counts,
    recent_failures::RecentFailures,
    registry::{Prune, Recipient},
    report::Report,
};

/// If the first answers are all 403 and there are so many of them, every other post would be forbidden too.
const ENOUGH_FORBIDDEN: u64 = 8;

pub(super) struct Progress<'a> {
    report: &'a mut Report,
    recent_failures: &'a RecentFailures,
    /// For each session, whether more of it is to be read.
    unread: Vec<bool>,
    /// Whether any page was read.
    has_page: bool,
    session_failure: Option<Failure>,
    recipients: u64,
    answers: u64,
    forbidden: u64,
    /// Why no post can succeed.
    hopeless: Option<Failure>,
    pub(super) patience: Patience,
    last_cause: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(report: &'a mut Report, recent_failures: &'a RecentFailures) -> Self {
        Self {
            unread: vec![true; report.sessions.len()],
            report,
            recent_failures,
            has_page: false,
            session_failure: None,
            recipients: 0,
            answers: 0,
            forbidden: 0,
            hopeless: None,
            patience: Patience::new(),
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
            self.patience.begin(now);
        }
    }

    /// Counts an attempt. Returns a recipient that needs another one, and when that is due.
    pub(super) fn settle(
        &mut self,
        mut delivery: Delivery,
        result: AttemptResult,
    ) -> Option<(Instant, Delivery)> {
        let now = Instant::now();
        self.report.retries += u64::from(delivery.attempts > 1);
        self.answers += u64::from(!matches!(result, AttemptResult::Interrupted));
        if matches!(result, AttemptResult::Delivered | AttemptResult::PerhapsGone) {
            self.patience.answer();
        }
        match result {
            AttemptResult::Delivered => {
                self.counts(delivery.session).delivered += 1;
                self.recent_failures.forget(&delivery.recipient.connection_id);
            }
            AttemptResult::Gone(prune) => {
                self.counts(delivery.session).gone += 1;
                match prune {
                    Ok(Prune::Deleted) => self.report.pruned += 1,
                    Ok(Prune::NotDeleted) => {}
                    Err(failure) => self.report.prune_failures.add(chain(&failure)),
                }
            }
            AttemptResult::PerhapsGone => {
                delivery.was_gone = true;
                self.last_cause = Some("410 Gone".into());
                return Some((now + GONE_PAUSE, delivery));
            }
            AttemptResult::Retry { throttled, cause } => {
                self.report.throttled += u64::from(throttled);
                if !delivery.is_suspect {
                    self.last_cause = Some(cause);
                    return Some((now + backoff(delivery.attempts), delivery));
                }
                self.recent_failures.gave_up_on(&delivery.recipient.connection_id, false);
                let text = "a recent message failed too, so this one had a single attempt";
                self.fail(&delivery, format!("{cause}; {text}"));
            }
            AttemptResult::Failed(cause) => self.fail(&delivery, cause),
            AttemptResult::Forbidden(cause) => {
                self.forbidden += 1;
                if self.forbidden == self.answers && self.forbidden == ENOUGH_FORBIDDEN {
                    self.hopeless = Some(forbidden(&cause));
                }
                self.fail(&delivery, cause);
            }
            AttemptResult::Unsent(cause) => {
                self.hopeless = Some(cannot_post(&cause));
                self.fail(&delivery, cause);
            }
            AttemptResult::Interrupted => return Some((now, delivery)),
        }
        self.patience.settle(now);
        None
    }

    /// Counts a chunk that is handed over.
    pub(super) fn hand_over(&mut self) {
        self.report.chunks += 1;
    }

    /// Counts a chunk that came back undelivered.
    pub(super) fn chunk_returned(&mut self, cause: String) {
        self.report.chunk_failures.add(cause);
    }

    /// Counts the recipients of a chunk. Returns those that the worker left to this fan-out.
    pub(super) fn settle_chunk(
        &mut self,
        session: usize,
        recipients: Vec<Recipient>,
        report: ChunkReport,
    ) -> Vec<Recipient> {
        let ChunkReport { counts, left, .. } = report;
        if counts.delivered + counts.gone > 0 {
            self.patience.answer();
        }
        self.recipients += counts.delivered + counts.gone + counts.failed + left.len() as u64;
        self.counts(session).add(counts);
        self.report.retries += report.retries;
        self.report.throttled += report.throttled;
        self.report.pruned += report.pruned;
        self.report.delivery_failures.add_all(report.delivery_failures);
        self.report.prune_failures.add_all(report.prune_failures);
        self.patience.settle(Instant::now());
        let mut rest = Vec::with_capacity(left.len());
        for (index, recipient) in recipients.into_iter().enumerate() {
            if left.binary_search(&index).is_ok() {
                rest.push(recipient);
            } else if counts.failed == 0 {
                self.recent_failures.forget(&recipient.connection_id);
            }
        }
        rest
    }

    fn counts(&mut self, session: usize) -> &mut Counts {
        #[allow(clippy::indexing_slicing, reason = "a recipient belongs to one of the sessions")]
        &mut self.report.sessions[session].counts
    }

    fn fail(&mut self, delivery: &Delivery, cause: String) {
        self.counts(delivery.session).failed += 1;
        self.report.delivery_failures.add(cause);
    }

    /// Counts the recipients that remain at the end as failed. Where the fan-out `gave_up` on them, the next message
    /// does not wait for them again.
    pub(super) fn fail_rest(&mut self, rest: Vec<Delivery>, gave_up: bool) {
        let others_delivered = self.report.sessions.iter().any(|session| session.counts.delivered > 0);
        for delivery in rest {
            if gave_up && (others_delivered || self.recipients == 1) {
                self.recent_failures.gave_up_on(&delivery.recipient.connection_id, !others_delivered);
            }
            let cause = match &self.last_cause {
                Some(cause) => format!("given up after {cause}"),
                None => "the time ran out before the first attempt, or while waiting for its answer".into(),
            };
            self.fail(&delivery, cause);
        }
        for (session, unread) in self.report.sessions.iter_mut().zip(&self.unread) {
            session.complete &= !unread;
        }
    }

    /// # Errors
    ///
    /// No session could be served, or no recipient could be posted to, so there is nothing to report.
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
    let hint = "check that WEBSOCKET_ENDPOINT is the address of this API, and that the function's role allows execute-api:ManageConnections on it";
    Failure::other("forbidden", format!("API Gateway forbids every post: {hint}: {cause}"))
}

#[cfg(test)]
mod tests;
