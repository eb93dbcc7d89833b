//! Which tokens are admitted, in which place of a handshake, and to which session.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Error,
    http::{StatusCode, Uri},
};

use super::{status, token};
use crate::{
    client::{Client, encoded, eventually, handshake_with, in_time},
    frames::{assert_delivery, assert_receipt},
    stack::{Stack, required, text, unique},
};

#[tokio::test]
async fn a_handshake_without_one_good_token_is_refused_and_stores_nothing() {
    let stack = Stack::new().await;
    let session = unique("alice");
    let good = token(&["--session", &session]);
    let (signed, signature) = good.rsplit_once('.').expect("a token has three parts");
    let expired = token(&["--session", &session, "--expires-in", "-120"]);
    for query in [
        String::new(),
        "?token=".to_owned(),
        "?token=x.y.z".to_owned(),
        format!("?token={signed}."),
        format!("?token={signed}.{}", signature.chars().rev().collect::<String>()),
        format!("?token={expired}"),
        format!("?token={good}&token={good}"),
        format!("?token={good}&session_id={session}&session_id={session}"),
        format!("?Token={good}"),
    ] {
        let query =
            if query.contains("session_id") { query } else { format!("{query}&session_id={session}") };
        assert_eq!(
            status(&format!("?{}", query.trim_start_matches(['?', '&']))).await,
            StatusCode::FORBIDDEN,
            "{query}"
        );
    }
    let both = handshake_with(&format!("?token={good}"), |request| {
        request.with_header("Authorization", format!("Bearer {good}"))
    })
    .await;
    let Err(Error::Http(response)) = both else { panic!("two tokens were admitted") };
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(stack.rows_in(&session).await.is_empty());
}

#[tokio::test]
async fn a_token_opens_its_own_session_from_the_query_string_and_from_a_header() {
    let stack = Stack::new().await;
    let session = unique("alice");
    let token = token(&["--session", &session]);
    for query in [format!("?token={token}"), format!("?token={token}&session_id={session}")] {
        let alice = Client::through(&session, &query).await;
        assert_eq!(stack.row_of(&alice).await["session_id"], text(&session));
        let id = stack.connection_id_of(&alice).await;
        alice.leave().await;
        stack.wait_until_row_is_gone(&id).await;
    }
    let header =
        handshake_with("", |request| request.with_header("Authorization", format!("Bearer {token}")));
    let _socket = header.await.expect("a token in the header should be admitted");
    eventually("the row", async || stack.rows_in(&session).await.pop()).await;
}

