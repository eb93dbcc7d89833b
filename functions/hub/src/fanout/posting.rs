//! The loop of a fan-out: posts to recipients as they are read, or hands them over to workers, until all are settled.

use std::{pin::pin, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Fanout,
    chunking::Batch,
    delivery::{AttemptResult, Delivery},
    progress::Progress,
    queue::Queue,
    rate_limit::RateLimit,
    reading::{Read, Reads},
    window::Window,
};
use crate::{
    chunk::{Chunk, ChunkReport},
    failure::Failure,
    gateway::PostResult,
    registry::Recipient,
    report::Report,
    workers::{ANSWER_PATIENCE, ChunkError, Workers},
};

impl Fanout<'_> {
    /// Posts to every recipient that is read until all are settled, the time for posting is up, or the last recipients
    /// are given up. Makes at most `rate` posts per second (0 is no limit) until a chunk is handed over, and its share
    /// of the workers' rate from then on. Returns the recipients whose row has expired, and a worker's unsettled ones,
    /// each with the index of its session.
    pub(super) async fn post(
        &self,
        mut reads: Reads,
        rate: u32,
        report: &mut Report,
    ) -> Result<Vec<(usize, Recipient)>, Failure> {
        let stop = Notify::new();
        let (mut attempts, mut chunks) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut alarm = pin!(sleep_until(self.deadline.post_until));
        let mut window = Window::new(self.connections.idle_connections(), self.concurrency);
        let mut rate_limit = RateLimit::new(rate);
        let mut queue = Queue::new(self);
        let mut progress = Progress::new(report, self.recent_failures);
        let gave_up = loop {
            let now = Instant::now();
            window.grow(now);
            while attempts.len() < window.size()
                && rate_limit.is_free(now)
                && let Some(delivery) = queue.next(now)
            {
                rate_limit.take(now);
                progress.begin(delivery.attempts == 0, now);
                attempts.push(self.attempt(delivery, &stop));
            }
            if let Some(workers) = self.role.workers() {
                while let Some((batch, budget)) = queue.hand_over(chunks.len(), now) {
                    progress.hand_over();
                    chunks.push(self.hand_over(workers, batch, budget, &stop));
                }
                if let Some(rate) = queue.own_rate(chunks.len()) {
                    rate_limit.set_rate(rate, now);
                }
            }
            let more = progress.reads() || queue.has_new();
            if progress.is_hopeless()
                || (!more && attempts.is_empty() && chunks.is_empty() && queue.is_empty())
            {
                break false;
            }
            let mut end = self.deadline.post_until;
            if !more && chunks.is_empty() {
                end = end.min(progress.patience.ends_at(self.role.straggler_patience()));
            }
            if now >= end {
                break end < self.deadline.post_until;
            }
            let wake = if attempts.len() < window.size() {
                queue.due(now).map(|due| rate_limit.free_at().map_or(due, |free| due.max(free)))
            } else {
                window.grows_at()
            };
            let wake = [wake, queue.chunk_due(now)].into_iter().flatten().fold(end, Instant::min);
            if alarm.deadline() != wake {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                Some((delivery, result)) = attempts.next() => {
                    window.adapt(delivery.is_first_attempt(), &result);
                    queue.park(progress.settle(delivery, result));
                }
                Some((batch, result)) = chunks.next() => take_back(batch, result, &mut progress, &mut queue),
                Some((session, read)) = reads.recv(), if progress.reads() && queue.wants_more() => match read {
                    Read::Page(frame, recipients) => {
                        progress.page();
                        queue.add(Batch { session, frame, recipients });
                    }
                    Read::End(end) => {
                        progress.end(session, end);
                        queue.end(session);
                    }
                },
                () = &mut alarm => {}
            }
        };
        stop.notify_waiters();
        while let Some((delivery, result)) = attempts.next().await {
            queue.park(progress.settle(delivery, result));
        }
        while let Some((batch, result)) = chunks.next().await {
            take_back(batch, result, &mut progress, &mut queue);
        }
        let rest = queue.drain();
        let mut left = queue.expired;
        if self.role.is_worker() {
            left.extend(rest.into_iter().map(|delivery| (delivery.session, delivery.recipient)));
        } else {
            progress.fail_rest(rest, gave_up);
        }
        progress.finish()?;
        Ok(left)
    }

    /// Makes one attempt, until its answer comes or `stop` is notified.
    fn attempt<'a>(
        &'a self,
        mut delivery: Delivery,
        stop: &'a Notify,
    ) -> impl Future<Output = (Delivery, AttemptResult)> + 'a {
        // Listens from now on: the first poll may come after the notification.
        let stopped = stop.notified();
        async move {
            delivery.attempts += 1;
            let result = tokio::select! {
                biased;
                result = self.result(&delivery) => result,
                () = stopped => AttemptResult::Interrupted,
            };
            (delivery, result)
        }
    }

    async fn result(&self, delivery: &Delivery) -> AttemptResult {
        match self.connections.post(&delivery.recipient.connection_id, &delivery.frame).await {
            PostResult::Delivered => AttemptResult::Delivered,
            PostResult::Gone if delivery.was_gone => {
                // Boxed: it is rare, and every attempt would have its size.
                AttemptResult::Gone(Box::pin(self.prune(delivery.session, &delivery.recipient)).await)
            }
            PostResult::Gone => AttemptResult::PerhapsGone,
            PostResult::Throttled(cause) => AttemptResult::Retry { throttled: true, cause },
            PostResult::Transient(cause) => AttemptResult::Retry { throttled: false, cause },
            PostResult::Refused(cause) => AttemptResult::Failed(cause),
            PostResult::Forbidden(cause) => AttemptResult::Forbidden(cause),
            PostResult::Unsent(cause) => AttemptResult::Unsent(cause),
        }
    }

    /// Hands a batch over to a worker, and waits until its answer comes or `stop` is notified.
    fn hand_over<'a>(
        &'a self,
        workers: &'a Workers,
        batch: Batch,
        budget: Duration,
        stop: &'a Notify,
    ) -> impl Future<Output = (Batch, ChunkResult)> + 'a {
        // Listens from now on, as above.
        let stopped = stop.notified();
        async move {
            let Some(session) = self.sessions.get(batch.session) else {
                return (batch, ChunkResult::Interrupted);
            };
            let until = Instant::now() + budget + ANSWER_PATIENCE;
            let text = batch.frame.text();
            let chunk =
                Chunk::new(session, text, self.sender, &batch.recipients, budget, workers.split.rate());
            let delivering = Box::pin(workers.deliver(&chunk, batch.recipients.len()));
            let result = tokio::select! {
                biased;
                answer = delivering => match answer {
                    Ok(report) => ChunkResult::Delivered(report),
                    Err(ChunkError { cause, may_still_run }) => {
                        ChunkResult::Failed { cause, lost_until: may_still_run.then_some(until) }
                    }
                },
                () = stopped => ChunkResult::Interrupted,
            };
            drop(chunk);
            (batch, result)
        }
    }
}

/// What became of a batch that was handed over.
enum ChunkResult {
    Delivered(ChunkReport),
    Failed {
        cause: String,
        /// Until when the worker may be posting all the same.
        lost_until: Option<Instant>,
    },
    /// The fan-out ended before the answer came.
    Interrupted,
}

/// Counts a batch that was handed over, and queues those of its recipients that are not settled.
fn take_back(mut batch: Batch, result: ChunkResult, progress: &mut Progress<'_>, queue: &mut Queue<'_>) {
    let mut lost = None;
    match result {
        ChunkResult::Delivered(report) => {
            batch.recipients = progress.settle_chunk(batch.session, batch.recipients, report);
            queue.chunk_back(None);
            return queue.put_last(batch);
        }
        ChunkResult::Failed { cause, lost_until } => {
            lost = lost_until;
            progress.chunk_returned(cause);
        }
        ChunkResult::Interrupted => progress.chunk_returned("no answer before the fan-out ended".into()),
    }
    queue.chunk_back(lost);
    queue.put_back(batch);
}
