//! The steps of `subscribe`, in an order in which no failure and no race leaves an orphaned row.

use std::collections::BTreeSet;

use hub::{
    failure::{Failure, chain},
    invocation::RequestError,
    protocol::{MAX_SUBSCRIPTIONS, Refusal, SessionId},
    registry::{Added, Connection, Registry},
    responder::Request,
    subscriptions::Subscriptions,
};
use tokio::time::timeout_at;

/// One frame that subscribes.
pub(crate) struct Subscribing<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) subscriptions: &'a Subscriptions,
    pub(crate) request: Request<'a>,
}

impl Subscribing<'_> {
    /// Subscribes to all of the sessions, or to none. From then on, each message to them is posted to the connection.
    pub(crate) async fn subscribe(&self, sessions: &[SessionId]) -> Result<(), RequestError> {
        self.check_grant(sessions)?;
        let Request { sender, id, .. } = self.request;
        let connection = sender.connection(self.registry, id).await?;
        let others: BTreeSet<_> =
            sessions.iter().filter(|session| **session != connection.session).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        let new = &others - &connection.subscriptions;
        // The set first, then the rows: a disconnect in between removes both.
        self.reserve(&new, connection.clone()).await?;
        let writing = async {
            self.subscriptions.add(&sender.connection_id, &connection, &others).await?;
            // A disconnect may have come before the rows were written.
            self.registry.connection(&sender.connection_id).await
        };
        // The rest of the time is reserved for undoing.
        match timeout_at(self.request.invocation.deadline.post_until, Box::pin(writing)).await {
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => {
                self.warn_if_failed(self.subscriptions.remove(&sender.connection_id, &others)).await;
                Err(Refusal::not_registered().with_id(id.to_owned()).into())
            }
            Ok(Err(failure)) => {
                self.warn_if_failed(self.undo(&new, &others)).await;
                Err(failure.into())
            }
            Err(_) => {
                // A row may still be written, so its name stays in the set.
                self.warn_if_failed(self.subscriptions.remove(&sender.connection_id, &new)).await;
                Err(Failure::OutOfTime.into())
            }
        }
    }

    /// Adds the new names to the set, if it has room for all of them.
    async fn reserve(
        &self,
        new: &BTreeSet<SessionId>,
        mut connection: Connection,
    ) -> Result<(), RequestError> {
        let Request { sender, id, .. } = self.request;
        let mut missing = new.clone();
        while !missing.is_empty() {
            if connection.subscriptions.len() + missing.len() > MAX_SUBSCRIPTIONS {
                return Err(Refusal::too_many_subscriptions().with_id(id.to_owned()).into());
            }
            match self.registry.add_subscriptions(&sender.connection_id, &missing).await {
                Ok(Added::Done) => break,
                Ok(Added::NotConnected) => {
                    return Err(Refusal::not_registered().with_id(id.to_owned()).into());
                }
                Ok(Added::Full(now)) => {
                    missing = new - &now.subscriptions;
                    connection = now;
                }
                Err(failure) => {
                    // The update may have been made, and its answer lost.
                    self.warn_if_failed(self.registry.remove_subscriptions(&sender.connection_id, &missing))
                        .await;
                    return Err(failure.into());
                }
            }
        }
        Ok(())
    }

    /// Undoes a subscription that could not be completed: the `new` ones among `others`, which are all that the frame
    /// names.
    async fn undo(&self, new: &BTreeSet<SessionId>, others: &BTreeSet<SessionId>) -> Result<(), Failure> {
        let id = &self.request.sender.connection_id;
        let is_live = if new.is_empty() {
            self.registry.connection(id).await?.is_some()
        } else {
            self.subscriptions.remove(id, new).await?;
            self.registry.remove_subscriptions(id, new).await?
        };
        // A disconnect has removed the rows of earlier subscriptions, and this frame may have written them again.
        if is_live { Ok(()) } else { self.subscriptions.remove(id, others).await }
    }

    /// Logs a subscription that could not be undone. It ends with the connection, or when the client unsubscribes.
    async fn warn_if_failed<T>(&self, undoing: impl Future<Output = Result<T, Failure>>) {
        if let Err(failure) = undoing.await {
            let invocation = self.request.invocation;
            let (route, connection_id) = (invocation.route, invocation.id());
            tracing::warn!(route, connection_id, error = chain(&failure), "subscriptions not undone");
        }
    }

    fn check_grant(&self, sessions: &[SessionId]) -> Result<(), Refusal> {
        let Some(grant) = &self.request.sender.grant else { return Ok(()) };
        let may = |session: &SessionId| *session == grant.session || grant.subscribe_to.covers(session);
        match sessions.iter().find(|session| !may(session)) {
            None => Ok(()),
            Some(session) => Err(Refusal::may_not_subscribe_to(session).with_id(self.request.id.to_owned())),
        }
    }
}
