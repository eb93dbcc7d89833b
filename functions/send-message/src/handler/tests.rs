//! Each sample event, on the SDK's real clients with scripted answers.

use std::sync::{Arc, Mutex};

use aws_sdk_apigatewaymanagement::{
    self as management,
    operation::{
        delete_connection::DeleteConnectionOutput,
        post_to_connection::{PostToConnectionError, PostToConnectionOutput},
    },
};
use aws_sdk_dynamodb::{
    self as dynamodb,
    operation::{
        get_item::GetItemOutput,
        query::{QueryError, QueryOutput},
    },
    types::AttributeValue,
};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use serde_json::{Value, json};

use super::*;

/// The sender of the samples is Alice, whose row is there; `bob` has one connection.
struct Hub {
    handler: Handler,
    /// (connection, frame) in the order posted; a closed connection has the frame `null`.
    posts: Arc<Mutex<Vec<(String, Value)>>>,
}

fn hub(index_is_down: bool) -> Hub {
    hub_that_posts(index_is_down, true)
}

fn hub_that_posts(index_is_down: bool, posts_succeed: bool) -> Hub {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let get = mock!(dynamodb::Client::get_item).then_compute_output(move |input| {
        assert_eq!(input.consistent_read(), Some(true), "a $connect may be a moment old");
        let known = input.key().unwrap()["connection_id"] == s("Q3xWdcTzDoECHtA=");
        let row = [
            ("session_id".to_owned(), s("alice")),
            ("expires_at".to_owned(), AttributeValue::N("4102453800".into())),
        ];
        GetItemOutput::builder().set_item(known.then(|| row.into())).build()
    });
    let query = mock!(dynamodb::Client::query).then_compute_response(move |input| {
        if index_is_down {
            return MockResponse::Error(QueryError::unhandled("10.0.0.7 is down"));
        }
        let session = &input.expression_attribute_values().unwrap()[":session"];
        assert_ne!(session, &s("bug"), "this one panics on purpose");
        let bob = session == &s("bob");
        let row = [("connection_id".to_owned(), s("bobs"))];
        MockResponse::Output(QueryOutput::builder().set_items(bob.then(|| vec![row.into()])).build())
    });
    let table = mock_client!(dynamodb, RuleMode::MatchAny, [&get, &query]);

    let posts = Arc::new(Mutex::new(Vec::new()));
    let seen = posts.clone();
    let post = mock!(management::Client::post_to_connection).then_compute_response(move |input| {
        if !posts_succeed {
            return MockResponse::Error(PostToConnectionError::unhandled("broken"));
        }
        let frame = serde_json::from_slice(input.data().unwrap().as_ref()).unwrap();
        seen.lock().unwrap().push((input.connection_id().unwrap().to_owned(), frame));
        MockResponse::Output(PostToConnectionOutput::builder().build())
    });
    let seen = posts.clone();
    let close = mock!(management::Client::delete_connection).then_compute_output(move |input| {
        seen.lock().unwrap().push((input.connection_id().unwrap().to_owned(), Value::Null));
        DeleteConnectionOutput::builder().build()
    });
    let gateway = mock_client!(management, RuleMode::MatchAny, [&post, &close]);

    let variables = [("TABLE_NAME", "connections"), ("WEBSOCKET_ENDPOINT", "https://example.com/live")];
    let config = Config::from_lookup(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
    })
    .unwrap();
    let handler = Handler {
        registry: Registry::from_conf(table.config().to_builder(), &config),
        gateway: Gateway::from_conf(gateway.config().to_builder(), &config),
        concurrency: config.fanout_concurrency,
        max_message_bytes: config.max_message_bytes,
        require_grant: false,
    };
    Hub { handler, posts }
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

    /// The frame that a socket's client would read.
    async fn frame(&self, event: &str) -> Value {
        let answer = self.answer(event).await.unwrap();
        assert_eq!(answer["statusCode"], 200);
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    fn posts(&self) -> Vec<(String, Value)> {
        self.posts.lock().unwrap().clone()
    }
}

