//! Posts a fan-out's recipients as they are read, or has other functions do so, until all are settled.

use std::pin::pin;

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
    workers::{Returned, Workers},
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
    /// more, and returns what has expired, with its session's place. At first at most `rate` posts a second are made; 0 is
    /// any number.
    pub(super) async fn post(
        &self,
        mut reads: Reads,
        rate: u32,
        report: &mut Report,
    ) -> Result<Vec<(usize, Recipient)>, Failure> {
        let stop = Notify::new();
        let (mut calls, mut chunks) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut alarm = pin!(sleep_until(self.deadline.post_until));
        let mut window = Window::new(self.connections.open(), self.limits.at_once);
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
            if let Some(workers) = self.workers {
                while let Some(part) = waiting.hand_out(chunks.len()) {
                    if progress.hand_over() {
                        pace = Pace::new(workers.rate);
                    }
                    chunks.push(self.hand_over(workers, part, &stop));
                }
            }
            let more = progress.reads() || waiting.has_new();
            if progress.is_hopeless()
                || (!more && calls.is_empty() && chunks.is_empty() && waiting.is_empty())
            {
                break false;
            }
            let patience = progress.patience(self.limits.straggler_patience);
            let patience = patience.filter(|_| !more && chunks.is_empty());
            let end = patience.map_or(self.deadline.post_until, |until| until.min(self.deadline.post_until));
            if now >= end {
                break end < self.deadline.post_until;
            }
            let wake = if calls.len() < window.size() {
                waiting.due().map(|due| pace.free_at().map_or(due, |free| due.max(free)))
            } else {
                window.grows_at()
            };
            let wake = wake.map_or(end, |wake| wake.min(end));
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
        let expired = progress.leave(waiting, gave_up);
        progress.finish()?;
        Ok(expired)
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
        stop: &'a Notify,
    ) -> impl Future<Output = (Part, Handed)> + 'a {
        // From now on, as with an attempt.
        let stopped = stop.notified();
        async move {
            let Some(session) = self.sessions.get(part.session) else { return (part, Handed::Interrupted) };
            let (text, budget) = (part.frame.text(), self.deadline.worker_budget());
            let chunk = Chunk::new(session, text, self.sender, &part.recipients, budget, workers.rate);
            let delivering = Box::pin(workers.deliver(&chunk, part.recipients.len()));
            let handed = tokio::select! {
                biased;
                answer = delivering => answer.map_or_else(Handed::Returned, Handed::Settled),
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
    Returned(Returned),
    /// The fan-out ended first.
    Interrupted,
}

/// Counts a part that was handed over; what is not settled by it waits again.
fn take_back(mut part: Part, handed: Handed, progress: &mut Progress<'_>, waiting: &mut Waiting<'_>) {
    match handed {
        Handed::Settled(outcome) => {
            part.recipients = progress.settle_chunk(part.session, part.recipients, outcome);
        }
        Handed::Returned(returned) => {
            if returned.may_run {
                waiting.lose_worker();
            }
            progress.chunk_returned(returned.cause);
        }
        Handed::Interrupted => {}
    }
    waiting.put_back(part);
}
