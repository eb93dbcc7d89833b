//! Delivery of one message to every live connection of some sessions.

mod progress;
mod waiting;

use std::{cell::Cell, convert::Infallible, future::pending, pin::pin, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::join,
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::{Notify, SetOnce, mpsc},
    time::{Instant, sleep_until, timeout_at},
};

pub use self::progress::{Report, Trouble};
use self::{
    progress::Progress,
    waiting::{Delivery, Waiting, Window},
};
use crate::{
    deadline::Deadline,
    failure::{Failure, chain},
    posts::{Connections, Frame, Verdict},
    protocol::{SessionCounts, SessionId},
    registry::{Page, Prune, Recipient, Registry, prune_cutoff},
    stragglers::Stragglers,
    subscriptions::Subscriptions,
    table::Item,
};

/// How many sessions are written and read at once.
const READERS: usize = 8;
/// Sockets of expired connections that are closed at once.
const CLOSED_AT_ONCE: usize = 16;

/// What one fan-out needs.
pub struct Fanout<'a> {
    /// The sessions that the message is for.
    pub sessions: &'a [SessionId],
    /// Where recipients are found and stale ones pruned.
    pub registry: &'a Registry,
    /// Where the connections are found that have subscribed to a session, if the hub has subscriptions.
    pub subscriptions: Option<&'a Subscriptions>,
    /// Where frames are posted.
    pub connections: &'a Connections,
    /// Connections that were in trouble lately.
    pub stragglers: &'a Stragglers,
    /// The most posts under way at once.
    pub concurrency: usize,
    /// How long to go on for the last recipients once none is settled any more.
    pub straggler_patience: Duration,
    /// The sender's own connection, whose row is never pruned: it is evidently there.
    pub sender: Option<&'a str>,
    /// Whether connections whose token has ended are closed.
    pub closes_expired: bool,
    /// The bounds in time.
    pub deadline: Deadline,
}

/// What became of an attempt.
enum Outcome {
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

/// What serving a session has to tell.
enum Read {
    /// Recipients, and the frame for them.
    Page(Arc<Frame>, Vec<Recipient>),
    /// Nothing more comes.
    End(Result<(), Failure>),
}

/// With the session's place in the list.
type Reads = mpsc::Receiver<(usize, Read)>;

/// Hands on a session's recipients from their `first` page to the last, once the message for them is `written`: it is kept
/// even where they cannot be read.
async fn pages(
    first: Result<Page, Failure>,
    page: impl AsyncFn(Option<Item>) -> Result<Page, Failure>,
    written: &SetOnce<Arc<Frame>>,
    send: impl AsyncFn(Read),
) -> Result<(), Failure> {
    let frame = written.wait().await;
    let mut read = first?;
    loop {
        send(Read::Page(frame.clone(), read.recipients)).await;
        if read.next.is_none() {
            return Ok(());
        }
        read = page(read.next).await?;
    }
}

/// How often a session's message was given a number: more than once where readers seal the first ones.
#[derive(Debug, Default)]
pub struct Numbers {
    taken: Cell<u32>,
    changed: Notify,
}

impl Numbers {
    /// The message has a place in its session's order, or needs none.
    pub fn take(&self) {
        self.taken.set(self.taken.get() + 1);
        self.changed.notify_one();
    }

    /// What `read` gives after the last number was taken.
    async fn after_last<T>(
        &self,
        written: &SetOnce<Arc<Frame>>,
        read: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            self.changed.notified().await;
            let taken = self.taken.get();
            let result = read().await;
            written.wait().await;
            if taken == self.taken.get() {
                return result;
            }
        }
    }
}

