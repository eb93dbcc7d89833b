//! Counts the open connections, for a metric.

use std::time::Instant;

use hub::{
    deadline::Deadline,
    failure::Failure,
    metrics::{self, Metric},
    registry::Registry,
    telemetry,
};
use serde::Serialize;

const ROUTE: &str = "census";

/// Connections that are open.
const OPEN_CONNECTIONS: Metric = Metric::count("OpenConnections");

/// The answer: the schedule ignores it, and a person who invokes the function sees it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    open_connections: u64,
}

/// Counts the rows of the table. A running balance of connects and disconnects would drift with every `$disconnect`
/// that the gateway does not deliver. The payload of the event is ignored.
pub(crate) async fn handle(registry: &Registry, deadline: Deadline) -> Result<Count, Failure> {
    let started = Instant::now();
    let open_connections = deadline
        .bound(registry.count_open())
        .await
        .inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
    let duration_ms = telemetry::millis_since(started);
    #[allow(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
    metrics::add(OPEN_CONNECTIONS, open_connections as f64);
    tracing::info!(route = ROUTE, open_connections, duration_ms, "counted");
    Ok(Count { open_connections })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_sdk_dynamodb::{
        self as dynamodb,
        operation::scan::{ScanError, ScanOutput},
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use hub::config::Variables;

    use super::*;

    async fn answer(rule: &Rule) -> Result<Count, Failure> {
        let client = mock_client!(dynamodb, RuleMode::MatchAny, [rule]);
        let variables = Variables::of(&[("TABLE_NAME", "connections")]);
        let registry = Registry::from_conf(&variables, client.config().to_builder()).unwrap();
        handle(&registry, Deadline::of_invocation(SystemTime::now() + Duration::from_secs(10))).await
    }

    #[tokio::test]
    async fn the_answer_is_the_count() {
        let counted = mock!(dynamodb::Client::scan).then_output(|| ScanOutput::builder().count(3).build());
        let answer = serde_json::to_value(answer(&counted).await.unwrap()).unwrap();
        assert_eq!(answer, serde_json::json!({ "open_connections": 3 }));
    }

    #[tokio::test]
    async fn a_table_that_cannot_be_counted_is_a_failure() {
        let broken = mock!(dynamodb::Client::scan).then_error(|| ScanError::unhandled("down"));
        let result = answer(&broken).await;
        assert!(matches!(result, Err(Failure::Table { .. })), "{result:?}");
    }
}
