//! JWT authentication: issuers that fail, settings that are wrong, and the words for a refusal.

mod providers;

use std::time::{Duration, Instant};

use harness::{
    Function, Outcome, World,
    issuer::{Document, ED25519, Issuer, RSA, SigningKey},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::providers::encryption;
use crate::support::{AMPLE, counted, line, log, now_ms, stopped};

/// The authorizer with these issuers.
async fn authorizer(issuers: &Value) -> Function {
    let world = World::start().await;
    Function::with_settings("authorizer", &world, &[("AUTH_ISSUERS", &issuers.to_string())]).await
}

/// A handshake with a token in the subprotocol, for `session` or for none.
async fn handshake(authorizer: &Function, token: &str, session: Option<&str>) -> Outcome {
    let sample = include_str!("../../../events/authorizer-subprotocol.json");
    let mut event: Value = serde_json::from_str(&sample.replace("header.claims.signature", token))
        .expect("a sample should be JSON");
    event["queryStringParameters"] = session.map_or(Value::Null, |name| json!({ "session_id": name }));
    event["multiValueQueryStringParameters"] = Value::Null;
    authorizer.invoke(event.to_string(), AMPLE).await
}

/// The session that a handshake gets, if it is admitted.
async fn admitted(authorizer: &Function, token: &str, session: Option<&str>) -> Option<String> {
    let outcome = handshake(authorizer, token, session).await;
    let answer = outcome.response();
    let allowed = answer["policyDocument"]["Statement"][0]["Effect"] == "Allow";
    assert_eq!(answer["context"]["session_id"].is_string(), allowed, "{answer}");
    allowed.then(|| answer["context"]["session_id"].as_str().unwrap_or_default().to_owned())
}

async fn explained(authorizer: &Function, token: &str) -> Value {
    let question = json!({ "explain": { "token": token } });
    authorizer.invoke(question.to_string(), AMPLE).await.response().clone()
}

fn now() -> i64 {
    now_ms() / 1000
}

#[tokio::test]
async fn each_word_for_a_refusal_is_explained_in_the_document() {
    let document = include_str!("../../../docs/identity-providers.md");
    let sources = [
        include_str!("../../../functions/authorizer/src/handler.rs"),
        include_str!("../../../functions/authorizer/src/bearer.rs"),
        include_str!("../../../functions/authorizer/src/verify.rs"),
    ];
    let (_, table) = document.split_once("| `why` |").expect("there is a table");
    let explained: Vec<_> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut words = vec!["keys"];
    for literal in sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2)) {
        let is_word =
            literal.contains('_') && literal.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if (is_word && literal != "session_id" && !words.contains(&literal)) || literal == "expired" {
            words.push(literal);
        }
    }
    words.sort_unstable();
    let mut documented = explained.clone();
    documented.sort_unstable();
    assert_eq!(words, documented);
}

fn one(server: &Issuer) -> Value {
    json!([{ "issuer": server.url, "audiences": ["hub"] }])
}

fn token(server: &Issuer, key: &SigningKey, id: &str) -> String {
    let claims = json!({ "iss": server.url, "aud": "hub", "exp": now() + 3600, "session_id": "alice" });
    key.token(&json!({ "alg": key.algorithm(), "kid": id }), &claims)
}

#[tokio::test]
async fn an_issuer_without_a_usable_key_is_a_failure_and_a_warning_that_says_why() {
    for (jwks, why) in [
        (json!({ "keys": [] }), "is empty"),
        (json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }, encryption("e")] }), r#"its kty is "oct""#),
        (json!({ "keys": [{ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }] }), "P-521"),
        (json!({}), "not the expected JSON"),
    ] {
        let server = Issuer::start(&[]).await;
        server.set(Issuer::KEYS, jwks);
        let authorizer = authorizer(&one(&server)).await;
        let token = token(&server, &RSA, "one");
        let outcome = handshake(&authorizer, &token, None).await;
        assert_eq!(outcome.error()["errorType"], "internal");
        assert_eq!(explained(&authorizer, &token).await["why"], "keys");
        let log = log(&authorizer.finish());
        let warning = log.iter().find(|line| line["message"] == "keys not refreshed").expect("a warning");
        assert_eq!((&warning["level"], &warning["issuer"]), (&json!("WARN"), &json!(server.url)));
        assert!(warning["error"].as_str().is_some_and(|error| error.contains(why)), "{warning}");
        assert_eq!(counted(&log, "HandlerErrors"), 1.0, "a question is no failure of ours");
    }
}

#[tokio::test]
async fn however_many_tokens_name_unknown_keys_the_issuer_is_left_alone_and_known_keys_serve() {
    let server = Issuer::start(&[("one", &RSA)]).await;
    let authorizer = authorizer(&one(&server)).await;
    let (known, unknown) = (token(&server, &RSA, "one"), token(&server, &ED25519, "new"));
    for _ in 0..50 {
        assert_eq!(admitted(&authorizer, &known, None).await.as_deref(), Some("alice"));
        assert_eq!(admitted(&authorizer, &unknown, None).await, None);
    }
    assert_eq!((server.asked(Issuer::DISCOVERY), server.asked(Issuer::KEYS)), (1, 1));
    let log = log(&authorizer.finish());
    assert_eq!((counted(&log, "HandshakesAdmitted"), counted(&log, "HandshakesRefused")), (50.0, 50.0));
}

#[tokio::test]
async fn an_instance_without_keys_asks_a_throttled_issuer_only_when_it_may_however_many_handshakes_come() {
    let server = Issuer::start(&[("one", &RSA)]).await;
    server.set(Issuer::KEYS, Document::Throttled("3".into()));
    let authorizer = authorizer(&one(&server)).await;
    let known = token(&server, &RSA, "one");
    assert_eq!(handshake(&authorizer, &known, None).await.error()["errorType"], "internal");
    let began = Instant::now();
    server.set_keys(&[("one", &RSA)]);
    // For longer than without a word of the issuer's: until then it would be asked again after 1.25 s at most.
    while began.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(handshake(&authorizer, &known, None).await.error()["errorType"], "internal");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((server.asked(Issuer::DISCOVERY), server.asked(Issuer::KEYS)), (1, 1));
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(admitted(&authorizer, &known, None).await.as_deref(), Some("alice"));
    assert_eq!((server.asked(Issuer::DISCOVERY), server.asked(Issuer::KEYS)), (1, 2));
    let log = log(&authorizer.finish());
    assert!(line(&log, "keys not refreshed")["error"].as_str().is_some_and(|error| error.contains("429")));
}

#[tokio::test]
async fn bad_settings_stop_the_authorizer_with_a_line_that_names_them() {
    for (issuers, says) in [
        (json!([]), "empty"),
        (json!([{ "issuer": "https://a.example", "audience": "hub" }]), "audience"),
        (json!([{ "issuer": "https://a.example", "audiences": [] }]), "audiences"),
        (json!([{ "issuer": "my-app", "audiences": ["hub"] }]), "jwks_url"),
    ] {
        let authorizer = authorizer(&issuers).await;
        let error = line(&stopped(authorizer).await, "stopped")["error"].to_string();
        assert!(error.contains("AUTH_ISSUERS") && error.contains(says), "{error}");
    }
}
