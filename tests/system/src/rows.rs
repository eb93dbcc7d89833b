//! Rows of the table that do not tell the truth about their sockets.

use serde_json::json;

use crate::{
    client::Client,
    frames::assert_receipt,
    stack::{Row, Stack, now_ms, number, text, unique},
};

/// A row for a socket that does not exist, as if stored so many seconds ago.
fn orphan(session: &str, age_seconds: u128) -> (String, Row) {
    let id = unique("no-socket");
    let connected_at = now_ms() - age_seconds * 1000;
    let row = Row::from([
        ("connection_id".to_owned(), text(&id)),
        ("session_id".to_owned(), text(session)),
        ("connected_at".to_owned(), number(connected_at)),
        ("expires_at".to_owned(), number(connected_at / 1000 + 9000)),
    ]);
    (id, row)
}

#[tokio::test]
async fn a_row_without_a_socket_counts_as_gone_and_only_an_old_one_is_deleted() {
    let stack = Stack::new().await;
    let (mut alice, bob) = (Client::new("alice").await, Client::new("bob").await);
    let (stale, fresh) = (unique("stale"), unique("fresh"));
    let (stale_id, row) = orphan(&stale, 60);
    stack.put_row(row).await;
    // Just connected: API Gateway answers 410 for a socket whose handshake has not ended.
    let (fresh_id, row) = orphan(&fresh, 0);
    stack.put_row(row).await;

    let answer = alice.publish(&[&stale, &fresh, &bob.session], json!("hello")).await;
    let expected = [(&*stale, [0, 1, 0]), (&fresh, [0, 1, 0]), (&bob.session, [1, 0, 0])];
    assert_receipt(&answer, &answer["id"], &expected);
    stack.wait_until_row_is_gone(&stale_id).await;
    assert!(stack.row(&fresh_id).await.is_some(), "a row of this moment should stay");
    assert!(stack.row(&stack.connection_id_of(&alice).await).await.is_some(), "the sender's row should stay");

    let answer = alice.publish(&[&stale], json!("once more")).await;
    assert_receipt(&answer, &answer["id"], &[(&stale, [0, 0, 0])]);
    stack.delete_row(&fresh_id).await;
}

#[tokio::test]
async fn an_expired_row_counts_as_not_there() {
    let stack = Stack::new().await;
    let (mut alice, bob) = (Client::new("alice").await, Client::new("bob").await);
    let row = stack.row_of(&bob).await;
    let mut expired = row.clone();
    expired.insert("expires_at".to_owned(), number(now_ms() / 1000 - 1));
    stack.put_row(expired).await;

    let answer = alice.publish(&[&bob.session], json!("too late")).await;
    assert_receipt(&answer, &answer["id"], &[(&bob.session, [0, 0, 0])]);
    stack.put_row(row).await;
    bob.assert_heard_nothing().await;
}
