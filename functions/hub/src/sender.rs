//! The connection that sent a frame: its session, and whether it may still send.

use crate::{
    clock::now_seconds,
    deadline::Deadline,
    event::Sender,
    invocation::RequestError,
    protocol::{Refusal, SessionId},
    registry::{Connection, Registry},
};

impl Sender {
    /// The refusal of this connection's frames, if they are refused. With `require_grant` the hub has an authorizer.
    #[must_use]
    pub fn refusal(&self, require_grant: bool) -> Option<Refusal> {
        match &self.grant {
            Some(grant) if grant.has_expired(now_seconds()) => Some(Refusal::token_expired()),
            None if require_grant => Some(Refusal::no_token()),
            _ => None,
        }
    }

    /// The connection's session, from its grant or else from its row.
    ///
    /// # Errors
    ///
    /// The connection has no live row, which refuses the frame with the id `id`; or the row cannot be read in time.
    pub async fn session(
        &self,
        registry: &Registry,
        deadline: Deadline,
        id: &str,
    ) -> Result<SessionId, RequestError> {
        if let Some(grant) = &self.grant {
            return Ok(grant.session.clone());
        }
        let session = deadline.bound(registry.session_of(&self.connection_id)).await?;
        session.ok_or_else(|| Refusal::not_registered().with_id(id.to_owned()).into())
    }

    /// The connection's row.
    ///
    /// # Errors
    ///
    /// There is no live row, which refuses the frame with the id `id`; or it cannot be read.
    pub async fn connection(&self, registry: &Registry, id: &str) -> Result<Connection, RequestError> {
        let connection = registry.connection(&self.connection_id).await?;
        connection.ok_or_else(|| Refusal::not_registered().with_id(id.to_owned()).into())
    }
}
