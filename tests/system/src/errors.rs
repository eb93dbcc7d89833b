//! Each error code, and that the hub goes on after it.

use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    client::Client,
    events::event,
    frames::assert_error,
    stack::{Stack, unique},
};

#[tokio::test]
async fn a_malformed_message_is_a_bad_request_and_is_not_delivered() {
    let (mut alice, bob) = (Client::new("alice").await, Client::new("bob").await);
    let to = &bob.session;
    for frame in [
        json!({"action": "sendMessage"}),
        json!({"action": "sendMessage", "message": 1}),
        json!({"action": "sendMessage", "message": 1, "sessions": null}),
        json!({"action": "sendMessage", "message": 1, "sessions": to}),
        json!({"action": "sendMessage", "message": 1, "sessions": {"0": to}}),
        json!({"action": "sendMessage", "message": 1, "sessions": []}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to, 7]}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to, null]}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to, ""]}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to, "white space"]}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to, "zoë"]}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to, "x".repeat(129)]}),
        json!({"action": "sendMessage", "sessions": [to]}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to], "id": ""}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to], "id": "x".repeat(129)}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to], "id": 7}),
        json!({"action": "sendMessage", "message": 1, "sessions": [to], "id": {}}),
    ] {
        assert_error(&alice.ask(frame.clone()).await, "bad_request");
    }
    bob.assert_heard_nothing().await;
    assert_eq!(alice.ask(json!({"action": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn an_error_names_the_frame_that_it_answers() {
    let mut alice = Client::new("alice").await;
    let answer =
        alice.ask(json!({"action": "sendMessage", "sessions": [], "message": 1, "id": "mine"})).await;
    assert_error(&answer, "bad_request");
    assert_eq!(answer["id"], "mine");
}

#[tokio::test]
async fn anything_but_a_known_action_is_an_unknown_action() {
    let mut alice = Client::new("alice").await;
    for frame in [
        r#"{"action":"fly"}"#,
        r#"{"action":"sendmessage"}"#,
        r#"{"action":"$default"}"#,
        r#"{"action":"$connect"}"#,
        r#"{"action":"$disconnect"}"#,
        r#"{"action":null}"#,
        r#"{"action":7}"#,
        r#"{"message":"hello"}"#,
        "{}",
        r#"["sendMessage"]"#,
        r#""sendMessage""#,
        "7",
        "hello",
        r#"{"action":"sendMessage""#,
    ] {
        alice.send_text(frame).await;
        assert_error(&alice.receive().await, "unknown_action");
    }
    assert_eq!(alice.ask(json!({"action": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_binary_frame_ends_the_connection() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let id = stack.connection_id_of(&alice).await;
    alice.send_raw(Message::binary(vec![0, 159, 146, 150])).await;
    match alice.receive_raw().await {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Unsupported),
        other => panic!("{other:?}"),
    }
    stack.wait_until_row_is_gone(&id).await;
}

#[tokio::test]
async fn a_sender_without_a_row_is_not_connected() {
    let stack = Stack::new().await;
    let (mut alice, bob) = (Client::new("alice").await, Client::new("bob").await);
    stack.delete_row(&stack.connection_id_of(&alice).await).await;

    let answer = alice.publish(&[&bob.session], json!("hello")).await;
    assert_error(&answer, "not_connected");
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn a_failure_of_the_hubs_own_is_internal_and_tells_nothing_about_it() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let mut from_socket = event("send-message");
    from_socket["requestContext"]["connectionId"] = json!(stack.connection_id_of(&alice).await);
    let missing_table = unique("missing-table");

    stack
        .with_copy("publish", "publish", &[("TABLE_NAME", &missing_table)], async |copy| {
            let answer = stack.invoke(copy, &event("publish")).await;
            assert!(answer.function_error.is_some(), "{}", answer.payload);
            assert_eq!(answer.payload["errorType"], "internal");
            assert_tells_nothing(&answer.payload.to_string(), &missing_table);
            stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
        })
        .await;
    stack
        .with_copy("send-message", "send-message", &[("TABLE_NAME", &missing_table)], async |copy| {
            let answer = stack.invoke(copy, &from_socket).await;
            assert!(answer.function_error.is_some(), "Lambda should count an error: {}", answer.payload);
            assert_tells_nothing(&answer.payload.to_string(), &missing_table);
            let frame = alice.receive().await;
            assert_tells_nothing(&assert_error(&frame, "internal"), &missing_table);

            // Whoever is called at night finds the cause in the log: the role allows the real table only.
            let lines = stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            assert!(lines.iter().all(|line| line.contains(r#""level":"ERROR""#)), "{lines:?}");
        })
        .await;
    assert_eq!(alice.ask(json!({"action": "ping"})).await["type"], "pong");
}

fn assert_tells_nothing(answer: &str, table: &str) {
    for internal in
        [table, "arn:", "AccessDenied", "ResourceNotFound", "not authorized", "ynamo", "TABLE_NAME"]
    {
        assert!(!answer.contains(internal), "{internal} in {answer}");
    }
}
