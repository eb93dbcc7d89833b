//! The sample handshakes, each with a real token in place of the sample's.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use harness::issuer::{Document, ED25519, Issuer as Server, RSA};
use hub::event::Connect;
use serde_json::json;

use super::*;
use crate::keys::tests::{later, settings, tls};

struct Setup {
    server: Server,
    authorizer: Authorizer,
}

impl Setup {
    async fn new() -> Self {
        let server = Server::start(&[("rsa", &RSA)]).await;
        let issuer = settings(&server, &json!({}));
        let authorizer = Authorizer { issuers: vec![(issuer.clone(), Keys::new(&issuer, tls()))] };
        authorizer.prepare().await;
        Self { server, authorizer }
    }

    fn token(&self, claims: &Value) -> String {
        let mut all = json!({ "iss": self.server.url, "aud": "hub", "exp": 4_102_448_400_u64 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        RSA.token(&json!({ "alg": "RS256", "kid": "rsa" }), &all)
    }

    async fn answer(&self, event: &Value) -> Result<Value, Failure> {
        let payload: Box<RawValue> = serde_json::from_str(&event.to_string()).unwrap();
        let deadline = Deadline::of_route(SystemTime::now() + Duration::from_secs(10));
        Ok(serde_json::to_value(self.authorizer.handle(&payload, deadline).await?).unwrap())
    }

    /// The answer to a handshake with these claims that asks for this session, or for none.
    async fn connect(&self, claims: &Value, session: Option<&str>) -> Value {
        let mut event = event(include_str!("../../../../events/authorizer.json"), &self.token(claims));
        event["queryStringParameters"] = session.map_or(Value::Null, |name| json!({ "session_id": name }));
        event["multiValueQueryStringParameters"] = Value::Null;
        self.answer(&event).await.unwrap()
    }
}

/// A sample event with this token.
fn event(sample: &str, token: &str) -> Value {
    let event = sample.replace("header.claims.signature", token);
    serde_json::from_str(&event).unwrap()
}

const ARN: &str = "arn:aws:execute-api:eu-west-1:123456789012:k7m2x9q4ba/live/$connect";

fn policy(effect: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Action": "execute-api:Invoke", "Effect": effect, "Resource": ARN }],
    })
}

fn denied() -> Value {
    json!({ "principalId": "nobody", "policyDocument": policy("Deny") })
}

#[tokio::test]
async fn a_token_admits_from_each_place() {
    let setup = Setup::new().await;
    let token = setup.token(&json!({ "session_id": "alice", "send_to": ["bob", "room-*"] }));
    let expected = json!({
        "principalId": "alice",
        "policyDocument": policy("Allow"),
        "context": {
            "session_id": "alice", "send_to": "[\"bob\",\"room-*\"]", "subscribe_to": "[\"alice\"]", "exp": "4102448400",
        },
    });
    for sample in [
        include_str!("../../../../events/authorizer.json"),
        include_str!("../../../../events/authorizer-query.json"),
        include_str!("../../../../events/authorizer-subprotocol.json"),
    ] {
        assert_eq!(setup.answer(&event(sample, &token)).await.unwrap(), expected, "{sample}");
    }
}

#[tokio::test]
async fn without_one_valid_token_a_handshake_is_denied() {
    let setup = Setup::new().await;
    let token = setup.token(&json!({ "session_id": "alice" }));
    for sample in [
        include_str!("../../../../events/authorizer-no-token.json"),
        include_str!("../../../../events/authorizer-two-tokens.json"),
    ] {
        assert_eq!(setup.answer(&event(sample, &token)).await.unwrap(), denied(), "{sample}");
    }
    let forged = event(include_str!("../../../../events/authorizer.json"), "header.claims.signature");
    assert_eq!(setup.answer(&forged).await.unwrap(), denied());
}

