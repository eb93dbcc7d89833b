//! A function may do what its own role names, and nothing else: each executable is tried under another one's role.

use serde_json::{Value, json};

use crate::{
    client::Client,
    events::event,
    stack::{Answer, Stack, unique},
};

fn for_connection(name: &str, connection_id: &str) -> Value {
    let mut event = event(name);
    event["requestContext"]["connectionId"] = json!(connection_id);
    event
}

fn assert_failed(answer: &Answer) {
    assert!(answer.function_error.is_some(), "should have been denied: {}", answer.payload);
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
    for role in ["disconnect", "send-message"] {
        let connection = unique("connection");
        stack
            .with_copy("connect", role, &[], async |copy| {
                assert_failed(&stack.invoke(copy, &for_connection("connect", &connection)).await);
                stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
                assert!(
                    stack.row(&connection).await.is_none(),
                    "the role of {role} should not be able to store"
                );
            })
            .await;
    }
}

#[tokio::test]
async fn connect_may_not_delete() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let connection = stack.connection_id_of(&alice).await;
    stack
        .with_copy("disconnect", "connect", &[], async |copy| {
            assert_failed(&stack.invoke(copy, &for_connection("disconnect", &connection)).await);
            stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            assert!(
                stack.row(&connection).await.is_some(),
                "the role of connect should not be able to delete"
            );
        })
        .await;
}

#[tokio::test]
async fn only_those_that_send_may_read_the_index() {
    let stack = Stack::new().await;
    let bob = Client::new("bob").await;
    for role in ["connect", "disconnect"] {
        stack
            .with_copy("publish", role, &[], async |copy| {
                assert_failed(
                    &stack.invoke(copy, &json!({"sessions": [bob.session], "message": role})).await,
                );
                stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            })
            .await;
    }
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn publish_may_not_read_whose_a_connection_is() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let connection = stack.connection_id_of(&alice).await;
    stack
        .with_copy("send-message", "publish", &[], async |copy| {
            assert_failed(&stack.invoke(copy, &for_connection("send-message", &connection)).await);
            stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
        })
        .await;
}

#[tokio::test]
async fn only_census_may_count_and_it_may_do_nothing_else() {
    let stack = Stack::new().await;
    for role in ["connect", "disconnect", "publish", "send-message"] {
        stack
            .with_copy("census", role, &[], async |copy| {
                assert_failed(&stack.invoke(copy, &event("census")).await);
                stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            })
            .await;
    }
    for (route, request) in [
        ("connect", for_connection("connect", &unique("connection"))),
        ("disconnect", for_connection("disconnect", &unique("connection"))),
        ("publish", json!({"sessions": [unique("session")], "message": 1})),
    ] {
        stack
            .with_copy(route, "census", &[], async |copy| {
                assert_failed(&stack.invoke(copy, &request).await);
                stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            })
            .await;
    }
}
