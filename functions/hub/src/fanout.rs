//! Delivery of one message to every live connection of some sessions.

mod chunking;
mod cleanup;
mod delivery;
mod patience;
mod posting;
mod progress;
mod queue;
mod rate_limit;
mod reading;
mod retry;
pub mod settings;
mod window;

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::sync::mpsc;

pub use self::reading::Numbering;
use self::reading::Read;
use crate::{
    deadline::Deadline,
    failure::Failure,
    gateway::Connections,
    protocol::{SessionCounts, SessionId},
    recent_failures::RecentFailures,
    registry::{Recipient, Registry},
    report::Report,
    signing::Payload,
    subscriptions::Subscriptions,
    workers::Workers,
};

/// What one fan-out needs.
pub struct Fanout<'a> {
    /// The sessions that the message is for.
    pub sessions: &'a [SessionId],
    /// Where recipients are found, and stale ones are pruned.
    pub registry: &'a Registry,
    /// Where subscribers are found, if the hub has subscriptions.
    pub subscriptions: Option<&'a Subscriptions>,
    /// Where frames are posted.
    pub connections: &'a Connections,
    /// Connections that failed for recent messages.
    pub recent_failures: &'a RecentFailures,
    /// The most posts under way at once.
    pub concurrency: usize,
    /// The sender's own connection. Its row is never pruned: the connection has just sent a frame.
    pub sender: Option<&'a str>,
    /// Its role in the delivery of the message.
    pub role: Role<'a>,
    /// Its time limits.
    pub deadline: Deadline,
}

/// The role of a fan-out in the delivery of a message.
#[derive(Clone, Copy)]
pub enum Role<'a> {
    /// Accounts for all recipients.
    Planner {
        /// Whether connections whose token has expired are closed.
        closes_expired: bool,
        /// How long to wait for the last recipients after another one was settled.
        straggler_patience: Duration,
        /// The functions that it may hand recipients over to.
        workers: Option<&'a Workers>,
    },
    /// Posts for a planner. Leaves to it the recipients whose row has expired, and those not reached within a short
    /// time.
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
    /// Delivers a message to each live connection of the sessions. Fills in `report`, even if it fails.
    ///
    /// Reading begins at once. Posting begins when the message is `ready` and `frame`, given a session and its index,
    /// has returned the session's frame. `frame` tells [`Numbering`] whenever the message is given a number in the
    /// session's history. Subscriptions are read only after that: whoever subscribes later learns a position that
    /// includes the message. Reading runs ahead by a few pages only, so memory does not grow with a session.
    ///
    /// # Errors
    ///
    /// Those of `ready`; a failure if no session could be served, or if no post can succeed.
    pub async fn deliver<E: From<Failure>>(
        &self,
        ready: impl Future<Output = Result<(), E>>,
        frame: impl AsyncFn(usize, &SessionId, &Numbering) -> Result<Payload, Failure>,
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

    /// Delivers a frame to `recipients` of the only session, at no more than `rate` posts per second; 0 is no limit.
    /// Fills in `report`. Returns the recipients that are left to the planner.
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
            // The channel has room for both.
            let _ = pages.try_send((0, read));
        }
        let left = self.post(reads, rate, report).await?;
        Ok(left.into_iter().map(|(_, recipient)| recipient).collect())
    }
}
