//! What a token allows its connection to send and to subscribe to.

use serde_json::json;

use super::{client, token};
use crate::{
    client::Client,
    frames::{assert_delivery, assert_error, assert_receipt},
    stack::{Stack, unique},
};

#[tokio::test]
async fn a_message_goes_only_where_the_token_allows() {
    let (tag, other) = (unique("room"), unique("carol"));
    let (room, pattern) = (format!("{tag}-1"), format!("{tag}-*"));
    let mut alice = client(&unique("alice"), &["--send-to", &pattern]).await;
    let mut bob = client(&room, &[]).await;
    let carol = client(&other, &[]).await;

    let answer = alice.publish(&[&room], json!("hello")).await;
    assert_receipt(&answer, &answer["id"], &[(&room, [1, 0, 0])]);
    assert_delivery(bob.receive().await, &bob.session, &answer["id"], &json!(alice.session), &json!("hello"));

    let own = alice.session.clone();
    for (sessions, named) in
        [(vec![&*other], &other), (vec![&room, &other], &other), (vec![&room, &own], &own)]
    {
        let words = assert_error(&alice.publish(&sessions, json!("forbidden")).await, "forbidden");
        assert!(words.contains(named.as_str()), "{words}");
    }
    bob.assert_heard_nothing().await;
    carol.assert_heard_nothing().await;
}

#[tokio::test]
async fn a_token_without_a_list_of_sessions_still_sends_to_its_own() {
    let bob = client(&unique("bob"), &[]).await;
    let mut alice = client(&unique("alice"), &[]).await;
    assert_error(&alice.publish(&[&bob.session], json!(1)).await, "forbidden");
    let own = alice.session.clone();
    alice.send(json!({"action": "sendMessage", "sessions": [own], "message": 1, "id": "to-myself"})).await;
    assert_delivery(alice.receive().await, &alice.session, &json!("to-myself"), &json!(own), &json!(1));
    assert_receipt(&alice.receive().await, &json!("to-myself"), &[(&own, [1, 0, 0])]);
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn permission_to_join_sessions_is_not_permission_to_send_to_them() {
    let tag = unique("a");
    let token = token(&["--session", &format!("{tag}*")]);
    let join = async |name: &str| {
        let session = format!("{tag}{name}");
        Client::through(&session, &format!("?token={token}&session_id={session}")).await
    };
    let (mut first, second) = (join("1").await, join("2").await);
    let words = assert_error(&first.publish(&[&second.session], json!(1)).await, "forbidden");
    assert!(words.contains(&second.session), "{words}");
    second.assert_heard_nothing().await;
}

#[tokio::test]
async fn a_connection_subscribes_only_to_what_the_token_allows() {
    let stack = Stack::new().await;
    let (tag, other) = (unique("room"), unique("other"));
    let (room, pattern) = (format!("{tag}-1"), format!("{tag}-*"));
    let mut alice = client(&unique("alice"), &["--send-to", "*"]).await;
    let mut bob = client(&unique("bob"), &["--subscribe-to", &pattern]).await;
    let subscribe = |sessions: &[&str]| json!({"action": "subscribe", "sessions": sessions, "id": "s"});

    let own = bob.session.clone();
    for sessions in [vec![&*other], vec![&room, &other], vec![&own, &other]] {
        let answer = bob.ask(subscribe(&sessions)).await;
        assert!(assert_error(&answer, "forbidden").contains(&other), "{answer}");
        assert_eq!(answer["id"], "s");
    }
    let id = stack.connection_id_of(&bob).await;
    assert!(stack.subscriptions_of(&id).await.is_empty());
    assert_eq!(bob.ask(json!({"action": "hello"})).await["subscriptions"], json!([]));

    let answer = bob.ask(subscribe(&[&room, &own])).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
    let answer = alice.publish(&[&room, &other], json!("hello")).await;
    assert_receipt(&answer, &answer["id"], &[(&room, [1, 0, 0]), (&other, [0, 0, 0])]);
    assert_delivery(bob.receive().await, &room, &answer["id"], &json!(alice.session), &json!("hello"));
    // To hear a session is not to be free to send to it.
    assert_error(&bob.publish(&[&room], json!(1)).await, "forbidden");

    // Neither is the reverse, and a token without the claim means the own session.
    assert_error(&alice.ask(subscribe(&[&room])).await, "forbidden");
    let own = alice.session.clone();
    assert_eq!(alice.ask(subscribe(&[&own])).await["type"], "subscribed");
}
