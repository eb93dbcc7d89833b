//! A function may do what its own role names, and nothing else: each executable is tried under another one's role.

use serde_json::{Value, json};

use crate::{
    client::Client,
    events::event,
    stack::{Stack, unique},
};

fn for_connection(name: &str, connection_id: &str) -> Value {
    let mut event = event(name);
    event["requestContext"]["connectionId"] = json!(connection_id);
    event
}

/// The code of `function` cannot do `event` under the role of `role_of`, and its log says why.
async fn assert_denied(stack: &Stack, function: &str, role_of: &str, event: &Value) {
    stack
        .with_copy(function, role_of, &[], async |copy| {
            let answer = stack.invoke(copy, event).await;
            assert!(answer.function_error.is_some(), "should have been denied: {}", answer.payload);
            stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
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
    for role in ["disconnect", "membership", "send-message"] {
        let connection = unique("connection");
        assert_denied(&stack, "connect", role, &for_connection("connect", &connection)).await;
        assert!(stack.row(&connection).await.is_none(), "the role of {role} should not be able to store");
    }
}

#[tokio::test]
async fn neither_connect_nor_membership_may_delete() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let connection = stack.connection_id_of(&alice).await;
    for role in ["connect", "membership"] {
        assert_denied(&stack, "disconnect", role, &for_connection("disconnect", &connection)).await;
        assert!(stack.row(&connection).await.is_some(), "the role of {role} should not be able to delete");
    }
}

#[tokio::test]
async fn only_those_that_send_may_read_the_index() {
    let stack = Stack::new().await;
    let bob = Client::new("bob").await;
    for role in ["connect", "disconnect", "membership"] {
        assert_denied(&stack, "publish", role, &json!({"sessions": [bob.session], "message": role})).await;
    }
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn publish_may_not_read_whose_a_connection_is() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let connection = stack.connection_id_of(&alice).await;
    assert_denied(&stack, "send-message", "publish", &for_connection("send-message", &connection)).await;
}

#[tokio::test]
async fn only_census_may_count_and_it_may_do_nothing_else() {
    let stack = Stack::new().await;
    for role in ["connect", "disconnect", "membership", "publish", "send-message"] {
        assert_denied(&stack, "census", role, &event("census")).await;
    }
    for (route, request) in [
        ("connect", for_connection("connect", &unique("connection"))),
        ("disconnect", for_connection("disconnect", &unique("connection"))),
        ("publish", json!({"sessions": [unique("session")], "message": 1})),
    ] {
        assert_denied(&stack, route, "census", &request).await;
    }
}
