//! Handles `$connect`: stores a connection with its session, or refuses the handshake.

use std::time::Instant;

use hub::{
    answer::GatewayAnswer,
    config::{ConfigError, Variables},
    deadline::Deadline,
    event::{Connect, Handshake},
    failure::Failure,
    metrics::{self, Metric},
    protocol::{Code, SessionId},
    registry::Registry,
    telemetry,
};
use serde_json::value::RawValue;

const ROUTE: &str = "$connect";

/// Handshakes that ended in a stored connection.
const CONNECTIONS_OPENED: Metric = Metric::count("ConnectionsOpened");
/// Handshakes refused.
const CONNECTIONS_REFUSED: Metric = Metric::count("ConnectionsRefused");

/// Lives as long as the process.
pub(crate) struct Connecting {
    registry: Registry,
    require_grant: bool,
    /// How long after the handshake a row expires, in seconds.
    ttl: i64,
}

impl Connecting {
    /// Reads `CONNECTION_TTL_SECONDS` and `REQUIRE_GRANT`.
    pub(crate) fn new(variables: &Variables, registry: Registry) -> Result<Self, ConfigError> {
        Ok(Self {
            registry,
            require_grant: variables.require_grant()?,
            ttl: variables.number("CONNECTION_TTL_SECONDS", 9000, &(1..=86_400))?,
        })
    }

    /// Answers 200 once the row is stored, 400 if the session id is missing or malformed, and 403 if it is not the
    /// granted one.
    ///
    /// # Errors
    ///
    /// The row cannot be stored, or there is no grant though one is required, which means that the authorizer was
    /// bypassed. The gateway then refuses the handshake, so that no client holds a connection that no message can
    /// reach.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        deadline: Deadline,
    ) -> Result<GatewayAnswer, Failure> {
        let started = Instant::now();
        let connect =
            Connect::parse(payload).inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))?;
        let Connect::Handshake(handshake) = connect else {
            telemetry::refused(ROUTE, "", Code::UnknownAction, started);
            return Ok(GatewayAnswer::unknown_action());
        };
        let connection_id = &handshake.connection_id;
        if self.require_grant && handshake.grant.is_none() {
            let text = "the handshake has no grant although REQUIRE_GRANT is set: check that the route $connect has the hub's \
                        authorizer, and deploy again";
            let failure = Failure::Event(text.into());
            telemetry::failed(ROUTE, connection_id, &failure, started);
            return Err(failure);
        }
        let session = match session(&handshake) {
            Ok(session) => session,
            Err((status, why)) => {
                let duration_ms = telemetry::millis_since(started);
                metrics::count(CONNECTIONS_REFUSED);
                tracing::info!(route = ROUTE, connection_id, why, duration_ms, "refused");
                return Ok(GatewayAnswer::refused(status, why));
            }
        };
        // The row expires with the token if that is earlier.
        let ends = (handshake.connected_at / 1000).saturating_add(self.ttl);
        let expires_at = handshake.grant.as_ref().map_or(ends, |grant| ends.min(grant.expires_at));
        deadline
            .bound(self.registry.add(connection_id, session, handshake.connected_at, expires_at))
            .await
            .inspect_err(|failure| telemetry::failed(ROUTE, connection_id, failure, started))?;
        let duration_ms = telemetry::millis_since(started);
        metrics::count(CONNECTIONS_OPENED);
        tracing::info!(route = ROUTE, connection_id, session_id = session.as_str(), duration_ms, "connected");
        Ok(GatewayAnswer::connected(handshake.offers_subprotocol))
    }
}

