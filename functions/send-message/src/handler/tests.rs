//! The sample events, with a table and a gateway on loopback.

use harness::{Answer, Operation, Row, World};
use hub::aws::sdk_config;
use serde_json::{Value, json};

use super::*;

const ALICE: &str = "Q3xWdcTzDoECHtA=";

/// A hub with a row for Alice, who sends the samples, and one connection of `bob`.
struct Hub {
    world: World,
    handler: Handler,
}

async fn hub() -> Hub {
    let world = World::start().await;
    world.table.put(ALICE, Row::aged("alice", 60));
    world.table.put("bobs", Row::aged("bob", 60));
    let variables = Variables::of(&world.environment());
    let handler = Handler::new(&variables, &sdk_config(&variables).unwrap()).unwrap();
    Hub { world, handler }
}

impl Hub {
    async fn answer(&self, event: &str) -> Result<Value, Failure> {
        let payload: Box<RawValue> = serde_json::from_str(event).unwrap();
        let mut context = Context::default();
        context.request_id = "request-1".into();
        context.deadline = u64::MAX / 2;
        let answer = self.handler.handle(&payload, &context).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    /// The frame that the client gets.
    async fn frame(&self, event: &str) -> Value {
        let answer = self.answer(event).await.unwrap();
        assert_eq!(answer["statusCode"], 200);
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    /// The posts in their order, each with its connection.
    fn posts(&self) -> Vec<(String, Value)> {
        let posts = self.world.gateway.posts();
        let frame = |post: &harness::Post| serde_json::from_slice(&post.frame).unwrap();
        posts
            .iter()
            .filter(|post| post.taken)
            .map(|post| (post.connection.to_string(), frame(post)))
            .collect()
    }
}

macro_rules! event {
    ($name:literal) => {
        include_str!(concat!("../../../../events/send-message", $name, ".json"))
    };
}

#[tokio::test]
async fn a_message_is_delivered_in_its_senders_name_and_a_receipt_returned() {
    let hub = hub().await;
    let one = |session| json!({ "session": session, "delivered": 1, "gone": 0, "failed": 0 });
    assert_eq!(
        hub.frame(event!("")).await,
        json!({ "type": "receipt", "id": "m-1", "delivered": 2, "gone": 0, "failed": 0, "sessions": [one("alice"), one("bob")] })
    );
    let mut posts = hub.posts();
    posts.sort_by_key(|(to, _)| to.clone());
    let [(alice, _), (bob, frame)] = &posts[..] else { panic!("{posts:?}") };
    let expected = json!({
        "type": "message", "id": "m-1", "from": "alice", "message": { "text": "Hello, hub" },
        "sent_at": frame["sent_at"], "session": "bob",
    });
    assert_eq!((alice.as_str(), bob.as_str(), frame), (ALICE, "bobs", &expected));
}

#[tokio::test]
async fn a_sender_who_wants_no_receipt_gets_no_answer_and_the_recipients_the_same_delivery() {
    let (answered, silent) = (hub().await, hub().await);
    answered.frame(event!("")).await;
    assert_eq!(silent.answer(event!("-no-receipt")).await.unwrap(), json!({ "statusCode": 200 }));
    let deliveries = |hub: &Hub| {
        let mut posts = hub.posts();
        posts.sort_by_key(|(to, _)| to.clone());
        posts.iter_mut().for_each(|(_, frame)| frame["sent_at"] = Value::Null);
        posts
    };
    assert_eq!(deliveries(&silent), deliveries(&answered));
}

#[tokio::test]
async fn a_sender_who_wants_no_receipt_gets_none_for_gone_and_failed_recipients() {
    let hub = hub().await;
    hub.world.gateway.script(|_, _| Answer::Error(413, "PayloadTooLargeException"));
    for sessions in [json!(["nobody"]), json!(["bob"])] {
        let event = changed(event!(""), &[("sessions", &sessions), SILENT]);
        assert_eq!(hub.answer(&event).await.unwrap(), json!({ "statusCode": 200 }), "{sessions}");
    }
    assert_eq!(hub.frame(event!("")).await["failed"], 2, "and the next message has its receipt");
}

/// The key with which a sender does without the receipt.
const SILENT: (&str, &Value) = ("receipt", &Value::Bool(false));

/// The event with these keys added to its frame.
fn changed(event: &str, keys: &[(&str, &Value)]) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap();
    let mut frame: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    for (key, value) in keys {
        frame[key] = (*value).clone();
    }
    event["body"] = json!(frame.to_string());
    event.to_string()
}

#[tokio::test]
async fn a_sender_who_wants_no_receipt_gets_every_error() {
    for event in [
        event!("-no-sessions"),
        event!("-empty-sessions"),
        event!("-bad-session"),
        event!("-no-message"),
        event!("-bad-id"),
        event!("-too-many-sessions"),
        event!("-too-large"),
        event!("-unknown-connection"),
        &granted(r#"["alice"]"#, LATER),
    ] {
        let hub = hub().await;
        let silent = hub.frame(&changed(event, &[SILENT])).await;
        let answered = hub.frame(event).await;
        assert_eq!((&silent["type"], silent.to_string()), (&json!("error"), answered.to_string()));
        assert!(hub.posts().is_empty());
    }
}

#[tokio::test]
async fn each_error_of_the_caller_is_an_error_frame_and_nothing_is_delivered() {
    for (event, code) in [
        (event!("-not-json"), "bad_request"),
        (event!("-no-sessions"), "bad_request"),
        (event!("-empty-sessions"), "bad_request"),
        (event!("-bad-session"), "bad_request"),
        (event!("-no-message"), "bad_request"),
        (event!("-bad-id"), "bad_request"),
        (event!("-too-many-sessions"), "too_many_sessions"),
        (event!("-too-large"), "message_too_large"),
        (event!("-unknown-connection"), "not_connected"),
    ] {
        let hub = hub().await;
        let frame = hub.frame(event).await;
        assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!(code)), "{frame}");
        assert!(hub.posts().is_empty());
    }
}

