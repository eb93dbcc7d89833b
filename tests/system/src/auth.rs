//! JWT authentication: which tokens are admitted, what a token allows, and what becomes of a connection when its token
//! ends. On a stack that is up with --auth: `cargo test -p system-tests auth:: -- --ignored`.

use std::process::Command;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Error,
    http::{StatusCode, Uri},
};

use crate::{
    client::{Client, encoded, eventually, handshake, handshake_with, in_time},
    events::{event, table},
    frames::{assert_delivery, assert_error, assert_receipt, plain, receipt},
    stack::{Stack, now_ms, required, text, unique},
};

/// A token of one of the stack's own issuers.
fn token(options: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/local.sh");
    let output = Command::new(script).arg("token").args(options).output().expect("the script should run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token is text").trim_end().to_owned()
}

/// A client that enters with a token for its session, and these options besides.
async fn client(session: &str, options: &[&str]) -> Client {
    let token = token(&[&["--session", session], options].concat());
    Client::through(session, &format!("?token={token}")).await
}

async fn status(query: &str) -> StatusCode {
    match handshake(query).await {
        Ok(_) => panic!("{query} was admitted"),
        Err(status) => status,
    }
}

async fn name_of_authorizer(stack: &Stack) -> String {
    let connect = stack.name_of("connect").await;
    format!("{}-authorizer", connect.strip_suffix("-connect").expect("a function is named {name}-{function}"))
}

#[tokio::test]
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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

#[tokio::test]
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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

#[tokio::test]
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
async fn a_backend_needs_no_token() {
    let stack = Stack::new().await;
    let mut bob = client(&unique("bob"), &[]).await;
    let request = json!({"sessions": [bob.session], "message": "from the backend", "id": "b-1"});
    let answer = stack.invoke(&stack.name_of("publish").await, &request).await;
    assert_receipt(&answer.payload, &json!("b-1"), &[(&bob.session, [1, 0, 0])]);
    assert_delivery(
        bob.receive().await,
        &bob.session,
        &json!("b-1"),
        &Value::Null,
        &json!("from the backend"),
    );
}

/// Seconds that a token lives which ends during a test: enough to connect on a busy machine.
const SHORT: &str = "8";

#[tokio::test]
#[ignore = "needs a stack that is up with --auth"]
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
#[ignore = "needs a stack that is up with --auth"]
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

#[tokio::test]
#[ignore = "needs a stack that is up with --auth"]
async fn every_sample_event_of_the_authorizer_is_answered_as_its_table_says() {
    let stack = Stack::new().await;
    let authorizer = name_of_authorizer(&stack).await;
    let samples: Vec<_> = table().into_iter().filter(|(name, _)| name.starts_with("authorizer")).collect();
    assert!(!samples.is_empty());
    for (name, expected) in samples {
        let answer = stack.invoke(&authorizer, &event(&name)).await;
        let effect = &answer.payload["policyDocument"]["Statement"][0]["Effect"];
        let word = if effect.is_null() { &answer.payload["why"] } else { effect };
        assert_eq!((word, answer.function_error), (&json!(expected), None), "{name}: {}", answer.payload);
    }
}

#[tokio::test]
#[ignore = "needs a stack that is up with --auth"]
async fn no_log_holds_a_token() {
    let stack = Stack::new().await;
    let session = unique("alice");
    let good = token(&["--session", &session]);
    let mut alice = Client::through(&session, &format!("?token={good}")).await;
    alice.publish(&[&session], json!(1)).await;
    alice.ask(json!({"action": "hello"})).await;
    let other = unique("bob");
    assert_eq!(status(&format!("?token={good}&session_id={other}")).await, StatusCode::FORBIDDEN);

    let authorizer = name_of_authorizer(&stack).await;
    stack.wait_for_log_lines(&authorizer, "session_not_allowed", 1).await;
    stack.wait_for_log_lines(&authorizer, &session, 1).await;
    stack.wait_for_log_lines(&stack.name_of("send-message").await, &session, 1).await;
    let mut functions = vec![authorizer];
    for route in ["connect", "deliver", "disconnect", "history", "membership", "publish", "send-message"] {
        functions.push(stack.name_of(route).await);
    }
    for function in functions {
        for part in good.split('.').skip(1) {
            assert!(stack.log_lines(&function, part).await.is_empty(), "{function} logs tokens");
        }
    }
}
