//! The steps of a subscription, in an order in which nothing that fails or races leaves a row that nobody would remove.

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
        // First the set, then the rows: whoever removes the connection meanwhile knows of them.
        self.reserve(new.clone(), connection.clone()).await?;
        let writing = async {
            self.subscriptions.add(&sender.connection_id, &connection, &others).await?;
            // A disconnect may have come before the rows.
            self.registry.connection(&sender.connection_id).await
        };
        match writing.await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                if let Err(failure) = self.subscriptions.remove(&sender.connection_id, &others).await {
                    self.left(&failure);
                }
                Err(not_connected(id).into())
            }
            Err(failure) => {
                self.undo(&new).await;
                Err(failure.into())
            }
        }
    }

    /// Puts what is new into the set, as far as there is room for all of it.
    async fn reserve(&self, mut new: BTreeSet<SessionId>, mut connection: Connection) -> Result<(), Stop> {
        let Request { sender, id, .. } = self.request;
        while !new.is_empty() {
            if connection.subscriptions.len() + new.len() > MAX_SUBSCRIPTIONS {
                return Err(too_many(Some(id.to_owned())).into());
            }
            match self.registry.add_subscriptions(&sender.connection_id, &new).await? {
                Added::Done => break,
                Added::NotConnected => return Err(not_connected(id).into()),
                Added::Full(now) => {
                    new = &new - &now.subscriptions;
                    connection = now;
                }
            }
        }
        Ok(())
    }

    /// Takes back what could not be completed. What cannot be taken back stays in the set, and goes with the connection.
    async fn undo(&self, new: &BTreeSet<SessionId>) {
        if new.is_empty() {
            return;
        }
        let id = &self.request.sender.connection_id;
        let undoing = async {
            self.subscriptions.remove(id, new).await?;
            self.registry.take_subscriptions(id, new).await
        };
        if let Err(failure) = undoing.await {
            self.left(&failure);
        }
    }

    /// Logs what could not be taken back: it goes with the connection, or expires.
    fn left(&self, failure: &Failure) {
        let origin = self.request.origin;
        let (route, connection_id) = (origin.route, origin.id());
        tracing::warn!(route, connection_id, error = chain(failure), "not taken back");
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
