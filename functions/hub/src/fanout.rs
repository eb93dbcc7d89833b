//! Delivery of one frame to every live connection of some sessions, and the count of what became of it.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration, vec};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
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
/// How many recipients may wait for another try before reading waits for them: about 2 MB.
const MOST_PARKED: usize = 16 * 1024;
/// A 410 is asked about once more after this: the gateway is known to answer it for sockets that are alive.
const GONE_PAUSE: Duration = Duration::from_millis(200);
/// Connections that one fan-out closes because their token has ended. The others wait for the next one.
const MOST_CLOSED: usize = 100;
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
    /// Tries that were answered with 429.
    pub throttled: u64,
    /// Stale rows deleted.
    pub pruned: u64,
    /// Prunes that failed, and why the first one did.
    pub prune_failures: Trouble,
    /// Why the first recipient that counts as failed did.
    pub delivery_failures: Trouble,
    /// Connections closed because their token has ended: they are in no tally.
    pub closed: u64,
    /// Those that could not be closed, and why the first one could not.
    pub close_failures: Trouble,
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

/// A recipient in hand, and what its tries so far came to.
struct Delivery {
    /// Its session's place in the list.
    session: usize,
    recipient: Recipient,
    tries: u32,
    throttled: bool,
    was_gone: bool,
}

impl Delivery {
    fn new(session: usize, recipient: Recipient) -> Self {
        Self { session, recipient, tries: 0, throttled: false, was_gone: false }
    }
}

/// What became of a try.
enum Outcome {
    Delivered,
    Gone(Result<Prune, Failure>),
    Failed(String),
    /// Another try is due by then.
    Again(Instant),
    /// No recipient any more, and whether its socket is closed now, or was not there, or why it could not be.
    Expired(Result<bool, String>),
}

/// Recipients that wait for another try, the next one due on top.
type Parked = BinaryHeap<Reverse<Due>>;

/// Ordered by time alone.
struct Due(Instant, Delivery);

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Due {}

type Pages = mpsc::Receiver<(usize, Vec<Recipient>)>;

