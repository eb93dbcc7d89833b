//! What becomes of a connection's subscriptions when it ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{names, stored, subscribe};
use crate::{
    client::Client,
    events::event,
    frames::{assert_error, assert_receipt},
    stack::{Row, Stack, now_ms, number, text, unique},
};

#[tokio::test]
async fn a_connection_takes_its_subscriptions_with_it() {
    let stack = Stack::new().await;
    for is_polite in [true, false] {
        let mut alice = Client::new("alice").await;
        let id = stack.connection_id_of(&alice).await;
        assert_eq!(subscribe(&mut alice, &names(100)).await["type"], "subscribed");
        assert_eq!(stack.subscriptions_of(&id).await.len(), 100);
        if is_polite {
            alice.leave().await;
        } else {
            drop(alice);
        }
        stack.wait_until_nothing_is_left(&id).await;
    }
}

/// Rows of a connection without a socket, as if it had connected so many seconds ago: its own, and its subscription's.
async fn put_orphan(stack: &Stack, room: &str, age_seconds: u128) -> String {
    let id = unique("no-socket");
    let connected_at = now_ms() - age_seconds * 1000;
    let row = |session: &str| {
        Row::from([
            ("connection_id".to_owned(), text(&id)),
            ("session_id".to_owned(), text(session)),
            ("connected_at".to_owned(), number(connected_at)),
            ("expires_at".to_owned(), number(connected_at / 1000 + 9000)),
        ])
    };
    let mut own = row(&unique("own"));
    own.insert(
        "subscriptions".to_owned(),
        aws_sdk_dynamodb::types::AttributeValue::Ss(vec![room.to_owned()]),
    );
    stack.put_row(own).await;
    stack.put_subscription(row(room)).await;
    id
}

#[tokio::test]
async fn a_connection_found_gone_in_one_session_is_gone_as_a_whole() {
    let stack = Stack::new().await;
    let membership = stack.name_of("membership").await;
    let mut alice = Client::new("alice").await;
    let hello = async |id: &str| {
        let mut hello = event("hello");
        hello["requestContext"]["connectionId"] = json!(id);
        let answer = stack.invoke(&membership, &hello).await.payload;
        let body = answer["body"].as_str().unwrap_or_else(|| panic!("{answer}"));
        serde_json::from_str::<Value>(body).expect("a frame is JSON")
    };
    for (age, is_gone) in [(60, true), (0, false)] {
        let room = unique("room");
        let id = put_orphan(&stack, &room, age).await;
        assert_eq!(hello(&id).await["type"], "hello");
        let receipt = alice.publish(&[&room], json!(1)).await;
        assert_receipt(&receipt, &receipt["id"], &[(&room, [0, 1, 0])]);
        if is_gone {
            stack.wait_until_nothing_is_left(&id).await;
            assert_error(&hello(&id).await, "not_connected");
        } else {
            let only = BTreeSet::from([room]);
            assert_eq!(stored(&stack, &id).await, [only.clone(), only], "it may be connecting");
            stack.delete_row(&id).await;
        }
    }
}