#[tokio::test]
async fn a_binary_frame_is_refused() {
    let event = event!("").replace("\"isBase64Encoded\": false", "\"isBase64Encoded\": true");
    assert_eq!(hub().await.frame(&event).await["code"], "bad_request");
}

#[tokio::test]
async fn a_failure_of_the_hub_is_an_error_and_the_sender_gets_no_internals() {
    for event in [event!(""), event!("-no-receipt")] {
        let hub = hub().await;
        hub.world.table.script(|operation, _| match operation {
            Operation::Query => Answer::Error(400, "ResourceNotFoundException"),
            _ => Answer::Serve,
        });
        let failure = hub.answer(event).await.unwrap_err();
        assert!(matches!(failure, Failure::Table { .. }));
        let expected = json!({ "type": "error", "code": "internal", "message": hub::protocol::INTERNAL_TEXT, "id": "m-1" });
        assert_eq!(hub.posts(), [(ALICE.to_owned(), expected)]);
    }
}

/// The sample message with a grant of the hub's authorizer.
fn granted(send_to: &str, exp: u64) -> String {
    let mut event: Value = serde_json::from_str(event!("")).unwrap();
    event["requestContext"]["authorizer"] = json!({
        "principalId": "alice", "session_id": "alice", "send_to": send_to, "exp": exp.to_string(),
    });
    event.to_string()
}

const LATER: u64 = 4_102_448_400;

#[tokio::test]
async fn a_token_that_allows_it_changes_nothing() {
    for send_to in [r#"["alice","bob"]"#, r#"["a*","b*"]"#, r#"["*"]"#] {
        let hub = hub().await;
        assert_eq!(hub.frame(&granted(send_to, LATER)).await["delivered"], 2);
        assert_eq!(hub.posts()[0].1["from"], "alice");
        let reads_the_row = |call: &harness::Call| call.operation == Operation::GetItem;
        assert!(!hub.world.table.calls().iter().any(reads_the_row), "the grant says it all");
    }
}

