//! A backend publishes without a socket: it invokes send-message itself.

use serde_json::{Value, json};

use crate::{
    client::Client,
    frames::{assert_delivery, assert_error, receipt},
    stack::{Stack, unique},
};

#[tokio::test]
async fn a_backend_publishes_from_nobody_and_gets_the_receipt_as_the_result() {
    let stack = Stack::new().await;
    let send_message = stack.name_of("send-message").await;
    let mut bob = Client::new("bob").await;
    let nobody = unique("nobody");
    let event = json!({"sessions": [nobody, bob.session], "message": {"order": 7}, "id": "order-7"});

    let answer = stack.invoke(&send_message, &event).await;
    assert_eq!(answer.function_error, None);
    let expected = [(&*nobody, [0, 0, 0]), (&bob.session, [1, 0, 0])];
    assert_eq!(answer.payload, receipt(&json!("order-7"), &expected));
    assert_delivery(bob.receive().await, &json!("order-7"), &Value::Null, &json!({"order": 7}));

    let answer = stack.invoke(&send_message, &json!({"sessions": [bob.session], "message": null})).await;
    assert_delivery(bob.receive().await, &answer.payload["id"], &Value::Null, &Value::Null);
}

#[tokio::test]
async fn a_backends_mistake_is_an_error_frame_as_the_result_and_not_a_failed_function() {
    let stack = Stack::new().await;
    let send_message = stack.name_of("send-message").await;
    let bob = Client::new("bob").await;
    let to = &bob.session;
    let crowd: Vec<String> = (0..101).map(|number| format!("{to}-{number}")).collect();
    for (event, code) in [
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
    ] {
        let answer = stack.invoke(&send_message, &event).await;
        assert_eq!(answer.function_error, None, "{event}: {}", answer.payload);
        assert_error(&answer.payload, code);
    }
    bob.assert_heard_nothing().await;
}