/// The granted session if there is a grant, which the query string may only repeat; or else the session in the query
/// string.
fn session(handshake: &Handshake) -> Result<&SessionId, (u16, &'static str)> {
    let asked = handshake.session.as_ref().map_err(|why| (400, *why))?.as_ref();
    match (&handshake.grant, asked) {
        (Some(grant), None) => Ok(&grant.session),
        (Some(grant), Some(asked)) if *asked == grant.session => Ok(asked),
        (Some(_), Some(_)) => Err((403, "session_id is not the session that was granted")),
        (None, Some(asked)) => Ok(asked),
        (None, None) => Err((400, "session_id is missing: connect to …?session_id={session}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use aws_sdk_dynamodb::{
        self as dynamodb,
        operation::put_item::{PutItemError, PutItemOutput},
        types::AttributeValue,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    async fn answer(event: &str, rule: &Rule) -> Result<GatewayAnswer, Failure> {
        answer_if(false, event, rule).await
    }

    async fn answer_if(require_grant: bool, event: &str, rule: &Rule) -> Result<GatewayAnswer, Failure> {
        let client = mock_client!(dynamodb, RuleMode::MatchAny, [rule]);
        let requires = if require_grant { "true" } else { "false" };
        let variables = Variables::of(&[("TABLE_NAME", "connections"), ("REQUIRE_GRANT", requires)]);
        let registry = Registry::from_conf(&variables, client.config().to_builder()).unwrap();
        let deadline = Deadline::of_route(SystemTime::now() + Duration::from_secs(10));
        let payload: Box<RawValue> = serde_json::from_str(event).unwrap();
        Connecting::new(&variables, registry).unwrap().handle(&payload, deadline).await
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

    /// The sample handshake with what the hub's authorizer adds to it, and this query string.
    fn granted(session: &str, exp: i64, query: &str) -> String {
        let mut event: serde_json::Value =
            serde_json::from_str(include_str!("../../../events/connect.json")).unwrap();
        event["requestContext"]["authorizer"] = serde_json::json!({
            "principalId": session, "session_id": session, "send_to": "[\"*\"]", "exp": exp.to_string(),
        });
        event["queryStringParameters"] = serde_json::from_str(query).unwrap();
        event["multiValueQueryStringParameters"] = serde_json::Value::Null;
        event.to_string()
    }

    #[tokio::test]
    async fn a_granted_session_is_stored_until_its_token_or_the_socket_ends() {
        for (exp, expires_at) in [(4_102_444_860, "4102444860"), (4_102_460_000, "4102453800")] {
            for query in ["null", "{\"session_id\":\"alice\"}"] {
                let stored = mock!(dynamodb::Client::put_item)
                    .match_requests(move |input| {
                        let item = input.item().unwrap();
                        item["session_id"] == AttributeValue::S("alice".into())
                            && item["expires_at"] == AttributeValue::N(expires_at.into())
                    })
                    .then_output(|| PutItemOutput::builder().build());
                let answer = answer(&granted("alice", exp, query), &stored).await.unwrap();
                assert_eq!((answer, stored.num_calls()), (GatewayAnswer::ok(), 1));
            }
        }
    }

    #[tokio::test]
    async fn the_query_string_cannot_name_another_session_than_the_token() {
        for (query, status) in [
            ("{\"session_id\":\"bob\"}", 403),
            ("{\"session_id\":\"Alice\"}", 403),
            ("{\"session_id\":\"\"}", 400),
        ] {
            let stored = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
            let answer = answer(&granted("alice", 4_102_460_000, query), &stored).await.unwrap();
            assert_eq!((answer.status_code, stored.num_calls()), (status, 0), "{query}");
        }
    }

    #[tokio::test]
    async fn the_subprotocol_is_chosen_only_if_it_is_offered() {
        for (header, offers, chosen) in [
            ("sec-websocket-protocol", "bearer.x.y.z, hub.v1", Some("hub.v1")),
            ("Sec-WebSocket-Protocol", "hub.v1", Some("hub.v1")),
            ("Sec-WebSocket-Protocol", "hub.v11, HUB.V1, bearer.hub.v1", None),
            ("X-Other", "hub.v1", None),
        ] {
            let stored = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
            let mut event: serde_json::Value =
                serde_json::from_str(include_str!("../../../events/connect.json")).unwrap();
            event["multiValueHeaders"][header] = serde_json::json!([offers]);
            let answer = serde_json::to_value(answer(&event.to_string(), &stored).await.unwrap()).unwrap();
            let expected = match chosen {
                Some(name) => {
                    serde_json::json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": name } })
                }
                None => serde_json::json!({ "statusCode": 200 }),
            };
            assert_eq!(answer, expected, "{offers}");
        }
    }

    #[tokio::test]
    async fn an_incomplete_grant_is_a_failure_and_stores_nothing() {
        let stored = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
        let event = granted("alice", 4_102_460_000, "null").replace("send_to", "sendTo");
        assert!(matches!(answer(&event, &stored).await, Err(Failure::Event(_))));
        assert_eq!(stored.num_calls(), 0);
    }

    #[tokio::test]
    async fn without_a_required_grant_a_handshake_is_a_failure_and_stores_nothing() {
        let stored = mock!(dynamodb::Client::put_item).then_output(|| PutItemOutput::builder().build());
        let foreign = granted("alice", 4_102_460_000, "{\"session_id\":\"alice\"}")
            .replace("\"session_id\":\"alice\",\"send_to\"", "\"send\"")
            .replace("\"exp\"", "\"until\"");
        for event in [include_str!("../../../events/connect.json"), &foreign] {
            let result = answer_if(true, event, &stored).await;
            assert!(matches!(result, Err(Failure::Event(_))), "{result:?}");
        }
        assert_eq!(stored.num_calls(), 0);
        answer_if(true, &granted("alice", 4_102_460_000, "null"), &stored).await.unwrap();
        assert_eq!(stored.num_calls(), 1);
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