impl Fanout<'_> {
    /// Delivers `frame` to each live connection of `sessions`.
    ///
    /// Reading runs ahead of posting by a few pages and no more, so memory does not grow with a session. A
    /// failure to read stops further reading; what was read by then is still delivered, and the report says
    /// how far it came.
    pub async fn deliver(&self, sessions: Vec<SessionId>, frame: &[u8]) -> (Report, Result<(), Failure>) {
        let (page_sender, pages) = mpsc::channel(1);
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
        let post = self.post_pages(pages, frame, &mut tallies, &mut report);
        let run = async { tokio::join!(read, post).0 };
        let result = self.deadline.bound(run).await;
        report.sessions = sessions
            .into_iter()
            .zip(tallies)
            .map(|(session, tally)| SessionTally { session, tally })
            .collect();
        (report, result)
    }

    /// Posts to every recipient of `pages` until it is settled or the time for posting is up.
    ///
    /// A first try comes before another's second one, and who waits for a second one holds no call: a
    /// connection in trouble costs the others nothing but the calls that it is given. What is only to be closed
    /// comes after all first tries, and gets no more than half of the calls.
    async fn post_pages(&self, mut pages: Pages, frame: &[u8], tallies: &mut [Tally], report: &mut Report) {
        let mut calls = FuturesUnordered::new();
        let mut parked = Parked::new();
        let mut page = (0, Vec::new().into_iter());
        let mut reading = true;
        let mut last_cause = None;
        let mut to_close = Vec::new();
        loop {
            let now = Instant::now();
            if now >= self.deadline.post_until {
                let waiting = parked.drain().map(|Reverse(Due(_, delivery))| delivery.session);
                for session in waiting.chain(page.1.by_ref().map(|_: Recipient| page.0)) {
                    report
                        .count(tallies.get_mut(session), Outcome::Failed(out_of_time(last_cause.as_deref())));
                }
                to_close.clear();
            }
            while calls.len() < self.concurrency
                && let Some(delivery) = next(&mut page, &mut parked, now)
            {
                calls.push(self.attempt(delivery, frame));
            }
            while !reading
                && page.1.len() == 0
                && calls.len() < self.concurrency.div_ceil(2)
                && let Some(delivery) = to_close.pop()
            {
                calls.push(self.attempt(delivery, frame));
            }
            let wake = parked.peek().map_or(self.deadline.post_until, |Reverse(due)| due.0);
            tokio::select! {
                Some((delivery, outcome, cause)) = calls.next() => {
                    report.retries += u64::from(delivery.tries > 1);
                    report.throttled += u64::from(delivery.throttled);
                    last_cause = cause.or(last_cause);
                    match outcome {
                        Outcome::Again(due) => parked.push(Reverse(Due(due, delivery))),
                        settled => report.count(tallies.get_mut(delivery.session), settled),
                    }
                }
                read = pages.recv(), if reading && page.1.len() == 0 && parked.len() < MOST_PARKED => match read {
                    Some((session, mut recipients)) => {
                        for recipient in recipients.extract_if(.., |recipient| recipient.expired) {
                            // The sender's own is needed for the receipt: whatever it sends next ends it.
                            let own = self.sender == Some(recipient.connection_id.as_str());
                            if !own && to_close.len() < MOST_CLOSED {
                                to_close.push(Delivery::new(session, recipient));
                            }
                        }
                        page = (session, recipients.into_iter());
                    }
                    None => reading = false,
                },
                () = sleep_until(wake.min(self.deadline.post_until)),
                    if !parked.is_empty() && calls.len() < self.concurrency => {}
                else => return,
            }
        }
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

    /// One try, bounded by the time for posting, and what follows from it; the cause of any trouble besides.
    async fn attempt(&self, mut delivery: Delivery, frame: &[u8]) -> (Delivery, Outcome, Option<String>) {
        delivery.tries += 1;
        delivery.throttled = false;
        if delivery.recipient.expired {
            // Boxed: it is rare, and its size would be every recipient's.
            let outcome = Outcome::Expired(Box::pin(self.close(&delivery.recipient)).await);
            return (delivery, outcome, None);
        }
        let post = self.connections.post(&delivery.recipient.connection_id, frame);
        let Ok(verdict) = timeout_at(self.deadline.post_until, post).await else {
            return (delivery, Outcome::Failed(out_of_time(None)), None);
        };
        delivery.throttled = matches!(verdict, Verdict::Throttled(_));
        let now = Instant::now();
        let (outcome, cause) = match verdict {
            Verdict::Delivered => (Outcome::Delivered, None),
            Verdict::Refused(cause) => (Outcome::Failed(cause), None),
            Verdict::Gone if delivery.was_gone => {
                (Outcome::Gone(self.prune(&delivery.recipient).await), None)
            }
            Verdict::Gone => {
                delivery.was_gone = true;
                (Outcome::Again(now + GONE_PAUSE), Some("410 Gone".into()))
            }
            Verdict::Throttled(cause) | Verdict::Transient(cause) => {
                let longest = FIRST_BACKOFF * 2_u32.saturating_pow(delivery.tries - 1).min(1 << 10);
                // Full jitter: connections that were throttled together do not come back together.
                let pause = longest.min(LONGEST_BACKOFF).mul_f64(fastrand::f64());
                (Outcome::Again(now + pause), Some(cause))
            }
        };
        (delivery, outcome, cause)
    }

    /// Hangs up on a connection whose token has ended, once. A row without a socket goes the way of the others.
    async fn close(&self, recipient: &Recipient) -> Result<bool, String> {
        let closing = self.connections.close(&recipient.connection_id);
        match timeout_at(self.deadline.post_until, closing).await {
            Ok(Verdict::Delivered) => Ok(true),
            Ok(Verdict::Gone) => match self.prune(recipient).await {
                Ok(_) => Ok(false),
                Err(failure) => Err(chain(&failure)),
            },
            Ok(Verdict::Throttled(cause) | Verdict::Transient(cause) | Verdict::Refused(cause)) => Err(cause),
            Err(_) => Err("the time ran out".into()),
        }
    }

    async fn prune(&self, recipient: &Recipient) -> Result<Prune, Failure> {
        let young = recipient.connected_at.is_some_and(|at| at >= prune_cutoff());
        if young || self.sender == Some(recipient.connection_id.as_str()) {
            return Ok(Prune::Kept);
        }
        let pruning = self.registry.prune(&recipient.connection_id);
        timeout_at(self.deadline.post_until, Box::pin(pruning)).await.unwrap_or(Err(Failure::OutOfTime))
    }
}

/// Who is to be tried next: somebody new, or else somebody whose pause is over.
fn next(page: &mut (usize, vec::IntoIter<Recipient>), parked: &mut Parked, now: Instant) -> Option<Delivery> {
    if let Some(recipient) = page.1.next() {
        return Some(Delivery::new(page.0, recipient));
    }
    let due = parked.peek().is_some_and(|Reverse(due)| due.0 <= now);
    due.then(|| parked.pop()).flatten().map(|Reverse(Due(_, delivery))| delivery)
}

fn out_of_time(last_cause: Option<&str>) -> String {
    match last_cause {
        Some(cause) => format!("the time ran out after {cause}"),
        None => "the time ran out while waiting for an answer, or before the first try".into(),
    }
}

impl Report {
    fn count(&mut self, tally: Option<&mut Tally>, outcome: Outcome) {
        let Some(tally) = tally else { return };
        match outcome {
            Outcome::Again(_) => {}
            Outcome::Expired(Ok(closed)) => self.closed += u64::from(closed),
            Outcome::Expired(Err(cause)) => self.close_failures.add(cause),
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
