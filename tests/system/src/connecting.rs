//! A socket's beginning and its end.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tokio_tungstenite::tungstenite::http::StatusCode;

use crate::{
    client::{Client, handshake},
    frames::{assert_delivery, assert_receipt},
    stack::{Stack, now_ms, text, unique},
};

#[tokio::test]
async fn a_connection_is_stored_with_the_four_attributes_that_the_hub_needs() {
    let stack = Stack::new().await;
    let before = now_ms();
    let alice = Client::new("alice").await;
    let row = stack.row_of(&alice).await;
    let after = now_ms();

    let number = |name: &str| -> u128 {
        let AttributeValue::N(digits) = &row[name] else { panic!("{name} is not a number: {row:?}") };
        digits.parse().unwrap_or_else(|_| panic!("{name} is not a whole number: {row:?}"))
    };
    let mut attributes: Vec<_> = row.keys().map(String::as_str).collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["connected_at", "connection_id", "expires_at", "session_id"]);
    assert_eq!(row["session_id"], text(&alice.session));
    assert!(
        (before..=after).contains(&number("connected_at")),
        "{row:?} is not from now, {before} to {after}"
    );
    assert_eq!(number("expires_at"), number("connected_at") / 1000 + 9000);
}

#[tokio::test]
async fn a_socket_that_closes_or_breaks_loses_its_row() {
    let stack = Stack::new().await;
    let polite = Client::new("polite").await;
    let id = stack.connection_id_of(&polite).await;
    polite.leave().await;
    stack.wait_until_row_is_gone(&id).await;

    let broken = Client::new("broken").await;
    let id = stack.connection_id_of(&broken).await;
    drop(broken);
    stack.wait_until_row_is_gone(&id).await;
}

#[tokio::test]
async fn every_session_id_that_is_allowed_connects_is_reached_and_stands_in_the_log() {
    let stack = Stack::new().await;
    let every: String = ('!'..='~').filter(|character| !"*\"\\".contains(*character)).collect();
    let mut bob = Client::new("bob").await;
    let log = stack.name_of("send-message").await;
    for name in [
        "auth0|64af",
        "ann+test@example.com",
        "o'brien@example.com",
        "spiffe://a/b?c=d#e",
        "%41%2",
        "a,b;c",
        &every,
    ] {
        let session = format!("{name}{}", unique(""));
        let session = if name == every { &format!("{session}{}", "x".repeat(128))[..128] } else { &session };
        let mut client = Client::in_session(session).await;
        assert_eq!(stack.row_of(&client).await["session_id"], text(session));
        let answer = bob.publish(&[session], json!("hello")).await;
        assert_receipt(&answer, &answer["id"], &[(session, [1, 0, 0])]);
        assert_delivery(
            client.receive().await,
            &client.session,
            &answer["id"],
            &json!(bob.session),
            &json!("hello"),
        );
        let answer = client.publish(&[&bob.session], json!("hello back")).await;
        assert_delivery(
            bob.receive().await,
            &bob.session,
            &answer["id"],
            &json!(session),
            &json!("hello back"),
        );
        stack.wait_for_log_lines(&log, &json!(session).to_string(), 1).await;
    }
}

#[tokio::test]
async fn a_handshake_without_one_valid_session_is_refused_and_stores_nothing() {
    let stack = Stack::new().await;
    let tag = unique("refused");
    let too_long = format!("{tag}{}", "x".repeat(129 - tag.len()));
    for query in [
        String::new(),
        "?session_id".to_owned(),
        "?session_id=".to_owned(),
        format!("?session={tag}"),
        format!("?SESSION_ID={tag}"),
        format!("?session_id={too_long}"),
        format!("?session_id={tag}-a&session_id={tag}-b"),
        format!("?session_id={tag}&session_id={tag}"),
        format!("?session_id={tag}&session_id="),
        format!("?session_id={tag}%20b"),
        format!("?session_id={tag}+b"),
        format!("?session_id={tag}%2A"),
        format!("?session_id={tag}%22b"),
        format!("?session_id={tag}%5Cb"),
        format!("?session_id={tag}%00"),
        format!("?session_id={tag}%0A"),
        format!("?session_id={tag}%C3%A9"),
        format!("?session_id={tag}%F0%9F%91%8B"),
    ] {
        let refusal = handshake(&query).await.err();
        assert_eq!(refusal, Some(StatusCode::BAD_REQUEST), "{query}");
    }
    for session in stack.stored_sessions().await {
        assert!(session.as_ref().is_some_and(|name| !name.is_empty() && !name.contains(&tag)), "{session:?}");
    }
}