#[tokio::test]
async fn a_session_that_the_token_does_not_cover_is_forbidden_and_nothing_is_delivered() {
    for (send_to, named) in
        [(r#"["bob"]"#, "alice"), (r#"["a*"]"#, "bob"), (r#"["A*","B*"]"#, "alice"), ("[]", "alice")]
    {
        let hub = hub().await;
        let frame = hub.frame(&granted(send_to, LATER)).await;
        assert_eq!((&frame["code"], &frame["id"]), (&json!("forbidden"), &json!("m-1")), "{send_to}");
        assert!(frame["message"].as_str().unwrap().ends_with(&format!("send to \"{named}\"")), "{frame}");
        assert!(hub.posts().is_empty());
    }
}

#[tokio::test]
async fn a_sender_whose_token_has_expired_is_notified_and_then_disconnected() {
    let ended = granted(r#"["*"]"#, 1);
    for event in [&ended, &changed(&ended, &[SILENT])] {
        let hub = hub().await;
        let answer = hub.answer(event).await.unwrap();
        assert_eq!(answer, json!({ "statusCode": 200 }), "the frame has gone ahead");
        let [(told, frame)] = hub.posts().try_into().unwrap();
        assert_eq!((&frame["code"], &frame["id"]), (&json!("not_connected"), &json!("m-1")));
        assert_eq!((told.as_str(), hub.world.gateway.closings()), (ALICE, vec![ALICE.to_owned()]));
    }
}

#[tokio::test]
async fn a_connection_from_before_tokens_were_required_cannot_send() {
    let mut hub = hub().await;
    hub.handler.messenger.require_grant = true;
    let answer = hub.answer(event!("")).await.unwrap();
    assert_eq!(answer, json!({ "statusCode": 200 }), "the frame has gone ahead");
    let [(told, frame)] = hub.posts().try_into().unwrap();
    assert_eq!((&frame["code"], &frame["id"]), (&json!("not_connected"), &json!("m-1")));
    assert_eq!((told.as_str(), hub.world.gateway.closings()), (ALICE, vec![ALICE.to_owned()]));
}

#[tokio::test]
async fn where_tokens_are_required_a_connection_with_one_can_send() {
    let mut hub = hub().await;
    hub.handler.messenger.require_grant = true;
    assert_eq!(hub.frame(&granted(r#"["*"]"#, LATER)).await["delivered"], 2);
}

/// Otherwise a client that sends only malformed frames would keep its connection.
#[tokio::test]
async fn a_connection_whose_token_has_expired_is_closed_whatever_it_sends() {
    let ended = granted(r#"["*"]"#, 1);
    let mut no_json: Value = serde_json::from_str(&ended).unwrap();
    no_json["body"] = json!("{");
    let mut binary = no_json.clone();
    binary["isBase64Encoded"] = json!(true);
    for event in [no_json, binary] {
        let hub = hub().await;
        hub.answer(&event.to_string()).await.unwrap();
        let [(_, frame)] = hub.posts().try_into().unwrap();
        assert_eq!((&frame["code"], hub.world.gateway.closings().len()), (&json!("not_connected"), 1));
    }
}

#[tokio::test]
async fn a_sender_that_could_not_be_notified_still_gets_an_answer() {
    let hub = hub().await;
    hub.world.gateway.script(|_, _| Answer::Error(403, "ForbiddenException"));
    assert_eq!(hub.frame(&granted(r#"["*"]"#, 1)).await["code"], "not_connected");
    assert_eq!(hub.world.gateway.closings(), [ALICE]);
}

#[tokio::test]
async fn an_incomplete_grant_is_a_failure_and_delivers_nothing() {
    let hub = hub().await;
    let event = granted(r#"["*"]"#, LATER).replace("send_to", "sendTo");
    assert!(matches!(hub.answer(&event).await, Err(Failure::Event(_))));
    assert!(hub.posts().is_empty());
}

#[tokio::test]
async fn only_a_frames_event_is_accepted() {
    let of_type = |event_type: Value| {
        let mut event: Value = serde_json::from_str(event!("")).unwrap();
        event["requestContext"]["eventType"] = event_type;
        event.to_string()
    };
    for payload in [
        include_str!("../../../../events/publish.json"),
        r#"{"sessions":["bob"],"message":1,"requestContext":null}"#,
        r#"{"requestContext":{"eventType":"MESSAGE"},"body":"{\"sessions\":[\"bob\"],\"message\":1}"}"#,
        &of_type(json!("CONNECT")),
        &of_type(Value::Null),
        "[]",
    ] {
        let hub = hub().await;
        let failure = hub.answer(payload).await.expect_err(payload);
        assert!(matches!(failure, Failure::Event(_)), "{payload}: {failure}");
        assert!(hub.posts().is_empty());
    }
}
