//! Stores a connection under the session it names, or refuses the handshake.

use std::time::Instant;

use hub::{
    deadline::Deadline,
    event::{Connect, GatewayAnswer, Handshake},
    failure::Failure,
    registry::Registry,
    telemetry,
};
use serde_json::value::RawValue;

const ROUTE: &str = "$connect";

/// Answers 200 once the row is stored and 400 to a session id that is missing or malformed. A row that cannot
/// be stored is a failure, which the gateway turns into a refused handshake: nobody holds a socket that no
/// message can reach.
pub(crate) async fn handle(
    registry: &Registry,
    payload: &RawValue,
    deadline: Deadline,
) -> Result<GatewayAnswer, Failure> {
    let started = Instant::now();
    let connect =
        Connect::parse(payload).inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
    let Connect::Handshake(Handshake { connection_id, session, connected_at }) = connect else {
        tracing::info!(
            route = ROUTE,
            code = "unknown_action",
            duration_ms = telemetry::millis_since(started),
            "refused"
        );
        return Ok(GatewayAnswer::unknown_action());
    };
    let session = match session {
        Ok(session) => session,
        Err(why) => {
            let duration_ms = telemetry::millis_since(started);
            tracing::info!(route = ROUTE, connection_id, why, duration_ms, "refused");
            return Ok(GatewayAnswer::refused(400, why));
        }
    };
    deadline
        .bound(registry.add(&connection_id, &session, connected_at))
        .await
        .inspect_err(|failure| telemetry::failed(ROUTE, &connection_id, failure, started))?;
    let duration_ms = telemetry::millis_since(started);
    tracing::info!(route = ROUTE, connection_id, session_id = session.as_str(), duration_ms, "connected");
    Ok(GatewayAnswer::ok())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_sdk_dynamodb::{
        self as dynamodb,
        operation::put_item::{PutItemError, PutItemOutput},
        types::AttributeValue,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use hub::config::Config;

    use super::*;

    async fn answer(event: &str, rule: &Rule) -> Result<GatewayAnswer, Failure> {
        let client = mock_client!(dynamodb, RuleMode::MatchAny, [rule]);
        let variables = [("TABLE_NAME", "connections"), ("AWS_REGION", "eu-west-1")];
        let config = Config::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
        });
        let registry = Registry::from_conf(client.config().to_builder(), &config.unwrap());
        let deadline = Deadline::new(SystemTime::now() + Duration::from_secs(10), false);
        handle(&registry, &serde_json::from_str::<Box<RawValue>>(event).unwrap(), deadline).await
    }

    #[tokio::test]
    async fn a_named_session_is_stored_with_its_expiry() {
        let stored = mock!(dynamodb::Client::put_item)
            .match_requests(|input| {
                let expected = [
                    ("connection_id", AttributeValue::S("Q3xWdcTzDoECHtA=".into())),
                    ("session_id", AttributeValue::S("alice".into())),
                    ("connected_at", AttributeValue::N("4102444800120".into())),
                    ("expires_at", AttributeValue::N("4102453800".into())),
                ]
                .map(|(name, value)| (name.to_owned(), value));
                input.table_name() == Some("connections") && input.item() == Some(&expected.into())
            })
            .then_output(|| PutItemOutput::builder().build());
        let answer = answer(include_str!("../../../events/connect.json"), &stored).await.unwrap();
        assert_eq!((answer, stored.num_calls()), (GatewayAnswer::ok(), 1));
    }

    #[tokio::test]
    async fn a_session_that_is_missing_or_malformed_is_refused_and_nothing_is_stored() {
        for event in [
            include_str!("../../../events/connect-missing-session.json"),
            include_str!("../../../events/connect-empty-session.json"),
            include_str!("../../../events/connect-malformed-session.json"),
            include_str!("../../../events/connect-too-long-session.json"),
            include_str!("../../../events/connect-repeated-session.json"),
        ] {
            let stored = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
            let answer = answer(event, &stored).await.unwrap();
            assert_eq!((answer.status_code, stored.num_calls()), (400, 0), "{event}");
            assert!(answer.body.contains("session_id"), "{}", answer.body);
        }
    }

    #[tokio::test]
    async fn a_frame_that_names_this_route_as_its_action_stores_nothing() {
        let stored = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
        let frame = include_str!("../../../events/connect.json").replace("\"CONNECT\"", "\"MESSAGE\"");
        let answer = answer(&frame, &stored).await.unwrap();
        assert!(answer.body.contains("unknown_action"), "{}", answer.body);
        assert_eq!(stored.num_calls(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_stored_is_a_failure() {
        let broken = mock!(dynamodb::Client::put_item).then_error(|| PutItemError::unhandled("down"));
        let result = answer(include_str!("../../../events/connect.json"), &broken).await;
        assert!(matches!(result, Err(Failure::Table { .. })), "{result:?}");
    }

    #[tokio::test]
    async fn an_event_of_another_kind_is_a_failure_whose_text_quotes_none_of_it() {
        let unused = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
        let failure = answer(r#"{"requestContext":{"connectedAt":"secret"}}"#, &unused).await.unwrap_err();
        assert!(matches!(failure, Failure::Event(_)));
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
}
