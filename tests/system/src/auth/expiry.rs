//! What becomes of a connection when its token ends.

use serde_json::json;

use super::client;
use crate::{
    client::in_time,
    frames::{assert_error, assert_receipt, plain, receipt},
    stack::{Stack, now_ms, unique},
};

/// Seconds that a token lives which ends during a test: enough to connect on a busy machine.
const SHORT: &str = "8";

#[tokio::test]
async fn a_subscription_ends_with_the_token() {
    let stack = Stack::new().await;
    let room = unique("room");
    let mut alice = client(&unique("alice"), &["--send-to", "*"]).await;
    let mut bob = client(&unique("bob"), &["--subscribe-to", "*", "--expires-in", SHORT]).await;
    let answer = bob.ask(json!({"action": "subscribe", "sessions": [room]})).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
    let hello = bob.ask(json!({"action": "hello"})).await;
    let id = stack.connection_id_of(&bob).await;
    in_time("the end of the token", async {
        while alice.publish(&[&room], json!(1)).await["delivered"] != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await;
    assert!(now_ms() / 1000 >= hello["expires_at"].as_u64().expect("a time").into(), "{hello}");
    bob.wait_for_end().await;
    stack.wait_until_nothing_is_left(&id).await;
}

#[tokio::test]
async fn a_connection_whose_token_has_ended_is_no_recipient_and_is_closed() {
    let stack = Stack::new().await;
    let mut alice = client(&unique("alice"), &["--send-to", "*"]).await;
    let before = now_ms() / 1000;
    let bob = client(&unique("bob"), &["--expires-in", SHORT]).await;
    let row = stack.row_of(&bob).await;
    let expires_at: u128 =
        row["expires_at"].as_n().expect("a time is a number").parse().expect("a time is a number");
    let life: u128 = SHORT.parse().expect("a number");
    assert!((before + life..=now_ms() / 1000 + life).contains(&expires_at), "{row:?}");

    let session = bob.session.clone();
    let first = alice.publish(&[&session], json!("in time")).await;
    assert_receipt(&first, &first["id"], &[(&session, [1, 0, 0])]);
    in_time("the end of the token", async {
        loop {
            let answer = alice.publish(&[&session], json!("too late")).await;
            if plain(&answer) == receipt(&answer["id"], &[(&session, [0, 0, 0])]) {
                break;
            }
            assert_receipt(&answer, &answer["id"], &[(&session, [1, 0, 0])]);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await;
    assert!(now_ms() / 1000 >= expires_at, "the connection ended before its token");
    bob.wait_for_end().await;
    let id = row["connection_id"].as_s().expect("an id is text");
    stack.wait_until_row_is_gone(id).await;
    alice.assert_heard_nothing().await;
}

#[tokio::test]
async fn a_sender_whose_token_has_ended_gets_an_error_and_is_disconnected() {
    let stack = Stack::new().await;
    let bob = client(&unique("bob"), &[]).await;
    let mut alice = client(&unique("alice"), &["--send-to", "*", "--expires-in", SHORT]).await;
    let id = stack.connection_id_of(&alice).await;
    let frame = in_time("the end of the token", async {
        loop {
            // To nobody, so that bob hears nothing of the waiting.
            let answer = alice.publish(&[&unique("nobody")], json!(1)).await;
            if answer["type"] != "receipt" {
                break answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await;
    assert_error(&frame, "not_connected");
    alice.wait_for_end().await;
    stack.wait_until_row_is_gone(&id).await;
    bob.assert_heard_nothing().await;
}
