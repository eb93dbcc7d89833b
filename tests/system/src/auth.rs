//! JWT authentication: which tokens are admitted, what a token allows, and what becomes of a connection when its token
//! ends. They need a stack that is up with --auth, and run with the profile tokens of .config/nextest.toml.

mod expiry;
mod handshakes;
mod permissions;

use std::process::Command;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::http::StatusCode;

use crate::{
    client::{Client, handshake},
    events::{event, table},
    frames::{assert_delivery, assert_receipt},
    stack::{Stack, unique},
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

#[tokio::test]
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
