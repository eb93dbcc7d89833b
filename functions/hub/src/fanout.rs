//! Delivery of one frame to every live connection of some sessions, and the count of what became of it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, future::ready, stream};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    connections::{Connections, Verdict},
    deadline::Deadline,
    failure::{Failure, chain},
    protocol::{SessionId, SessionTally, Tally},
    registry::{Prune, Recipient, Registry, prune_cutoff},
};

/// How many sessions are read from the index at once.
const READERS: usize = 8;
/// How many recipients are in hand for each call that may be under way: those above it wait out a pause
/// between two tries, so that a throttled connection holds no call back from the others.
const IN_HAND_PER_CALL: usize = 16;
/// A 410 is asked about once more after this: the gateway is known to answer it for sockets that are alive.
const GONE_PAUSE: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// What one fan-out needs.
#[derive(Debug)]
pub struct Fanout<'a> {
    /// Where recipients are found and stale ones pruned.
    pub registry: &'a Registry,
    /// Where frames are posted.
    pub connections: &'a Connections,
    /// Calls under way at once.
    pub concurrency: usize,
    /// The sender's own connection, whose row is never pruned: it is evidently there.
    pub sender: Option<&'a str>,
    /// The bounds in time.
    pub deadline: Deadline,
}

/// How a fan-out went. Every live row that was read is in exactly one tally.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A tally for each session, in the order given.
    pub sessions: Vec<SessionTally>,
    /// Tries beyond each recipient's first.
    pub retries: u64,
    /// Stale rows deleted.
    pub pruned: u64,
    /// Prunes that failed, and why the first one did.
    pub prune_failures: Trouble,
    /// Why the first recipient that counts as failed did.
    pub delivery_failures: Trouble,
}

/// Some number of mishaps, with the cause of the first: a log line a recipient would bury the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// How many.
    pub count: u64,
    /// The first one's cause chain.
    pub first_cause: Option<String>,
}

impl Trouble {
    fn add(&mut self, cause: String) {
        self.count += 1;
        self.first_cause.get_or_insert(cause);
    }
}

/// What a recipient's delivery came to.
enum Outcome {
    Delivered,
    Gone(Result<Prune, Failure>),
    Failed(String),
}

impl Fanout<'_> {
    /// Delivers `frame` to each live connection of `sessions`.
    ///
    /// Reading runs ahead of posting by a few pages and no more, so memory does not grow with a session. A
    /// failure to read stops further reading; what was read by then is still delivered, and the report says
    /// how far it came.
    pub async fn deliver(&self, sessions: Vec<SessionId>, frame: &[u8]) -> (Report, Result<(), Failure>) {
        let calls = Semaphore::new(self.concurrency);
        let (page_sender, mut page_receiver) = mpsc::channel::<(usize, Vec<Recipient>)>(1);

        let names = &sessions;
        let read = async move {
            stream::iter(names.iter().enumerate().map(Ok))
                .try_for_each_concurrent(READERS, |(index, session)| {
                    self.read_session(index, session, page_sender.clone())
                })
                .await
        };

        let mut tallies = vec![Tally::default(); sessions.len()];
        let mut report = Report::default();
        let post = stream::poll_fn(|context| page_receiver.poll_recv(context))
            .flat_map(|(index, recipients)| stream::iter(recipients).map(move |recipient| (index, recipient)))
            .map(|(index, recipient)| {
                let calls = &calls;
                async move {
                    let mut tries = 0;
                    let outcome = self.settle(&recipient, frame, calls, &mut tries).await;
                    (index, outcome, tries)
                }
            })
            .buffer_unordered(self.concurrency * IN_HAND_PER_CALL)
            .for_each(|(index, outcome, tries)| {
                if let Some(tally) = tallies.get_mut(index) {
                    report.count(tally, outcome, tries);
                }
                ready(())
            });

        let result = self.deadline.bound(async { tokio::join!(read, post).0 }).await;
        report.sessions = sessions
            .into_iter()
            .zip(tallies)
            .map(|(session, tally)| SessionTally { session, tally })
            .collect();
        (report, result)
    }

    async fn read_session(
        &self,
        index: usize,
        session: &SessionId,
        pages: mpsc::Sender<(usize, Vec<Recipient>)>,
    ) -> Result<(), Failure> {
        let mut next = None;
        loop {
            let page = self.registry.page(session, next).await?;
            // The receiver lives as long as this future: a page can always be handed over.
            let _ = pages.send((index, page.recipients)).await;
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn settle(
        &self,
        recipient: &Recipient,
        frame: &[u8],
        calls: &Semaphore,
        tries: &mut u64,
    ) -> Outcome {
        const OUT_OF_TIME: &str = "the time ran out";
        if Instant::now() >= self.deadline.post_until {
            return Outcome::Failed(format!("{OUT_OF_TIME} before the first try"));
        }
        let mut last_cause = None;
        let posting = self.post_until_settled(recipient, frame, calls, tries, &mut last_cause);
        match timeout_at(self.deadline.post_until, posting).await {
            Ok(Verdict::Delivered) => Outcome::Delivered,
            Ok(Verdict::Gone) => Outcome::Gone(self.prune(recipient, calls).await),
            Ok(Verdict::Refused(cause) | Verdict::Transient(cause)) => Outcome::Failed(cause),
            Err(_) => Outcome::Failed(match last_cause {
                Some(cause) => format!("{OUT_OF_TIME} after {cause}"),
                None => format!("{OUT_OF_TIME} while waiting for an answer"),
            }),
        }
    }

    /// Tries until the answer is final; the caller bounds the time.
    async fn post_until_settled(
        &self,
        recipient: &Recipient,
        frame: &[u8],
        calls: &Semaphore,
        tries: &mut u64,
        last_cause: &mut Option<String>,
    ) -> Verdict {
        let mut was_gone = false;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let verdict = {
                let _call = calls.acquire().await;
                *tries += 1;
                self.connections.post(&recipient.connection_id, frame).await
            };
            match verdict {
                Verdict::Gone if !was_gone => {
                    was_gone = true;
                    *last_cause = Some("410 Gone".into());
                    sleep(GONE_PAUSE).await;
                }
                Verdict::Transient(cause) => {
                    *last_cause = Some(cause);
                    // Full jitter: connections that were throttled together do not come back together.
                    sleep(backoff.mul_f64(fastrand::f64())).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
                settled => return settled,
            }
        }
    }

    async fn prune(&self, recipient: &Recipient, calls: &Semaphore) -> Result<Prune, Failure> {
        let young = recipient.connected_at.is_some_and(|at| at >= prune_cutoff());
        if young || self.sender == Some(recipient.connection_id.as_str()) {
            return Ok(Prune::Kept);
        }
        let pruning = async {
            let _call = calls.acquire().await;
            self.registry.prune(&recipient.connection_id).await
        };
        timeout_at(self.deadline.post_until, pruning).await.unwrap_or(Err(Failure::OutOfTime))
    }
}

impl Report {
    fn count(&mut self, tally: &mut Tally, outcome: Outcome, tries: u64) {
        self.retries += tries.saturating_sub(1);
        match outcome {
            Outcome::Delivered => tally.delivered += 1,
            Outcome::Failed(cause) => {
                tally.failed += 1;
                self.delivery_failures.add(cause);
            }
            Outcome::Gone(prune) => {
                tally.gone += 1;
                match prune {
                    Ok(Prune::Deleted) => self.pruned += 1,
                    Ok(Prune::Kept) => {}
                    Err(failure) => self.prune_failures.add(chain(&failure)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
