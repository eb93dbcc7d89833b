//! Stores a connection under the session it names, or refuses the handshake.

use std::time::Instant;

use hub::{
    event::{Connect, GatewayAnswer},
    failure::Failure,
    registry::Registry,
    telemetry,
};
use serde_json::value::RawValue;

const ROUTE: &str = "$connect";

/// Answers 200 once the row is stored and 400 to a session id that is missing or malformed. A row that cannot
/// be stored is a failure, which the gateway turns into a refused handshake: nobody holds a socket that no
/// message can reach.
pub(crate) async fn handle(registry: &Registry, payload: &RawValue) -> Result<GatewayAnswer, Failure> {
    let started = Instant::now();
    let Connect { connection_id, session, connected_at } =
        Connect::parse(payload).inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
    let session = match session {
        Ok(session) => session,
        Err(why) => {
            let duration_ms = telemetry::millis_since(started);
            tracing::info!(route = ROUTE, connection_id, why, duration_ms, "refused");
            return Ok(GatewayAnswer::refused(400, why));
        }
    };
    registry
        .add(&connection_id, &session, connected_at)
        .await
        .inspect_err(|failure| telemetry::failed(ROUTE, &connection_id, failure, started))?;
    let duration_ms = telemetry::millis_since(started);
    tracing::info!(route = ROUTE, connection_id, session_id = session.as_str(), duration_ms, "connected");
    Ok(GatewayAnswer::ok())
}