#[tokio::test]
async fn a_token_opens_its_session_as_a_subprotocol() {
    let token = token(&["--session", &unique("alice")]);
    let offer = async |bearer: String| {
        handshake_with("", |request| request.with_sub_protocol("hub.v1").with_sub_protocol(bearer)).await
    };
    // This client, as a browser, ends a handshake that chooses none of those it offers.
    assert!(offer(format!("bearer.{token}")).await.is_ok());
    let Err(Error::Http(response)) = offer(format!("bearer.{token}x")).await else { panic!("admitted") };
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// HTTP's names have no case, and each client has a spelling of its own.
#[tokio::test]
async fn headers_count_however_a_client_spells_them() {
    let url: Uri = required("HUB_URL").parse().expect("HUB_URL should be a URL");
    let authority = url.authority().expect("and name a host").as_str();
    let answer = async |headers: String| {
        let mut socket = TcpStream::connect(authority).await.expect("the stack should be up");
        let request = format!(
            "GET {} HTTP/1.1\r\nhOsT: {authority}\r\nUPGRADE: websocket\r\nconnection: upgrade\r\n{headers}\r\n",
            url.path()
        );
        socket.write_all(request.as_bytes()).await.expect("the stack should listen");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(in_time("the answer", socket.read_u8()).await.expect("an answer has a head"));
        }
        String::from_utf8(head).expect("a head is text").to_ascii_lowercase()
    };
    let session = unique("alice");
    let token = token(&["--session", &session]);
    for [key, version, protocol, authorization] in [
        ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Authorization"],
        ["sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "authorization"],
        ["Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "AUTHORIZATION"],
        ["SEC-WEBSOCKET-KEY", "SEC-WEBSOCKET-VERSION", "SEC-WEBSOCKET-PROTOCOL", "aUtHoRiZaTiOn"],
    ] {
        let common = format!("{key}: c2FtcGxlIHdzIGtleSAxMg==\r\n{version}: 13\r\n");
        let head = answer(format!("{common}{protocol}: hub.v1, bearer.{token}\r\n")).await;
        assert!(
            head.starts_with("http/1.1 101") && head.contains("sec-websocket-protocol: hub.v1\r\n"),
            "{head}"
        );
        let head = answer(format!("{common}{authorization}: Bearer {token}\r\n")).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(
            answer(common).await.starts_with("http/1.1 403"),
            "without a token it is the hub that refuses"
        );
    }
}

/// ES384, another audience claim, claims within a claim: the stack's other issuer.
#[tokio::test]
async fn two_issuers_tokens_meet_whatever_their_form() {
    let stack = Stack::new().await;
    let (auth0, mail) = (format!("auth0|{}", unique("64af")), format!("ann+{}@example.com", unique("test")));
    let mut alice = {
        let token = token(&["--mobile", "--session", &auth0, "--send-to", &mail]);
        Client::through(&auth0, &format!("?token={token}&session_id={}", encoded(&auth0))).await
    };
    let mut bob = {
        let token = token(&["--session", &mail, "--send-to", &auth0]);
        Client::through(&mail, &format!("?token={token}")).await
    };
    assert_eq!(stack.row_of(&alice).await["session_id"], text(&auth0));
    let answer = alice.publish(&[&mail], json!("from mobile")).await;
    assert_receipt(&answer, &answer["id"], &[(&mail, [1, 0, 0])]);
    assert_delivery(bob.receive().await, &bob.session, &answer["id"], &json!(auth0), &json!("from mobile"));
    let answer = bob.publish(&[&auth0], json!("from the web")).await;
    assert_receipt(&answer, &answer["id"], &[(&auth0, [1, 0, 0])]);
    assert_delivery(
        alice.receive().await,
        &alice.session,
        &answer["id"],
        &json!(mail),
        &json!("from the web"),
    );
}

/// A user who signs up as `*` at the other issuer, whose claims are no patterns, gets no other session.
#[tokio::test]
async fn a_star_is_a_pattern_only_where_the_settings_say_so() {
    let session = unique("alice");
    let query = |token: String| format!("?token={token}&session_id={session}");
    for pattern in ["*".to_owned(), format!("{session}*")] {
        let mobile = query(token(&["--mobile", "--session", &pattern]));
        assert_eq!(status(&mobile).await, StatusCode::FORBIDDEN, "{pattern}");
        let mobile = query(token(&["--mobile", "--session", &session, "--send-to", &pattern]));
        assert_eq!(status(&mobile).await, StatusCode::FORBIDDEN, "{pattern}");
        Client::through(&session, &query(token(&["--session", &pattern]))).await;
    }
}

#[tokio::test]
async fn a_token_opens_no_other_session_than_its_own() {
    let stack = Stack::new().await;
    let (own, others) = (unique("alice"), unique("bob"));
    let token_for = |pattern: &str| token(&["--session", pattern]);
    for (pattern, session) in [
        (own.clone(), others.clone()),
        (format!("{own}*"), own.to_uppercase()),
        (format!("{own}*"), others.clone()),
    ] {
        let query = format!("?token={}&session_id={session}", token_for(&pattern));
        assert_eq!(status(&query).await, StatusCode::FORBIDDEN, "{pattern} {session}");
        assert!(stack.rows_in(&session).await.is_empty());
    }
    assert_eq!(status(&format!("?token={}", token_for("*"))).await, StatusCode::FORBIDDEN, "which session?");
    for (pattern, session) in [(format!("{own}*"), format!("{own}-1")), ("*".to_owned(), others)] {
        let query = format!("?token={}&session_id={session}", token_for(&pattern));
        let client = Client::through(&session, &query).await;
        assert_eq!(stack.row_of(&client).await["session_id"], text(&session));
    }
}
