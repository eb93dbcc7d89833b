//! A function may do what its own role names, and nothing else: each executable is tried under another one's role.

use serde_json::{Value, json};

use crate::{
    client::Client,
    events::event,
    frames::{assert_error, assert_receipt},
    stack::{Stack, unique},
};

fn for_connection(name: &str, connection_id: &str) -> Value {
    let mut event = event(name);
    event["requestContext"]["connectionId"] = json!(connection_id);
    event
}

/// The code of `function` cannot do `event` under the role of `role_of`, and its log says for want of which `action`. It is
/// that of a hub without history and subscriptions, whose tables it would not come past.
async fn assert_denied(stack: &Stack, function: &str, role_of: &str, event: &Value, action: &str) {
    let changes = [("MESSAGES_TABLE", ""), ("SUBSCRIPTIONS_TABLE", "")];
    stack
        .with_copy(function, role_of, &changes, async |copy| {
            let answer = stack.invoke(copy, event).await;
            assert!(answer.function_error.is_some(), "should have been denied: {}", answer.payload);
            let lines = stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            assert!(lines.iter().any(|line| line.contains(action)), "{role_of}: {lines:?}");
        })
        .await;
}

#[tokio::test]
async fn a_copy_under_the_functions_own_role_works() {
    let stack = Stack::new().await;
    let connection = unique("connection");
    stack
        .with_copy("connect", "connect", &[], async |copy| {
            let answer = stack.invoke(copy, &for_connection("connect", &connection)).await;
            assert_eq!(answer.payload["statusCode"], 200, "{}", answer.payload);
            assert!(stack.row(&connection).await.is_some(), "the copy should have stored the row");
        })
        .await;
    stack.delete_row(&connection).await;
}

#[tokio::test]
async fn only_connect_may_store() {
    let stack = Stack::new().await;
    for role in ["deliver", "disconnect", "membership", "send-message"] {
        let connection = unique("connection");
        assert_denied(&stack, "connect", role, &for_connection("connect", &connection), "dynamodb:PutItem")
            .await;
        assert!(stack.row(&connection).await.is_none(), "the role of {role} should not be able to store");
    }
}

#[tokio::test]
async fn neither_connect_nor_membership_may_delete() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let connection = stack.connection_id_of(&alice).await;
    for role in ["connect", "membership"] {
        assert_denied(
            &stack,
            "disconnect",
            role,
            &for_connection("disconnect", &connection),
            "dynamodb:DeleteItem",
        )
        .await;
        assert!(stack.row(&connection).await.is_some(), "the role of {role} should not be able to delete");
    }
}

#[tokio::test]
async fn only_those_that_send_may_read_the_index() {
    let stack = Stack::new().await;
    let bob = Client::new("bob").await;
    for role in ["connect", "deliver", "disconnect", "membership"] {
        assert_denied(
            &stack,
            "publish",
            role,
            &json!({"sessions": [bob.session], "message": role}),
            "dynamodb:Query",
        )
        .await;
    }
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn neither_publish_nor_deliver_may_read_the_session_of_a_connection() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let connection = stack.connection_id_of(&alice).await;
    for role in ["publish", "deliver"] {
        assert_denied(
            &stack,
            "send-message",
            role,
            &for_connection("send-message", &connection),
            "dynamodb:GetItem",
        )
        .await;
    }
}

#[tokio::test]
async fn only_census_may_count_and_it_may_do_nothing_else() {
    let stack = Stack::new().await;
    for role in ["connect", "deliver", "disconnect", "membership", "publish", "send-message"] {
        assert_denied(&stack, "census", role, &event("census"), "dynamodb:Scan").await;
    }
    for (route, request, action) in [
        ("connect", for_connection("connect", &unique("connection")), "dynamodb:PutItem"),
        ("disconnect", for_connection("disconnect", &unique("connection")), "dynamodb:DeleteItem"),
        ("publish", json!({"sessions": [unique("session")], "message": 1}), "dynamodb:Query"),
    ] {
        assert_denied(&stack, route, "census", &request, action).await;
    }
}

#[tokio::test]
async fn publish_and_send_message_may_invoke_the_alias_of_deliver_and_nothing_else() {
    let stack = Stack::new().await;
    let session = unique("bob");
    let mut bobs = Vec::new();
    for _ in 0..3 {
        bobs.push(Client::in_session(&session).await);
    }
    let deliver_log = stack.name_of("deliver").await;
    let alias = stack.variable("publish", "DELIVER_FUNCTION").await;
    let (deliver, _) = alias.rsplit_once(':').expect("the alias of a function");
    let others =
        [deliver, &alias.replace("-deliver:", "-disconnect:"), &format!("{deliver}-of-another-hub:live")];
    for role in ["publish", "send-message"] {
        for function in others.into_iter().chain([&*alias]) {
            // It keeps one recipient for itself, and the two others are a chunk each.
            let changes = [("FANOUT_SPLIT", "1"), ("DELIVER_FUNCTION", function)];
            stack
                .with_copy("publish", role, &changes, async |copy| {
                    let id = unique("message");
                    let request = json!({"sessions": [session], "message": function, "id": id});
                    let answer = stack.invoke(copy, &request).await.payload;
                    assert_receipt(&answer, &json!(id), &[(&session, [3, 0, 0])]);
                    for bob in &mut bobs {
                        assert_eq!(bob.receive().await["id"], id);
                    }
                    if function == alias {
                        stack.wait_for_log_lines(&deliver_log, &id, 2).await;
                        let failed = stack.log_lines(copy, "chunks failed").await;
                        assert_eq!(failed, Vec::<String>::new());
                        return;
                    }
                    let failed = stack.wait_for_log_lines(copy, "chunks failed", 1).await;
                    for part in ["403 Forbidden (AccessDeniedException)", r#""count":2"#] {
                        assert!(failed[0].contains(part), "{function}: {failed:?}");
                    }
                    assert_eq!(stack.log_lines(&deliver_log, &id).await, Vec::<String>::new(), "{function}");
                })
                .await;
        }
    }
}

#[tokio::test]
async fn a_client_reaches_deliver_by_no_action() {
    let stack = Stack::new().await;
    let (mut alice, bob) = (Client::new("alice").await, Client::new("bob").await);
    let connection = stack.connection_id_of(&bob).await;
    let chunk = json!({
        "v": 1, "session": bob.session, "kind": "connection", "frame": "forged", "sender": null,
        "connections": [[connection, null, null]], "budget_ms": 1_000, "rate": 0,
    });
    for action in [json!(null), json!("deliver"), json!("Deliver"), json!("$deliver")] {
        let mut frame = chunk.clone();
        frame["action"] = action;
        assert_error(&alice.ask(frame).await, "unknown_action");
    }
    // Nor does it by way of what it reaches.
    let mut frame = chunk.clone();
    frame["action"] = json!("sendMessage");
    assert_error(&alice.ask(frame).await, "bad_request");
    let answer = stack.invoke(&stack.name_of("publish").await, &chunk).await;
    assert_eq!(answer.payload["errorType"], "bad_request", "{}", answer.payload);
    bob.assert_heard_nothing().await;
}
