//! Requests of backends, and events sent to publish by mistake, with a table and a gateway on loopback.

use harness::{Operation, Row, World};
use hub::{aws::sdk_config, protocol::Code};
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};

use super::*;

struct Hub {
    world: World,
    handler: Handler,
}

/// `alice` and `bob` have one connection each.
async fn hub() -> Hub {
    let world = World::start().await;
    world.table.put("alices", Row::aged("alice", 60));
    world.table.put("bobs", Row::aged("bob", 60));
    let mut variables = world.environment();
    variables.push(("REQUIRE_GRANT", "true".into()));
    let variables = Variables::of(&variables);
    let handler = Handler::new(&variables, &sdk_config(&variables).unwrap()).unwrap();
    Hub { world, handler }
}

impl Hub {
    async fn answer(&self, payload: &str) -> Result<Value, Diagnostic> {
        let payload: Box<RawValue> = serde_json::from_str(payload).unwrap();
        let mut context = Context::default();
        context.request_id = "request-1".into();
        context.deadline = u64::MAX / 2;
        let receipt = self.handler.handle(&payload, &context).await?;
        Ok(serde_json::to_value(receipt).unwrap())
    }

    fn frames(&self) -> Vec<Value> {
        let posts = self.world.gateway.posts();
        posts.iter().map(|post| serde_json::from_slice(&post.frame).unwrap()).collect()
    }
}

macro_rules! event {
    ($name:literal) => {
        include_str!(concat!("../../../../events/", $name, ".json"))
    };
}

#[tokio::test]
async fn the_result_is_a_receipt_and_the_message_has_no_sender() {
    let hub = hub().await;
    let one = |session| json!({ "session": session, "delivered": 1, "gone": 0, "failed": 0 });
    assert_eq!(
        hub.answer(event!("publish")).await.unwrap(),
        json!({
            "type": "receipt", "id": "billing:order-1042:shipped", "delivered": 2, "gone": 0, "failed": 0,
            "sessions": [one("alice"), one("bob")],
        })
    );
    let mut frames = hub.frames();
    frames.sort_by_key(|frame| frame["session"].to_string());
    let expected = |session: &str| {
        json!({
            "type": "message", "id": "billing:order-1042:shipped", "from": null,
            "message": { "order": 1042, "status": "shipped" }, "sent_at": frames[0]["sent_at"], "session": session,
        })
    };
    assert_eq!(frames, [expected("alice"), expected("bob")]);
    let reads_a_sender = |call: &harness::Call| call.operation == Operation::GetItem;
    assert!(!hub.world.table.calls().iter().any(reads_a_sender));
}

#[tokio::test]
async fn an_invocation_that_lambda_repeats_keeps_its_message_id() {
    let hub = hub().await;
    for _ in 0..2 {
        let receipt = hub.answer(r#"{"sessions":["bob"],"message":null,"other":"key"}"#).await.unwrap();
        assert_eq!((&receipt["id"], &receipt["delivered"]), (&json!("request-1"), &json!(1)));
    }
}

#[tokio::test]
async fn the_key_receipt_of_clients_is_ignored_in_a_backends_request() {
    let hub = hub().await;
    for receipt in ["false", "null", r#"false,"receipt":7"#] {
        let payload = format!(r#"{{"sessions":["bob"],"message":1,"receipt":{receipt}}}"#);
        assert_eq!(hub.answer(&payload).await.unwrap()["delivered"], 1, "{payload}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_function_error_whose_type_is_its_code() {
    let sessions: Vec<_> = (0..101).map(|n| format!("s{n}")).collect();
    let many = json!({ "sessions": sessions, "message": 1 }).to_string();
    let large = json!({ "sessions": ["bob"], "message": "x".repeat(32_768) }).to_string();
    for (payload, code, text) in [
        (event!("publish-bad-sessions"), Code::BadRequest, "`sessions` must be a list"),
        (&many, Code::TooManySessions, "101 different sessions"),
        (&large, Code::MessageTooLarge, "at most 32768"),
        ("{}", Code::BadRequest, "`sessions` is missing"),
        (r#"{"sessions":[],"message":1,"Records":[]}"#, Code::BadRequest, "`sessions` is empty"),
        ("null", Code::BadRequest, "one JSON object"),
        ("\"text\"", Code::BadRequest, "one JSON object"),
    ] {
        let hub = hub().await;
        let error = hub.answer(payload).await.unwrap_err();
        assert_eq!(error.error_type, code.as_str(), "{payload}");
        assert!(error.error_message.contains(text), "{}", error.error_message);
        assert!(hub.frames().is_empty());
    }
}

#[tokio::test]
async fn a_request_context_and_events_of_other_services_are_refused_with_what_to_send() {
    let escaped = r#"{"sessions":["bob"],"message":1,"request\u0043ontext":{"connectionId":"alices"}}"#;
    for (payload, text) in [
        (event!("send-message"), "`requestContext` is not accepted"),
        (event!("publish-request-context"), "`requestContext` is not accepted"),
        (escaped, "`requestContext` is not accepted"),
        (r#"{"sessions":["bob"],"message":1,"requestContext":null}"#, "`requestContext` is not accepted"),
        (event!("publish-sqs"), "not unpacked"),
        (event!("publish-sns"), "not unpacked"),
        (r#"{"eventSource":"aws:kafka","records":{}}"#, "not unpacked"),
        (event!("publish-eventbridge"), "transform the input"),
        (r#"[{"sessions":["bob"],"message":1}]"#, "for each message"),
    ] {
        let hub = hub().await;
        let error = hub.answer(payload).await.unwrap_err();
        assert_eq!(error.error_type, "bad_request", "{payload}");
        assert!(error.error_message.contains(text), "{}", error.error_message);
        assert!(error.error_message.contains(r#"{"sessions":["#), "{}", error.error_message);
        assert!(hub.frames().is_empty(), "{payload}");
    }
}