impl Fanout<'_> {
    /// Delivers a message to each live connection of the sessions and fills in `report`, even where it fails.
    ///
    /// Reading begins at once, and posting when the message is `ready` and a session, given with its place in the list, has
    /// its frame from `frame`. That tells [`Numbers`] each time it has settled where the message stands: who subscribes later
    /// knows that it comes before, and so the subscriptions are read only then. Reading runs ahead by a few pages and no more,
    /// so memory does not grow with a session.
    ///
    /// # Errors
    ///
    /// `ready`'s own; a failure where not one session could be served, or where no post can succeed.
    pub async fn deliver<E: From<Failure>>(
        &self,
        ready: impl Future<Output = Result<(), E>>,
        frame: impl AsyncFn(usize, &SessionId, &Numbers) -> Result<Frame, Failure>,
        report: &mut Report,
    ) -> Result<(), E> {
        report.sessions = self.sessions.iter().cloned().map(SessionCounts::new).collect();
        let (pages, reads) = mpsc::channel(1);
        let reading = stream::iter(self.sessions.iter().enumerate())
            .for_each_concurrent(READERS, |(index, session)| {
                self.read(index, session, &frame, pages.clone())
            });
        // Boxed, because the SDK's futures are large.
        let posting = Box::pin(async {
            ready.await?;
            Ok(self.post(reads, report).await?)
        });
        tokio::select! {
            result = posting => result,
            never = async { reading.await; pending::<Infallible>().await } => match never {},
        }
    }

    async fn read(
        &self,
        index: usize,
        session: &SessionId,
        frame: impl AsyncFn(usize, &SessionId, &Numbers) -> Result<Frame, Failure>,
        reads: mpsc::Sender<(usize, Read)>,
    ) {
        // Posting ends first only when nothing more is wanted.
        let send = async |read| drop(reads.send((index, read)).await);
        let numbers = Numbers::default();
        let written = SetOnce::new();
        let write = async {
            let frame = frame(index, session, &numbers).await?;
            // There is one writer.
            let _ = written.set(Arc::new(frame));
            Ok(())
        };
        // Boxed, because the SDK's futures are large.
        let own = async |from| Box::pin(self.registry.page(session, from)).await;
        let connections = async { pages(own(None).await, own, &written, send).await };
        let subscribers = async {
            let Some(subscriptions) = self.subscriptions else { return Ok(()) };
            let subscribed = async |from| Box::pin(subscriptions.page(session, from)).await;
            let first = numbers.after_last(&written, async || subscribed(None).await).await;
            // None is no sign that the session could be served: its own connections may be unreadable.
            let some = async |read| match read {
                Read::Page(_, recipients) if recipients.is_empty() => {}
                read => send(read).await,
            };
            pages(first, subscribed, &written, some).await
        };
        let served = async {
            let (connections, subscribers) = join(connections, subscribers).await;
            connections.and(subscribers)
        };
        // Without a frame there is nothing to post.
        let end = tokio::select! {
            biased;
            Err(failure) = write => Err(failure),
            end = served => end,
        };
        send(Read::End(end)).await;
    }

    /// Posts to every recipient that is read until all are settled, the time for posting is up, or none is settled any
    /// more; then closes what has expired.
    async fn post(&self, mut reads: Reads, report: &mut Report) -> Result<(), Failure> {
        let stop = Notify::new();
        let mut calls = FuturesUnordered::new();
        let mut alarm = pin!(sleep_until(self.deadline.post_until));
        let mut window = Window::new(self.connections.open(), self.concurrency);
        let mut waiting = Waiting::new(self);
        let mut progress = Progress::new(report, self.stragglers);
        let gave_up = loop {
            let now = Instant::now();
            window.grow(now);
            while calls.len() < window.size()
                && let Some(delivery) = waiting.next(now)
            {
                progress.begin(delivery.attempts == 0, now);
                calls.push(self.attempt(delivery, &stop));
            }
            let more = progress.reads() || waiting.has_new();
            if progress.is_hopeless() || (!more && calls.is_empty() && waiting.is_empty()) {
                break false;
            }
            let patience = progress.patience(self.straggler_patience).filter(|_| !more);
            let end = patience.map_or(self.deadline.post_until, |until| until.min(self.deadline.post_until));
            if now >= end {
                break end < self.deadline.post_until;
            }
            let wake = if calls.len() < window.size() { waiting.due() } else { window.grows_at() };
            let wake = wake.map_or(end, |wake| wake.min(end));
            if alarm.deadline() != wake {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                Some((delivery, outcome)) = calls.next() => {
                    window.adapt(delivery.is_new(), &outcome);
                    waiting.parked.extend(progress.settle(delivery, outcome));
                }
                Some((session, read)) = reads.recv(), if progress.reads() && waiting.wants_more() => match read {
                    Read::Page(frame, recipients) => {
                        progress.page();
                        waiting.page = Some((session, frame, recipients.into_iter()));
                    }
                    Read::End(end) => progress.end(session, end),
                },
                () = &mut alarm => {}
            }
        };
        stop.notify_waiters();
        while let Some((delivery, outcome)) = calls.next().await {
            waiting.parked.extend(progress.settle(delivery, outcome));
        }
        let expired = progress.leave(waiting, gave_up);
        progress.finish()?;
        self.close(expired, report).await;
        Ok(())
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

    /// Deletes the connection's row, and that of the subscription by which it was found.
    async fn prune(&self, session: usize, recipient: &Recipient) -> Result<Prune, Failure> {
        let young = recipient.connected_at.is_some_and(|at| at >= prune_cutoff());
        if young || self.sender == Some(recipient.connection_id.as_str()) {
            return Ok(Prune::Kept);
        }
        let id = &recipient.connection_id;
        let subscription = async {
            match (self.subscriptions, self.sessions.get(session)) {
                (Some(subscriptions), Some(session)) if recipient.is_subscribed => {
                    subscriptions.prune(session, id).await
                }
                _ => Ok(Prune::Kept),
            }
        };
        let (connection, subscription) = join(self.registry.prune(id), subscription).await;
        Ok(connection?.or(subscription?))
    }

    /// Closes the sockets of these connections, each once and as long as there is time. A row without a socket is pruned
    /// like any other.
    async fn close(&self, expired: Vec<(usize, Recipient)>, report: &mut Report) {
        let until = self.deadline.post_until;
        let close = async |(session, recipient): (usize, Recipient)| match self
            .connections
            .close(&recipient.connection_id)
            .await
        {
            Ok(false) => {
                let pruned = self.prune(session, &recipient).await;
                pruned.map(|_| false).map_err(|failure| chain(&failure))
            }
            closed => closed,
        };
        let mut closing = stream::iter(expired)
            .map(|expired| timeout_at(until, Box::pin(close(expired))))
            .buffer_unordered(CLOSED_AT_ONCE);
        while let Some(closed) = closing.next().await {
            match closed.unwrap_or_else(|_| Err("the time ran out".into())) {
                Ok(closed) => report.closed += u64::from(closed),
                Err(cause) => report.close_failures.add(cause),
            }
        }
    }
}
