//! What the functions log, and what they keep to themselves.

use serde_json::{Value, json};

use crate::{
    client::{Client, handshake},
    events::event,
    stack::{Stack, unique},
};

const FUNCTIONS: [&str; 7] =
    ["connect", "deliver", "disconnect", "history", "membership", "publish", "send-message"];

async fn assert_nowhere(stack: &Stack, secret: &str) {
    for function in FUNCTIONS {
        assert_eq!(stack.log_lines(&stack.name_of(function).await, secret).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn each_function_logs_what_it_did_in_its_own_group_and_no_message() {
    let stack = Stack::new().await;
    let secret = unique("secret");
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let connection = stack.connection_id_of(&alice).await;

    alice.publish(&[&bob.session, &unique("nobody")], json!({"password": secret})).await;
    assert_eq!(bob.receive().await["message"]["password"], secret);
    alice.ask(json!({"action": "sendMessage", "sessions": [], "message": secret})).await;
    alice.ask(json!({"action": "sendMessage", "sessions": secret, "message": secret})).await;
    alice.ask(json!({"action": "subscribe", "sessions": [secret]})).await;
    alice.leave().await;

    for (function, count, message) in [
        ("connect", 1, "connected"),
        ("send-message", 3, "sent"),
        ("membership", 1, "subscribed"),
        ("disconnect", 1, "disconnected"),
    ] {
        let lines = stack.wait_for_log_lines(&stack.name_of(function).await, &connection, count).await;
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
            })
            .collect();
        assert!(lines.iter().any(|line| line["level"] == "INFO" && line["message"] == message), "{lines:?}");
    }
    assert_nowhere(&stack, &secret).await;
}

#[tokio::test]
async fn a_chunk_leaves_a_line_in_the_log_of_deliver_and_no_message() {
    let stack = Stack::new().await;
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let (secret, id) = (unique("secret"), unique("message"));
    let request =
        json!({"sessions": [alice.session, bob.session], "message": {"password": secret}, "id": id});
    // It keeps one of the two recipients for itself.
    stack
        .with_copy("publish", "publish", &[("FANOUT_SPLIT", "1")], async |copy| {
            assert_eq!(stack.invoke(copy, &request).await.payload["delivered"], 2);
            assert_eq!(stack.wait_for_log_lines(copy, &id, 1).await.len(), 1);
            assert_eq!(stack.log_lines(copy, &secret).await, Vec::<String>::new());
        })
        .await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.receive().await["message"]["password"], secret);
    }
    let deliver = stack.name_of("deliver").await;
    let lines = stack.wait_for_log_lines(&deliver, &id, 1).await;
    let line: Value = serde_json::from_str(&lines[0]).expect("a line is JSON");
    assert_eq!((&line["level"], &line["message"]), (&json!("INFO"), &json!("delivered")), "{line}");
    for (count, expected) in [("connections", 1), ("delivered", 1), ("gone", 0), ("failed", 0), ("left", 0)] {
        assert_eq!(line[count], expected, "{count} in {line}");
    }

    // What is no chunk is not quoted either, nor is one of another release.
    let chunk = json!({
        "v": 1, "session": bob.session, "kind": "connection", "frame": secret, "sender": null,
        "connections": [[secret, null, null]], "budget_ms": 1_000, "rate": 0,
    });
    let changes = [("v", json!(2)), ("v", json!(secret)), ("kind", json!(secret)), ("rate", json!(secret))];
    for (key, value) in changes {
        let mut chunk = chunk.clone();
        chunk[key] = value;
        let answer = stack.invoke(&deliver, &chunk).await;
        assert!(answer.function_error.is_some(), "{chunk}: {}", answer.payload);
        assert!(!answer.payload.to_string().contains(&secret), "{}", answer.payload);
    }
    assert_nowhere(&stack, &secret).await;
}

#[tokio::test]
async fn a_refused_session_id_is_not_logged() {
    let stack = Stack::new().await;
    let connect = stack.name_of("connect").await;
    let (secret, connection) = (unique("secret"), unique("connection"));
    assert!(handshake(&format!("?session_id={secret}%20")).await.is_err());
    // The same once more with a connection id that the test knows, to see that the line has arrived.
    let mut refused = event("connect-malformed-session");
    refused["requestContext"]["connectionId"] = json!(connection);
    refused["queryStringParameters"]["session_id"] = json!(format!("{secret} "));
    refused["multiValueQueryStringParameters"]["session_id"] = json!([format!("{secret} ")]);
    assert_eq!(stack.invoke(&connect, &refused).await.payload["statusCode"], 400);

    stack.wait_for_log_lines(&connect, &connection, 1).await;
    assert_nowhere(&stack, &secret).await;
}