#[tokio::test]
async fn the_session_is_one_that_the_token_covers() {
    let setup = Setup::new().await;
    for (claim, asked, granted) in [
        (json!("alice"), None, Some("alice")),
        (json!("alice"), Some("alice"), Some("alice")),
        (json!(["alice"]), None, Some("alice")),
        (json!(["alice", "bob"]), Some("bob"), Some("bob")),
        (json!("a*"), Some("a"), Some("a")),
        (json!("*"), Some("Any:1"), Some("Any:1")),
        // Another user's session, as in a link with a forged query string.
        (json!("alice"), Some("bob"), None),
        (json!("alice"), Some("Alice"), None),
        (json!("a*"), Some("Alice"), None),
        (json!("alice"), Some(""), None),
        (json!("*"), Some("a*"), None),
        (json!(["alice", "bob"]), None, None),
        (json!("a*"), None, None),
        (json!("*"), None, None),
        (json!([]), Some("alice"), None),
        (json!([]), None, None),
    ] {
        let answer = setup.connect(&json!({ "session_id": claim }), asked).await;
        match granted {
            Some(session) => assert_eq!(answer["context"]["session_id"], session, "{claim} {asked:?}"),
            None => assert_eq!(answer, denied(), "{claim} {asked:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_without_send_to_allows_sending_to_the_joined_session_only() {
    let setup = Setup::new().await;
    for claim in [json!("a1"), json!(["a1", "a2"]), json!("a*"), json!("*")] {
        let answer = setup.connect(&json!({ "session_id": claim }), Some("a1")).await;
        assert_eq!(answer["context"]["send_to"], "[\"a1\"]", "{claim}");
        assert_eq!(answer["context"]["subscribe_to"], "[\"a1\"]", "{claim}");
    }
}

#[tokio::test]
async fn a_session_that_is_given_twice_is_denied_even_to_a_token_for_all_sessions() {
    let setup = Setup::new().await;
    let token = setup.token(&json!({ "session_id": "*" }));
    let mut event = event(include_str!("../../../../events/authorizer.json"), &token);
    event["multiValueQueryStringParameters"] = json!({ "session_id": ["alice", "alice"] });
    assert_eq!(setup.answer(&event).await.unwrap(), denied());
}

#[tokio::test]
async fn connect_reads_the_grant_that_the_authorizer_writes() {
    let setup = Setup::new().await;
    let answer = setup.connect(&json!({ "session_id": "a*", "send_to": [] }), Some("alice")).await;
    let mut connect: Value = serde_json::from_str(include_str!("../../../../events/connect.json")).unwrap();
    connect["requestContext"]["authorizer"] = answer["context"].clone();
    let connect: Box<RawValue> = serde_json::from_str(&connect.to_string()).unwrap();
    let Connect::Handshake(handshake) = Connect::parse(&connect).unwrap() else { panic!("a handshake") };
    let grant = handshake.grant.unwrap();
    assert_eq!((grant.session.as_str(), grant.expires_at), ("alice", 4_102_448_400));
    assert!(!grant.send_to.covers(&grant.session));
}

#[tokio::test]
async fn a_grant_too_large_for_the_gateway_is_denied() {
    let setup = Setup::new().await;
    let claims = |count| json!({ "session_id": "alice", "send_to": vec!["a"; count] });
    assert_eq!(setup.connect(&claims(1200), None).await["principalId"], "alice");
    // The token is within its limit, but the grant in the context is longer.
    assert!(setup.token(&claims(1350)).len() < 8192);
    assert_eq!(setup.connect(&claims(1350), None).await, denied());
}

#[tokio::test]
async fn an_unreachable_issuer_is_a_failure_only_if_its_key_is_not_known() {
    let setup = Setup::new().await;
    setup.server.set(Server::KEYS, Document::Text(500, String::new()));
    later(Duration::from_secs(3600)).await;
    assert_eq!(setup.connect(&json!({ "session_id": "alice" }), None).await["principalId"], "alice");

    let unknown = RSA.token(&json!({ "alg": "RS256", "kid": "new" }), &json!({ "iss": setup.server.url }));
    let event = event(include_str!("../../../../events/authorizer.json"), &unknown);
    assert!(matches!(setup.answer(&event).await, Err(Failure::Other { cause: "keys", .. })));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// That includes the lines of libraries, which the functions' own logging drops.
#[tokio::test]
async fn at_trace_level_no_line_holds_any_part_of_a_token() {
    let log = Log::default();
    let writer = log.clone();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process: a line that another thread was first to pass, without a subscriber, would stay silent
    // here.
    tracing::subscriber::set_global_default(everything).unwrap();
    let setup = Setup::new().await;
    let good = setup.token(&json!({ "session_id": "alice", "send_to": ["bob"] }));
    let bad = format!("{good}A");
    let claims = json!({ "iss": setup.server.url, "sub": "somebody" });
    let unknown = RSA.token(&json!({ "alg": "RS256", "kid": "unheard-of" }), &claims);
    for token in [&good, &bad, &unknown] {
        for sample in [
            include_str!("../../../../events/authorizer.json"),
            include_str!("../../../../events/authorizer-query.json"),
            include_str!("../../../../events/authorizer-subprotocol.json"),
            include_str!("../../../../events/authorizer-two-tokens.json"),
        ] {
            setup.answer(&event(sample, token)).await.unwrap();
        }
        setup.answer(&json!({ "explain": { "token": token } })).await.unwrap();
    }
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for word in ["admitted", "bad_signature", "unknown_key", "more_than_one_token", "explained"] {
        assert!(lines.contains(word), "{lines}");
    }
    for part in [&good, &unknown].into_iter().flat_map(|token| token.split('.')) {
        assert!(!lines.contains(part), "{lines}");
    }
    assert!(!lines.contains("unheard-of"), "{lines}");
}

#[tokio::test]
async fn an_event_of_another_kind_is_a_failure() {
    let setup = Setup::new().await;
    let connect = serde_json::from_str(include_str!("../../../../events/connect.json")).unwrap();
    assert!(matches!(setup.answer(&connect).await, Err(Failure::Event(_))));
    assert!(matches!(setup.answer(&json!({ "methodArn": ARN })).await, Err(Failure::Event(_))));
}

#[tokio::test]
async fn of_several_issuers_each_has_its_own_keys_and_settings_and_is_asked_only_for_its_own_tokens() {
    let servers = [Server::start(&[("one", &RSA)]).await, Server::start(&[("one", &ED25519)]).await];
    let second = json!({ "audiences": ["mobile"], "audience_claim": "azp", "session_claim": "sub", "patterns": false });
    let issuers = [settings(&servers[0], &json!({})), settings(&servers[1], &second)];
    let issuers = issuers.map(|issuer| (issuer.clone(), Keys::new(&issuer, tls()))).into();
    let [first, second] = servers;
    let setup = Setup { server: first, authorizer: Authorizer { issuers } };
    setup.authorizer.prepare().await;
    assert_eq!(setup.server.asked(Server::KEYS) + second.asked(Server::KEYS), 0, "no token has arrived yet");

    let answer = async |token: String| {
        setup
            .answer(&event(include_str!("../../../../events/authorizer-subprotocol.json"), &token))
            .await
            .unwrap()
    };
    let of_first =
        json!({ "iss": setup.server.url, "aud": "hub", "exp": 4_102_448_400_u64, "session_id": "alice" });
    let of_second = json!({ "iss": second.url, "azp": "mobile", "exp": 4_102_448_400_u64, "sub": "alice" });
    let rsa = json!({ "alg": "RS256", "kid": "one" });
    let ed = json!({ "alg": "EdDSA", "kid": "one" });
    assert_eq!(answer(RSA.token(&rsa, &of_first)).await["principalId"], "alice");
    assert_eq!((setup.server.asked(Server::KEYS), second.asked(Server::KEYS)), (1, 0));
    assert_eq!(answer(ED25519.token(&ed, &of_second)).await["principalId"], "alice");
    // Neither key is accepted for the other issuer.
    for (key, header, claims) in [(&*RSA, &rsa, &of_second), (&ED25519, &ed, &of_first)] {
        assert_eq!(answer(key.token(header, claims)).await, denied(), "{claims}");
    }
    // The second issuer's settings allow no patterns.
    let mut star = of_second;
    star["sub"] = json!("*");
    assert_eq!(answer(ED25519.token(&ed, &star)).await, denied());
    // An issuer that fails affects only its own tokens.
    second.set(Server::KEYS, Document::Text(500, String::new()));
    assert_eq!(answer(RSA.token(&rsa, &of_first)).await["principalId"], "alice");
}

#[tokio::test]
async fn a_token_is_explained_without_being_quoted() {
    let setup = Setup::new().await;
    let explain = async |about: Value| setup.answer(&json!({ "explain": about })).await.unwrap();
    let refused = |why: &str, issuer: Value| {
        json!({
            "admitted": false, "why": why, "issuer": issuer, "session": null, "send_to": null, "subscribe_to": null,
            "expires_at": null,
        })
    };
    let url = json!(setup.server.url);
    let good = setup.token(&json!({ "session_id": "a*", "send_to": ["bob"] }));
    assert_eq!(
        explain(json!({ "token": good, "session_id": "bob|1" })).await,
        refused("session_not_allowed", url.clone())
    );
    assert_eq!(
        explain(json!({ "token": good, "session_id": "a|1" })).await,
        json!({
            "admitted": true, "why": null, "issuer": url, "session": "a|1", "send_to": ["bob"], "subscribe_to": ["a|1"],
            "expires_at": 4_102_448_400_i64,
        })
    );
    assert_eq!(explain(json!({ "token": good })).await, refused("no_session", url.clone()));
    for session in [json!(""), json!("a b"), json!(1)] {
        assert_eq!(
            explain(json!({ "token": good, "session_id": session })).await,
            refused("malformed_session", url.clone())
        );
    }
    let stranger = setup.token(&json!({ "session_id": "alice", "iss": "https://other.example" }));
    let nameless = setup.token(&json!({ "session_id": "alice", "iss": null }));
    for (token, why) in [
        (json!(null), "no_token"),
        (json!(7), "no_token"),
        (json!(""), "malformed_token"),
        (json!("x".repeat(9_000)), "token_too_large"),
        (json!(stranger), "wrong_issuer"),
        (json!(nameless), "no_issuer"),
    ] {
        assert_eq!(explain(json!({ "token": token })).await, refused(why, Value::Null));
    }
    for about in [json!({}), json!(""), json!([]), json!(true)] {
        assert_eq!(explain(about).await, refused("no_token", Value::Null));
    }

    setup.server.set(Server::KEYS, Document::Text(500, String::new()));
    later(Duration::from_secs(30)).await;
    let unknown = RSA.token(&json!({ "alg": "RS256", "kid": "new" }), &json!({ "iss": setup.server.url }));
    assert_eq!(explain(json!({ "token": unknown })).await, refused("keys", url));
}

/// A client cannot ask for an explanation: it cannot add a key to the top level of its event.
#[tokio::test]
async fn no_handshake_is_a_request_to_explain() {
    let setup = Setup::new().await;
    let mut handshake = event(include_str!("../../../../events/authorizer-query.json"), "x.y.z");
    handshake["queryStringParameters"]["explain"] = json!("{}");
    handshake["headers"]["explain"] = json!("{}");
    handshake["explain"] = Value::Null;
    assert_eq!(setup.answer(&handshake).await.unwrap(), denied());
}
