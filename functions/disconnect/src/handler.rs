//! Removes a connection that has ended.

use std::time::Instant;

use hub::{
    event::{Disconnect, GatewayAnswer},
    failure::Failure,
    registry::Registry,
    telemetry,
};
use serde_json::value::RawValue;

const ROUTE: &str = "$disconnect";

/// Answers 200 whether or not there was a row. The gateway calls this at its best effort only: rows that it
/// leaves behind expire.
pub(crate) async fn handle(registry: &Registry, payload: &RawValue) -> Result<GatewayAnswer, Failure> {
    let started = Instant::now();
    let Disconnect { connection_id, close_code, close_reason } =
        Disconnect::parse(payload).inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
    registry
        .remove(&connection_id)
        .await
        .inspect_err(|failure| telemetry::failed(ROUTE, &connection_id, failure, started))?;
    let duration_ms = telemetry::millis_since(started);
    tracing::info!(route = ROUTE, connection_id, close_code, close_reason, duration_ms, "disconnected");
    Ok(GatewayAnswer::ok())
}
