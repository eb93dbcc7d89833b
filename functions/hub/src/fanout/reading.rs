//! Reads the recipients of a fan-out, session by session, while the message is written to each session's history.

use std::{cell::Cell, sync::Arc};

use futures::{StreamExt, future::join, stream};
use tokio::sync::{Notify, SetOnce, mpsc};

use super::Fanout;
use crate::{
    failure::Failure,
    protocol::SessionId,
    registry::{Page, Recipient},
    signing::Payload,
    table::Item,
};

/// The most sessions that are written and read at once.
const READERS: usize = 8;

/// What was read of a session.
pub(super) enum Read {
    /// Recipients, and the frame for them.
    Page(Arc<Payload>, Vec<Recipient>),
    /// All of it has been read, or an error ended that.
    End(Result<(), Failure>),
}

/// Each with the index of its session.
pub(super) type Reads = mpsc::Receiver<(usize, Read)>;

/// Sends the pages of a session's recipients, beginning with the `first`, once the session's frame is `written`. The
/// message is written to the history even if its recipients cannot be read.
async fn pages(
    first: Result<Page, Failure>,
    page: impl AsyncFn(Option<Item>) -> Result<Page, Failure>,
    written: &SetOnce<Arc<Payload>>,
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

/// How often a session's message was given a number in the history: more than once if readers seal the first ones.
#[derive(Debug, Default)]
pub struct Numbering {
    taken: Cell<u32>,
    changed: Notify,
}

impl Numbering {
    /// Notes that the message was given a number, or needs none.
    pub fn number_taken(&self) {
        self.taken.set(self.taken.get() + 1);
        self.changed.notify_one();
    }

    /// The result of a `read` that began after the last number was taken.
    async fn after_last<T>(
        &self,
        written: &SetOnce<Arc<Payload>>,
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
    /// Reads the recipients of all sessions, and sends each session's once it has its `frame`.
    pub(super) async fn read_all(
        &self,
        frame: impl AsyncFn(usize, &SessionId, &Numbering) -> Result<Payload, Failure>,
        reads: mpsc::Sender<(usize, Read)>,
    ) {
        let sessions = stream::iter(self.sessions.iter().enumerate());
        let read = |(index, session)| self.read(index, session, &frame, reads.clone());
        sessions.for_each_concurrent(READERS, read).await;
    }

    async fn read(
        &self,
        index: usize,
        session: &SessionId,
        frame: impl AsyncFn(usize, &SessionId, &Numbering) -> Result<Payload, Failure>,
        reads: mpsc::Sender<(usize, Read)>,
    ) {
        // The receiver is dropped first only when nothing more is needed.
        let send = async |read| drop(reads.send((index, read)).await);
        let numbering = Numbering::default();
        let written = SetOnce::new();
        let write = async {
            let frame = frame(index, session, &numbering).await?;
            // Set once: there is a single writer.
            let _ = written.set(Arc::new(frame));
            Ok(())
        };
        // Boxed, because the SDK's futures are large.
        let own = async |from| Box::pin(self.registry.page(session, from)).await;
        let connections = async { pages(own(None).await, own, &written, send).await };
        let subscribers = async {
            let Some(subscriptions) = self.subscriptions else { return Ok(()) };
            let subscribed = async |from| Box::pin(subscriptions.page(session, from)).await;
            let first = numbering.after_last(&written, async || subscribed(None).await).await;
            // An empty page must not count as a sign that the session could be served: its connections may be
            // unreadable.
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
}
