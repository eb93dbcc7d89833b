//! Who speaks over a connection, and whether it still may.

use crate::{
    clock::now_seconds,
    deadline::Deadline,
    event::Sender,
    invocation::Stop,
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
    /// Why nothing is taken from this connection any more, if so. With `require_grant` the hub has an authorizer.
    #[must_use]
    pub fn why_over(&self, require_grant: bool) -> Option<&'static str> {
        match &self.grant {
            Some(grant) if grant.has_ended(now_seconds()) => {
                Some("the token of this connection has expired: connect again with a new one")
            }
            None if require_grant => {
                Some("this connection was opened without a token: connect again with one")
            }
            _ => None,
        }
    }

    /// The connection's session: the grant says it, or else the connection's row.
    ///
    /// # Errors
    ///
    /// The connection has no row, which refuses the frame with the id `id`, or that cannot be read in time.
    pub async fn session(
        &self,
        registry: &Registry,
        deadline: Deadline,
        id: &str,
    ) -> Result<SessionId, Stop> {
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
    /// There is none, which refuses the frame with the id `id`, or it cannot be read.
    pub async fn connection(&self, registry: &Registry, id: &str) -> Result<Connection, Stop> {
        registry.connection(&self.connection_id).await?.ok_or_else(|| not_connected(id).into())
    }
}
