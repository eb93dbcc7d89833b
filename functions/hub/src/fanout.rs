//! Delivery of one message to every live connection of some sessions.

mod handing;
mod pace;
mod posting;
mod progress;
mod reading;
mod waiting;

use std::{convert::Infallible, future::pending, time::Duration};

use futures::{StreamExt, future::join, stream};
use tokio::{sync::mpsc, time::timeout_at};

use self::reading::Read;
pub use self::{
    progress::{Report, Trouble},
    reading::Numbers,
};
use crate::{
    config::{ConfigError, Variables},
    deadline::Deadline,
    failure::{Failure, chain},
    posts::Connections,
    protocol::{SessionCounts, SessionId},
    registry::{Prune, Recipient, Registry, prune_cutoff},
    signed::Payload,
    stragglers::Stragglers,
    subscriptions::Subscriptions,
    workers::Workers,
};

/// Sockets of expired connections that are closed at once.
const CLOSED_AT_ONCE: usize = 16;

/// Reads `FANOUT_CONCURRENCY`, the most posts under way at once.
///
/// # Errors
///
/// It is malformed.
pub fn concurrency(variables: &Variables) -> Result<usize, ConfigError> {
    variables.number("FANOUT_CONCURRENCY", 64, &(1..=512))
}

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
    /// The sender's own connection, whose row is never pruned: it is evidently there.
    pub sender: Option<&'a str>,
    /// Its part in the whole.
    pub role: Role<'a>,
    /// The bounds in time.
    pub deadline: Deadline,
}

/// What part a fan-out has in a message.
#[derive(Clone, Copy)]
pub enum Role<'a> {
    /// It accounts for all recipients.
    Planner {
        /// Whether connections whose token has ended are closed.
        closes_expired: bool,
        /// How long to go on for the last recipients once none is settled any more.
        straggler_patience: Duration,
        /// The functions that it hands recipients to, if it does.
        workers: Option<&'a Workers>,
    },
    /// It posts for a planner, to which it leaves what has expired and what it does not reach within a short time.
    Worker,
}

impl<'a> Role<'a> {
    fn workers(&self) -> Option<&'a Workers> {
        match self {
            Self::Planner { workers, .. } => *workers,
            Self::Worker => None,
        }
    }

    fn straggler_patience(&self) -> Option<Duration> {
        match self {
            Self::Planner { straggler_patience, .. } => Some(*straggler_patience),
            Self::Worker => None,
        }
    }

    fn is_worker(&self) -> bool {
        matches!(self, Self::Worker)
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
        frame: impl AsyncFn(usize, &SessionId, &Numbers) -> Result<Payload, Failure>,
        report: &mut Report,
    ) -> Result<(), E> {
        report.sessions = self.sessions.iter().cloned().map(SessionCounts::new).collect();
        let (pages, reads) = mpsc::channel(1);
        let reading = self.read_all(frame, pages);
        // Boxed, because the SDK's futures are large.
        let posting = Box::pin(async {
            ready.await?;
            let expired = self.post(reads, 0, report).await?;
            self.close(expired, report).await;
            Ok(())
        });
        tokio::select! {
            result = posting => result,
            never = async { reading.await; pending::<Infallible>().await } => match never {},
        }
    }

    /// Delivers a frame to recipients of its only session that a planner has read, at no more than `rate` posts per second; 0
    /// is any number. Fills in `report`, and returns those that are left.
    ///
    /// # Errors
    ///
    /// No post can succeed.
    pub async fn deliver_to(
        &self,
        recipients: Vec<Recipient>,
        frame: Payload,
        rate: u32,
        report: &mut Report,
    ) -> Result<Vec<Recipient>, Failure> {
        report.sessions = self.sessions.iter().cloned().map(SessionCounts::new).collect();
        let (pages, reads) = mpsc::channel(2);
        for read in [Read::Page(frame.into(), recipients), Read::End(Ok(()))] {
            // There is room for both.
            let _ = pages.try_send((0, read));
        }
        let left = self.post(reads, rate, report).await?;
        Ok(left.into_iter().map(|(_, recipient)| recipient).collect())
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
