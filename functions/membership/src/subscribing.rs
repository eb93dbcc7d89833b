//! The steps of a subscription, in an order in which nothing that fails or races leaves an orphaned row.

use std::collections::BTreeSet;

use hub::{
    failure::{Failure, chain},
    invocation::Stop,
    protocol::{Code, MAX_SUBSCRIPTIONS, Refusal, SessionId},
    registry::{Added, Connection, Registry},
    responder::Request,
    sender::not_connected,
    subscriptions::Subscriptions,
};
use tokio::time::timeout_at;

use crate::request::too_many;

/// One frame that subscribes.
pub(crate) struct Subscribing<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) subscriptions: &'a Subscriptions,
    pub(crate) request: Request<'a>,
}

impl Subscribing<'_> {
    /// Subscribes to all of the sessions, or to none: from then on each message to them is posted to the connection.
    pub(crate) async fn subscribe(&self, sessions: &[SessionId]) -> Result<(), Stop> {
        self.check_grant(sessions)?;
        let Request { sender, id, .. } = self.request;
        let connection = sender.connection(self.registry, id).await?;
        let others: BTreeSet<_> =
            sessions.iter().filter(|session| **session != connection.session).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        let new = &others - &connection.subscriptions;
        // First the set, then the rows: a disconnect that comes in between knows of them.
        self.reserve(&new, connection.clone()).await?;
        let writing = async {
            self.subscriptions.add(&sender.connection_id, &connection, &others).await?;
            // A disconnect may have come before the rows.
            self.registry.connection(&sender.connection_id).await
        };
        // What is left of the time is for taking it back.
        match timeout_at(self.request.origin.deadline.post_until, Box::pin(writing)).await {
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => {
                self.warn_of(self.subscriptions.remove(&sender.connection_id, &others)).await;
                Err(not_connected(id).into())
            }
            Ok(Err(failure)) => {
                self.warn_of(self.undo(&new, &others)).await;
                Err(failure.into())
            }
            Err(_) => {
                // A row may still come, so its name stays in the set.
                self.warn_of(self.subscriptions.remove(&sender.connection_id, &new)).await;
                Err(Failure::OutOfTime.into())
            }
        }
    }

    /// Puts what is new into the set, if there is room for all of it.
    async fn reserve(&self, new: &BTreeSet<SessionId>, mut connection: Connection) -> Result<(), Stop> {
        let Request { sender, id, .. } = self.request;
        let mut missing = new.clone();
        while !missing.is_empty() {
            if connection.subscriptions.len() + missing.len() > MAX_SUBSCRIPTIONS {
                return Err(too_many(Some(id.to_owned())).into());
            }
            match self.registry.add_subscriptions(&sender.connection_id, &missing).await {
                Ok(Added::Done) => break,
                Ok(Added::NotConnected) => return Err(not_connected(id).into()),
                Ok(Added::Full(now)) => {
                    missing = new - &now.subscriptions;
                    connection = now;
                }
                Err(failure) => {
                    // It may have been done, and the answer lost.
                    self.warn_of(self.registry.take_subscriptions(&sender.connection_id, &missing)).await;
                    return Err(failure.into());
                }
            }
        }
        Ok(())
    }

    /// Takes back what could not be completed: what is `new` of all the `others` that the frame names.
    async fn undo(&self, new: &BTreeSet<SessionId>, others: &BTreeSet<SessionId>) -> Result<(), Failure> {
        let id = &self.request.sender.connection_id;
        let is_live = if new.is_empty() {
            self.registry.connection(id).await?.is_some()
        } else {
            self.subscriptions.remove(id, new).await?;
            self.registry.take_subscriptions(id, new).await?
        };
        // A disconnect has removed the rows of known names, and this frame may have written them again.
        if is_live { Ok(()) } else { self.subscriptions.remove(id, others).await }
    }

    /// Logs what could not be taken back: it ends with the connection, or when the client unsubscribes.
    async fn warn_of<T>(&self, undoing: impl Future<Output = Result<T, Failure>>) {
        if let Err(failure) = undoing.await {
            let origin = self.request.origin;
            let (route, connection_id) = (origin.route, origin.id());
            tracing::warn!(route, connection_id, error = chain(&failure), "subscriptions not undone");
        }
    }

    fn check_grant(&self, sessions: &[SessionId]) -> Result<(), Refusal> {
        let Some(grant) = &self.request.sender.grant else { return Ok(()) };
        let may = |session: &SessionId| *session == grant.session || grant.subscribe_to.covers(session);
        match sessions.iter().find(|session| !may(session)) {
            None => Ok(()),
            Some(session) => {
                let text =
                    format!("the token of this connection does not allow it to subscribe to \"{session}\"");
                Err(Refusal::new(Code::Forbidden, text, Some(self.request.id.to_owned())))
            }
        }
    }
}
