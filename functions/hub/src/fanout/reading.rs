//! Reads a fan-out's recipients, session by session, while the message is written for each.

use std::{cell::Cell, sync::Arc};

use futures::{StreamExt, future::join, stream};
use tokio::sync::{Notify, SetOnce, mpsc};

use super::Fanout;
use crate::{
    failure::Failure,
    protocol::SessionId,
    registry::{Page, Recipient},
    signed::Payload,
    table::Item,
};

/// How many sessions are written and read at once.
const READERS: usize = 8;

/// What serving a session has to tell.
pub(super) enum Read {
    /// Recipients, and the frame for them.
    Page(Arc<Payload>, Vec<Recipient>),
    /// Nothing more comes.
    End(Result<(), Failure>),
}

/// With the session's place in the list.
pub(super) type Reads = mpsc::Receiver<(usize, Read)>;

/// Hands on a session's recipients from their `first` page to the last, once the message for them is `written`: it is kept
/// even where they cannot be read.
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
    /// Reads all sessions, once each has its `frame`.
    pub(super) async fn read_all(
        &self,
        frame: impl AsyncFn(usize, &SessionId, &Numbers) -> Result<Payload, Failure>,
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
        frame: impl AsyncFn(usize, &SessionId, &Numbers) -> Result<Payload, Failure>,
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
}