macro_rules! event {
    ($name:literal) => {
        include_str!(concat!("../../../../events/send-message", $name, ".json"))
    };
}

#[tokio::test]
async fn a_message_is_delivered_in_its_senders_name_and_a_receipt_returned() {
    let hub = hub(false);
    let none = json!({ "session": "alice", "delivered": 0, "gone": 0, "failed": 0 });
    let one = json!({ "session": "bob", "delivered": 1, "gone": 0, "failed": 0 });
    assert_eq!(
        hub.frame(event!("")).await,
        json!({ "type": "receipt", "id": "m-1", "delivered": 1, "gone": 0, "failed": 0, "sessions": [none, one] })
    );
    let posts = hub.posts();
    let (to, frame) = &posts[0];
    let expected = json!({
        "type": "message", "id": "m-1", "from": "alice", "message": { "text": "Hello, hub" },
        "sent_at": frame["sent_at"],
    });
    assert_eq!((posts.len(), to.as_str(), frame), (1, "bobs", &expected));
}

#[tokio::test]
async fn a_backend_gets_the_bare_receipt_and_sends_in_nobodys_name() {
    let hub = hub(false);
    let receipt = hub.answer(r#"{"sessions":["bob"],"message":1}"#).await.unwrap();
    assert_eq!(
        (&receipt["type"], &receipt["id"], &receipt["delivered"]),
        (&json!("receipt"), &json!("request-1"), &json!(1))
    );
    assert_eq!(hub.posts()[0].1["from"], Value::Null);
}

#[tokio::test]
async fn each_fault_of_the_caller_is_an_error_frame_and_nothing_is_delivered() {
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
        let hub = hub(false);
        let frame = hub.frame(event).await;
        assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!(code)), "{frame}");
        assert!(hub.posts().is_empty());
    }
}

#[tokio::test]
async fn a_backends_fault_is_its_result_and_no_failure() {
    for payload in [event!("-direct-bad"), "[\"a\"]", "{}", "null", "\"text\""] {
        let answer = hub(false).answer(payload).await.unwrap();
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_request")), "{payload}");
    }
}

#[tokio::test]
async fn a_binary_frame_is_refused() {
    let event = event!("").replace("\"isBase64Encoded\": false", "\"isBase64Encoded\": true");
    assert_eq!(hub(false).frame(&event).await["code"], "bad_request");
}

#[tokio::test]
async fn a_failure_of_ours_is_an_error_and_the_sender_is_told_no_internals() {
    let hub = hub(true);
    let failure = hub.answer(event!("")).await.unwrap_err();
    assert!(matches!(failure, Failure::Table { .. }));
    let expected = json!({ "type": "error", "code": "internal", "message": PUBLIC_TEXT, "id": "m-1" });
    assert_eq!(hub.posts(), [("Q3xWdcTzDoECHtA=".to_owned(), expected)]);
}

#[tokio::test]
async fn a_panic_is_told_to_the_sender_like_any_failure_of_ours() {
    let hub = hub(false);
    let failure = hub.answer(&event!("").replace("bob", "bug")).await.unwrap_err();
    assert!(matches!(failure, Failure::Panic));
    let expected = json!({ "type": "error", "code": "internal", "message": PUBLIC_TEXT, "id": "m-1" });
    assert_eq!(hub.posts(), [("Q3xWdcTzDoECHtA=".to_owned(), expected)]);
}

/// The sample message with what the hub's authorizer adds to it.
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
        let hub = hub(false);
        assert_eq!(hub.frame(&granted(send_to, LATER)).await["delivered"], 1);
        assert_eq!(hub.posts()[0].1["from"], "alice");
    }
}

