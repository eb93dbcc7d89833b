//! The connection that sent a frame: its session, and whether it may still send.

use crate::{
    clock::now_seconds,
    deadline::Deadline,
    event::Sender,
    invocation::RequestError,
    protocol::{Code, Refusal, SessionId},
    registry::{Connection, Registry},
};

/// The refusal of a frame with the id `id` whose connection has no live row.
#[must_use]
pub fn not_connected(id: &str) -> Refusal {
    let text = "this connection is not registered, or has expired: connect again";
    Refusal::new(Code::NotConnected, text, Some(id.to_owned()))
}

impl Sender {
    /// Why frames of this connection are refused, if they are. With `require_grant` the hub has an authorizer.
    #[must_use]
    pub fn refusal_reason(&self, require_grant: bool) -> Option<&'static str> {
        match &self.grant {
            Some(grant) if grant.has_expired(now_seconds()) => {
                Some("the token of this connection has expired: connect again with a new one")
            }
            None if require_grant => {
                Some("this connection was opened without a token: connect again with one")
            }
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
        session.ok_or_else(|| not_connected(id).into())
    }

    /// The connection's row.
    ///
    /// # Errors
    ///
    /// There is no live row, which refuses the frame with the id `id`; or it cannot be read.
    pub async fn connection(&self, registry: &Registry, id: &str) -> Result<Connection, RequestError> {
        registry.connection(&self.connection_id).await?.ok_or_else(|| not_connected(id).into())
    }
}
