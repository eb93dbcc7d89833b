//! Posts a fan-out's recipients as they are read, or has other functions do so, until all are settled.

use std::{pin::pin, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Fanout, Report,
    handing::Part,
    pace::Pace,
    progress::Progress,
    reading::{Read, Reads},
    waiting::{Delivery, Waiting, Window},
};
use crate::{
    chunk::{self, Chunk},
    failure::Failure,
    posts::Verdict,
    registry::{Prune, Recipient},
    workers::{ANSWER_PATIENCE, Returned, Workers},
};

/// What became of an attempt.
pub(super) enum Outcome {
    Delivered,
    Gone(Result<Prune, Failure>),
    /// 410, which is asked about once more.
    PerhapsGone,
    /// Worth another attempt: whether it was throttled, and the cause.
    Again(bool, String),
    Failed(String),
    /// 403, which may be the answer to all.
    Forbidden(String),
    /// No request can be sent at all.
    Unsent(String),
    /// The fan-out ended first.
    Interrupted,
}

impl Fanout<'_> {
    /// Posts to every recipient that is read until all are settled, the time for posting is up, or none is settled any
    /// more. It makes at most `rate` posts per second until it hands any out; 0 is any number. Returns what has expired, and of
    /// a worker what is not settled, too, with its session's place.
    pub(super) async fn post(
        &self,
        mut reads: Reads,
        rate: u32,
        report: &mut Report,
    ) -> Result<Vec<(usize, Recipient)>, Failure> {
        let stop = Notify::new();
        let (mut calls, mut chunks) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut alarm = pin!(sleep_until(self.deadline.post_until));
        let mut window = Window::new(self.connections.open(), self.concurrency);
        let mut pace = Pace::new(rate);
        let mut waiting = Waiting::new(self);
        let mut progress = Progress::new(report, self.stragglers);
        let gave_up = loop {
            let now = Instant::now();
            window.grow(now);
            while calls.len() < window.size()
                && pace.is_free(now)
                && let Some(delivery) = waiting.next(now)
            {
                pace.take(now);
                progress.begin(delivery.attempts == 0, now);
                calls.push(self.attempt(delivery, &stop));
            }
            if let Some(workers) = self.role.workers() {
                while let Some((part, budget)) = waiting.hand_out(chunks.len(), now) {
                    progress.hand_over();
                    chunks.push(self.hand_over(workers, part, budget, &stop));
                }
                if let Some(rate) = waiting.own_rate(chunks.len()) {
                    pace.hold_to(rate, now);
                }
            }
            let more = progress.reads() || waiting.has_new();
            if progress.is_hopeless()
                || (!more && calls.is_empty() && chunks.is_empty() && waiting.is_empty())
            {
                break false;
            }
            let mut end = self.deadline.post_until;
            if !more && chunks.is_empty() {
                end = end.min(progress.patience(self.role.straggler_patience()));
            }
            if now >= end {
                break end < self.deadline.post_until;
            }
            let wake = if calls.len() < window.size() {
                waiting.due(now).map(|due| pace.free_at().map_or(due, |free| due.max(free)))
            } else {
                window.grows_at()
            };
            let wake = [wake, waiting.chunk_due(now)].into_iter().flatten().fold(end, Instant::min);
            if alarm.deadline() != wake {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                Some((delivery, outcome)) = calls.next() => {
                    window.adapt(delivery.is_new(), &outcome);
                    waiting.parked.extend(progress.settle(delivery, outcome));
                }
                Some((part, handed)) = chunks.next() => take_back(part, handed, &mut progress, &mut waiting),
                Some((session, read)) = reads.recv(), if progress.reads() && waiting.wants_more() => match read {
                    Read::Page(frame, recipients) => {
                        progress.page();
                        waiting.add(Part { session, frame, recipients });
                    }
                    Read::End(end) => {
                        progress.end(session, end);
                        waiting.end(session);
                    }
                },
                () = &mut alarm => {}
            }
        };
        stop.notify_waiters();
        while let Some((delivery, outcome)) = calls.next().await {
            waiting.parked.extend(progress.settle(delivery, outcome));
        }
        while let Some((part, handed)) = chunks.next().await {
            take_back(part, handed, &mut progress, &mut waiting);
        }
        let rest = waiting.drain();
        let mut left = waiting.expired;
        if self.role.is_worker() {
            left.extend(rest.into_iter().map(|delivery| (delivery.session, delivery.recipient)));
        } else {
            progress.leave(rest, gave_up);
        }
        progress.finish()?;
        Ok(left)
    }

    /// One attempt, and what follows from its answer; given up when `stop` is notified.
    fn attempt<'a>(
        &'a self,
        mut delivery: Delivery,
        stop: &'a Notify,
    ) -> impl Future<Output = (Delivery, Outcome)> + 'a {
        // From now on, and not from the first poll, which may come after the notification.
        let stopped = stop.notified();
        async move {
            delivery.attempts += 1;
            let outcome = tokio::select! {
                biased;
                outcome = self.outcome(&delivery) => outcome,
                () = stopped => Outcome::Interrupted,
            };
            (delivery, outcome)
        }
    }

    async fn outcome(&self, delivery: &Delivery) -> Outcome {
        match self.connections.post(&delivery.recipient.connection_id, &delivery.frame).await {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Gone if delivery.was_gone => {
                // Boxed: it is rare, and its size would be every recipient's.
                Outcome::Gone(Box::pin(self.prune(delivery.session, &delivery.recipient)).await)
            }
            Verdict::Gone => Outcome::PerhapsGone,
            Verdict::Throttled(cause) => Outcome::Again(true, cause),
            Verdict::Transient(cause) => Outcome::Again(false, cause),
            Verdict::Refused(cause) => Outcome::Failed(cause),
            Verdict::Forbidden(cause) => Outcome::Forbidden(cause),
            Verdict::Unsent(cause) => Outcome::Unsent(cause),
        }
    }

    /// Has another function deliver to a part of the recipients, until its answer is there or `stop` is notified.
    fn hand_over<'a>(
        &'a self,
        workers: &'a Workers,
        part: Part,
        budget: Duration,
        stop: &'a Notify,
    ) -> impl Future<Output = (Part, Handed)> + 'a {
        // From now on, as with an attempt.
        let stopped = stop.notified();
        async move {
            let Some(session) = self.sessions.get(part.session) else { return (part, Handed::Interrupted) };
            let until = Instant::now() + budget + ANSWER_PATIENCE;
            let text = part.frame.text();
            let chunk = Chunk::new(session, text, self.sender, &part.recipients, budget, workers.rate);
            let delivering = Box::pin(workers.deliver(&chunk, part.recipients.len()));
            let handed = tokio::select! {
                biased;
                answer = delivering => match answer {
                    Ok(outcome) => Handed::Settled(outcome),
                    Err(Returned { cause, may_run }) => {
                        Handed::Returned { cause, lost_until: may_run.then_some(until) }
                    }
                },
                () = stopped => Handed::Interrupted,
            };
            drop(chunk);
            (part, handed)
        }
    }
}

/// What became of a part that was handed over.
enum Handed {
    Settled(chunk::Outcome),
    Returned {
        cause: String,
        /// Until when the function may be at work all the same.
        lost_until: Option<Instant>,
    },
    /// The fan-out ended first.
    Interrupted,
}

/// Counts a part that was handed over; what is not settled by it waits again.
fn take_back(mut part: Part, handed: Handed, progress: &mut Progress<'_>, waiting: &mut Waiting<'_>) {
    let mut lost = None;
    match handed {
        Handed::Settled(outcome) => {
            part.recipients = progress.settle_chunk(part.session, part.recipients, outcome);
            waiting.chunk_back(None);
            return waiting.put_last(part);
        }
        Handed::Returned { cause, lost_until } => {
            lost = lost_until;
            progress.chunk_returned(cause);
        }
        Handed::Interrupted => progress.chunk_returned("no answer before the fan-out ended".into()),
    }
    waiting.chunk_back(lost);
    waiting.put_back(part);
}
