//! Handles `$disconnect`: removes a connection that has closed.

use std::time::Instant;

use hub::{
    answer::GatewayAnswer,
    deadline::Deadline,
    event::{ClosedConnection, Disconnect},
    failure::Failure,
    metrics::{self, Metric},
    protocol::Code,
    registry::Registry,
    subscriptions::Subscriptions,
    telemetry,
};
use serde_json::value::RawValue;

const ROUTE: &str = "$disconnect";

/// Connections whose `$disconnect` arrived.
const CONNECTIONS_CLOSED: Metric = Metric::count("ConnectionsClosed");

/// Answers 200 whether or not there was a row. The gateway's `$disconnect` is best effort: rows without one expire.
pub(crate) async fn handle(
    registry: &Registry,
    subscriptions: Option<&Subscriptions>,
    payload: &RawValue,
    deadline: Deadline,
) -> Result<GatewayAnswer, Failure> {
    let started = Instant::now();
    let disconnect =
        Disconnect::parse(payload).inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
    let Disconnect::Closed(ClosedConnection { connection_id, close_code, close_reason }) = disconnect else {
        telemetry::refused(ROUTE, "", Code::UnknownAction, started);
        return Ok(GatewayAnswer::unknown_action());
    };
    let removing = async {
        let Some(table) = subscriptions else { return registry.remove(&connection_id).await };
        // The connection's row first: a subscribe frame under way checks at its end whether that row still exists.
        let subscribed = registry.remove_with_subscriptions(&connection_id).await?;
        table.remove(&connection_id, &subscribed).await
    };
    deadline
        .bound(removing)
        .await
        .inspect_err(|failure| telemetry::failed(ROUTE, &connection_id, failure, started))?;
    let duration_ms = telemetry::millis_since(started);
    metrics::count(CONNECTIONS_CLOSED);
    tracing::info!(route = ROUTE, connection_id, close_code, close_reason, duration_ms, "disconnected");
    Ok(GatewayAnswer::ok())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_sdk_dynamodb::{
        self as dynamodb,
        operation::delete_item::{DeleteItemError, DeleteItemOutput},
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use hub::config::Variables;

    use super::*;

    async fn answer(event: &str, rule: &Rule) -> Result<GatewayAnswer, Failure> {
        let client = mock_client!(dynamodb, RuleMode::MatchAny, [rule]);
        let variables = Variables::of(&[("TABLE_NAME", "connections")]);
        let registry = Registry::from_conf(&variables, client.config().to_builder()).unwrap();
        let deadline = Deadline::of_route(SystemTime::now() + Duration::from_secs(10));
        handle(&registry, None, &serde_json::from_str::<Box<RawValue>>(event).unwrap(), deadline).await
    }

    #[tokio::test]
    async fn the_row_is_deleted_whatever_it_holds() {
        let deleted = mock!(dynamodb::Client::delete_item)
            .match_requests(|input| {
                input
                    .key()
                    .is_some_and(|key| key["connection_id"].as_s().is_ok_and(|id| id == "Q3xWdcTzDoECHtA="))
                    && input.condition_expression().is_none()
            })
            .then_output(|| DeleteItemOutput::builder().build());
        let answer = answer(include_str!("../../../events/disconnect.json"), &deleted).await.unwrap();
        assert_eq!((answer, deleted.num_calls()), (GatewayAnswer::ok(), 1));
    }

    #[tokio::test]
    async fn a_frame_that_names_this_route_as_its_action_deletes_nothing() {
        let deleted =
            mock!(dynamodb::Client::delete_item).then_output(|| DeleteItemOutput::builder().build());
        let frame = include_str!("../../../events/disconnect.json").replace("\"DISCONNECT\"", "\"MESSAGE\"");
        let answer = answer(&frame, &deleted).await.unwrap();
        assert!(answer.body.contains("unknown_action"), "{}", answer.body);
        assert_eq!(deleted.num_calls(), 0);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_deleted_is_a_failure() {
        let broken = mock!(dynamodb::Client::delete_item).then_error(|| DeleteItemError::unhandled("down"));
        let result = answer(include_str!("../../../events/disconnect-idle.json"), &broken).await;
        assert!(matches!(result, Err(Failure::Table { .. })), "{result:?}");
    }
}
