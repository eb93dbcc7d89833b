//! Prunes the rows of connections that a second 410 has shown to be gone (posting.rs), and closes the sockets of
//! connections whose token has expired.

use futures::{StreamExt, future::join, stream};
use tokio::time::timeout_at;

use super::Fanout;
use crate::{
    failure::{Failure, chain},
    registry::{Prune, Recipient, prune_cutoff},
    report::Report,
};

/// The most sockets that are being closed at once.
const CLOSED_AT_ONCE: usize = 16;

impl Fanout<'_> {
    /// Deletes the row of a connection that is gone, and that of the subscription by which it was found.
    pub(super) async fn prune(&self, session: usize, recipient: &Recipient) -> Result<Prune, Failure> {
        let young = recipient.connected_at.is_some_and(|at| at >= prune_cutoff());
        if young || self.sender == Some(recipient.connection_id.as_str()) {
            return Ok(Prune::NotDeleted);
        }
        let id = &recipient.connection_id;
        let subscription = async {
            match (self.subscriptions, self.sessions.get(session)) {
                (Some(subscriptions), Some(session)) if recipient.is_subscribed => {
                    subscriptions.prune(session, id).await
                }
                _ => Ok(Prune::NotDeleted),
            }
        };
        let (connection, subscription) = join(self.registry.prune(id), subscription).await;
        Ok(connection?.or(subscription?))
    }

    /// Closes the sockets of expired connections, each once, while there is time. A row without a socket is pruned.
    pub(super) async fn close(&self, expired: Vec<(usize, Recipient)>, report: &mut Report) {
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
