//! A backend sends without a socket: it invokes publish.

use serde_json::{Value, json};

use crate::{
    client::Client,
    events::event,
    frames::{assert_delivery, assert_receipt},
    stack::{Stack, unique},
};

#[tokio::test]
async fn a_backend_sends_without_a_session_of_its_own_and_gets_the_receipt_as_the_result() {
    let stack = Stack::new().await;
    let publish = stack.name_of("publish").await;
    let mut bob = Client::new("bob").await;
    let nobody = unique("nobody");
    let request = json!({"sessions": [nobody, bob.session], "message": {"order": 7}, "id": "order-7"});

    let answer = stack.invoke(&publish, &request).await;
    assert_eq!(answer.function_error, None);
    let expected = [(&*nobody, [0, 0, 0]), (&bob.session, [1, 0, 0])];
    assert_receipt(&answer.payload, &json!("order-7"), &expected);
    assert_delivery(bob.receive().await, &bob.session, &json!("order-7"), &Value::Null, &json!({"order": 7}));

    let answer = stack.invoke(&publish, &json!({"sessions": [bob.session], "message": null})).await;
    assert_delivery(bob.receive().await, &bob.session, &answer.payload["id"], &Value::Null, &Value::Null);
}

#[tokio::test]
async fn a_backends_mistake_is_a_function_error_whose_type_is_the_code() {
    let stack = Stack::new().await;
    let publish = stack.name_of("publish").await;
    let bob = Client::new("bob").await;
    let to = &bob.session;
    let mut in_a_connections_name = event("send-message");
    in_a_connections_name["body"] = json!({"sessions": [to], "message": 1}).to_string().into();
    let crowd: Vec<String> = (0..101).map(|number| format!("{to}-{number}")).collect();
    for (request, code) in [
        (json!({"message": 1}), "bad_request"),
        (json!({"message": 1, "sessions": []}), "bad_request"),
        (json!({"message": 1, "sessions": [to, "white space"]}), "bad_request"),
        (json!({"sessions": [to]}), "bad_request"),
        (json!({"message": 1, "sessions": [to], "id": 7}), "bad_request"),
        (json!({"message": 1, "sessions": crowd}), "too_many_sessions"),
        (json!({"message": "x".repeat(32_768), "sessions": [to]}), "message_too_large"),
        (json!({}), "bad_request"),
        (json!([to]), "bad_request"),
        (json!("hello"), "bad_request"),
        (Value::Null, "bad_request"),
        (in_a_connections_name, "bad_request"),
        (json!({"Records": [{"body": "{}", "eventSource": "aws:sqs"}]}), "bad_request"),
    ] {
        let answer = stack.invoke(&publish, &request).await;
        assert!(answer.function_error.is_some(), "{request}: {}", answer.payload);
        assert_eq!(answer.payload["errorType"], code, "{request}: {}", answer.payload);
    }
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn send_message_and_deliver_take_no_backends_request() {
    let stack = Stack::new().await;
    let bob = Client::new("bob").await;
    let request = json!({"sessions": [bob.session], "message": 1});
    for route in ["send-message", "deliver"] {
        let answer = stack.invoke(&stack.name_of(route).await, &request).await;
        assert!(answer.function_error.is_some(), "{route}: {}", answer.payload);
    }
    bob.assert_heard_nothing().await;
}