#[tokio::test]
async fn a_session_that_the_token_does_not_cover_is_forbidden_and_nobody_hears_of_it() {
    for (send_to, named) in
        [(r#"["bob"]"#, "alice"), (r#"["a*"]"#, "bob"), (r#"["A*","B*"]"#, "alice"), ("[]", "alice")]
    {
        let hub = hub(false);
        let frame = hub.frame(&granted(send_to, LATER)).await;
        assert_eq!((&frame["code"], &frame["id"]), (&json!("forbidden"), &json!("m-1")), "{send_to}");
        assert!(frame["message"].as_str().unwrap().ends_with(&format!("send to {named}")), "{frame}");
        assert!(hub.posts().is_empty());
    }
}

#[tokio::test]
async fn a_sender_whose_token_has_ended_is_told_so_and_then_disconnected() {
    let hub = hub(false);
    let answer = hub.answer(&granted(r#"["*"]"#, 1)).await.unwrap();
    assert_eq!(answer, json!({ "statusCode": 200 }), "the frame has gone ahead");
    let [(told, frame), closed] = hub.posts().try_into().unwrap();
    assert_eq!((&frame["code"], &frame["id"]), (&json!("not_connected"), &json!("m-1")));
    assert_eq!((told.as_str(), closed), ("Q3xWdcTzDoECHtA=", ("Q3xWdcTzDoECHtA=".to_owned(), Value::Null)));
}

#[tokio::test]
async fn a_socket_that_was_opened_before_tokens_were_asked_for_cannot_send_afterwards() {
    let mut hub = hub(false);
    hub.handler.require_grant = true;
    let answer = hub.answer(event!("")).await.unwrap();
    assert_eq!(answer, json!({ "statusCode": 200 }), "the frame has gone ahead");
    let [(told, frame), closed] = hub.posts().try_into().unwrap();
    assert_eq!((&frame["code"], &frame["id"]), (&json!("not_connected"), &json!("m-1")));
    assert_eq!((told.as_str(), closed), ("Q3xWdcTzDoECHtA=", ("Q3xWdcTzDoECHtA=".to_owned(), Value::Null)));
}

#[tokio::test]
async fn where_tokens_are_asked_for_a_token_and_a_backend_may_send() {
    for (event, delivered) in [(granted(r#"["*"]"#, LATER), 1), (event!("-direct").to_owned(), 1)] {
        let mut hub = hub(false);
        hub.handler.require_grant = true;
        let answer = hub.answer(&event).await.unwrap();
        let receipt =
            answer["body"].as_str().map_or(answer.clone(), |body| serde_json::from_str(body).unwrap());
        assert_eq!(
            (&receipt["type"], &receipt["delivered"]),
            (&json!("receipt"), &json!(delivered)),
            "{receipt}"
        );
    }
}

/// Else who sends nothing but nonsense would keep its connection.
#[tokio::test]
async fn a_connection_whose_token_has_ended_is_closed_whatever_it_sends() {
    let ended = granted(r#"["*"]"#, 1);
    let mut no_json: Value = serde_json::from_str(&ended).unwrap();
    no_json["body"] = json!("{");
    let mut binary = no_json.clone();
    binary["isBase64Encoded"] = json!(true);
    for event in [no_json, binary] {
        let hub = hub(false);
        hub.answer(&event.to_string()).await.unwrap();
        let [(_, frame), (_, closed)] = hub.posts().try_into().unwrap();
        assert_eq!((&frame["code"], closed), (&json!("not_connected"), Value::Null));
    }
}

#[tokio::test]
async fn a_sender_who_could_not_be_told_is_answered_all_the_same() {
    let hub = hub_that_posts(false, false);
    assert_eq!(hub.frame(&granted(r#"["*"]"#, 1)).await["code"], "not_connected");
    assert_eq!(hub.posts().len(), 1, "closed");
}

#[tokio::test]
async fn half_a_grant_is_a_failure_and_delivers_nothing() {
    let hub = hub(false);
    let event = granted(r#"["*"]"#, LATER).replace("send_to", "sendTo");
    assert!(matches!(hub.answer(&event).await, Err(Failure::Event(_))));
    assert!(hub.posts().is_empty());
}
