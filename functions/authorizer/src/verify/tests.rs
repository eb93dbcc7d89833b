//! What passes for a token and what does not: claim by claim, and by every trick that is known.

use hub::protocol::SessionId;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use super::*;
use crate::keys::tests::{EC, ED, Issuer, RSA, Reply, STRANGER, SigningKey, base64, tls};

struct Door {
    issuer: Issuer,
    config: Config,
    keys: Keys,
}

impl Door {
    async fn new() -> Self {
        let issuer = Issuer::start(&[("rsa", &RSA), ("ec", &EC), ("ed", &ED)]).await;
        let config = issuer.config();
        let keys = Keys::new(&config, tls());
        Self { issuer, config, keys }
    }

    fn claims(&self) -> Value {
        json!({ "iss": self.issuer.url, "aud": "hub", "exp": now_seconds() + 600, "session_id": "alice" })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    async fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        verify(&self.config, &self.keys, token).await.map_err(|stop| match stop {
            Stop::Refused(why) => why,
            Stop::Failed(failure) => panic!("{failure}"),
        })
    }

    /// What becomes of these claims, properly signed.
    async fn read(&self, claims: &Value) -> Result<Claims, &'static str> {
        self.verify(&RSA.token(&header(), claims)).await
    }
}

fn header() -> Value {
    json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa" })
}

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

#[tokio::test]
async fn a_token_of_each_algorithm_is_admitted() {
    let door = Door::new().await;
    for (key, kid) in [(&*RSA, "rsa"), (&EC, "ec"), (&ED, "ed")] {
        let token = key.token(&json!({ "alg": key.algorithm(), "kid": kid }), &door.claims());
        let claims = door.verify(&token).await.unwrap();
        assert_eq!(claims.sessions.only(), Some(&id("alice")), "{kid}");
    }
}

#[tokio::test]
async fn each_registered_claim_must_be_there_and_right() {
    let door = Door::new().await;
    let url = &door.issuer.url;
    for (claims, why) in [
        (door.without("iss"), "missing_claim"),
        (door.with("iss", json!("https://other.example")), "wrong_issuer"),
        (door.with("iss", json!(format!("{url}/"))), "wrong_issuer"),
        (door.with("iss", json!([url, "https://other.example"])), "wrong_issuer"),
        (door.with("iss", json!(1)), "missing_claim"),
        (door.without("aud"), "missing_claim"),
        (door.with("aud", json!("Hub")), "wrong_audience"),
        (door.with("aud", json!([])), "wrong_audience"),
        (door.with("aud", json!(["other", "another"])), "wrong_audience"),
        (door.with("aud", json!({ "hub": true })), "missing_claim"),
        (door.without("exp"), "missing_claim"),
        (door.with("exp", json!(null)), "missing_claim"),
        (door.with("exp", json!((now_seconds() + 600).to_string())), "missing_claim"),
        (door.with("exp", json!(-1)), "missing_claim"),
        (door.with("exp", json!(0)), "expired"),
        (door.with("exp", json!(now_seconds() - 70)), "expired"),
        (door.with("nbf", json!(now_seconds() + 70)), "not_yet_valid"),
        (door.with("nbf", json!("now")), "missing_claim"),
    ] {
        assert_eq!(door.read(&claims).await, Err(why), "{claims}");
    }
    for claims in [
        door.with("aud", json!(["other", "hub"])),
        door.with("exp", json!(now_seconds() - 50)),
        door.with("nbf", json!(now_seconds() + 50)),
        door.with("nbf", json!(0)),
        door.with("iat", json!(now_seconds() + 9000)),
        door.with("more", json!({ "any": "thing" })),
    ] {
        door.read(&claims).await.unwrap_or_else(|why| panic!("{why}: {claims}"));
    }
}

#[tokio::test]
async fn the_end_is_the_tokens_and_within_the_leeway_the_leeways() {
    let door = Door::new().await;
    let start = now_seconds();
    let end = async |exp: Value| door.read(&door.with("exp", exp)).await.unwrap().expires_at;
    assert_eq!(end(json!(start + 600)).await, start + 600);
    assert_eq!(end(json!(4_102_444_800.9)).await, 4_102_444_800);
    assert_eq!(end(json!(u64::MAX)).await, i64::MAX);
    assert_eq!(end(json!(start - 10)).await, start + 50);
    for (exp, expected) in [(101, Some(101)), (100, Some(160)), (41, Some(101)), (40, None)] {
        assert_eq!(super::end(exp, 100), expected, "{exp}");
    }
}

#[tokio::test]
async fn the_sessions_are_those_of_the_claim() {
    let door = Door::new().await;
    for claim in [json!(null), json!(7), json!(""), json!("a b"), json!("a*b"), json!(["a", 7])] {
        assert_eq!(
            door.read(&door.with("session_id", claim.clone())).await,
            Err("bad_session_claim"),
            "{claim}"
        );
    }
    assert_eq!(door.read(&door.without("session_id")).await, Err("bad_session_claim"));
    let sessions = async |claim| door.read(&door.with("session_id", claim)).await.unwrap().sessions;
    let some = sessions(json!(["a", "room-*"])).await;
    assert!(some.covers(&id("a")) && some.covers(&id("room-1")) && !some.covers(&id("A")));
    assert!(!sessions(json!([])).await.covers(&id("a")));
    assert!(sessions(json!("*")).await.covers(&id("anything")));
}

#[tokio::test]
async fn whom_to_send_to_is_a_claim_of_its_own() {
    let door = Door::new().await;
    for claim in [json!(null), json!(7), json!(["a", "b c"])] {
        assert_eq!(door.read(&door.with("send_to", claim.clone())).await, Err("bad_send_claim"), "{claim}");
    }
    assert_eq!(door.read(&door.claims()).await.unwrap().send_to, None);
    let others = door.read(&door.with("send_to", json!(["b*"]))).await.unwrap().send_to.unwrap();
    assert!(others.covers(&id("bob")) && !others.covers(&id("alice")));
    let nobody = door.read(&door.with("send_to", json!([]))).await.unwrap().send_to.unwrap();
    assert!(!nobody.covers(&id("alice")));
}

#[tokio::test]
async fn the_names_of_the_claims_can_be_chosen() {
    let mut door = Door::new().await;
    door.config.session_claim = "sub".into();
    door.config.send_claim = "https://example.com/to".into();
    let mut claims = door.with("sub", json!("carol"));
    claims["https://example.com/to"] = json!(["dave"]);
    let read = door.read(&claims).await.unwrap();
    assert_eq!(read.sessions.only(), Some(&id("carol")));
    let send_to = read.send_to.unwrap();
    assert!(send_to.covers(&id("dave")) && !send_to.covers(&id("carol")));
}

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let door = Door::new().await;
    let claims = door.claims();
    let token = RSA.token(&header(), &claims);
    let [head, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other_body = base64(door.with("session_id", json!("*")).to_string());
    let mut broken = RSA.sign("something else");
    broken.truncate(100);
    for (token, why) in [
        (STRANGER.token(&header(), &claims), "bad_signature"),
        (format!("{head}.{other_body}.{signature}"), "bad_signature"),
        (format!("{head}.{body}."), "bad_signature"),
        (format!("{head}.{body}.{}", base64(broken)), "bad_signature"),
        (format!("{head}.{body}.{signature}A"), "bad_signature"),
        (format!("{head}.{body}.{signature}="), "malformed_token"),
        (format!("{head}.{body}"), "malformed_token"),
        (format!("{head}.{body}.{signature}.{signature}"), "malformed_token"),
        (format!(" {token}"), "malformed_token"),
    ] {
        assert_eq!(door.verify(&token).await, Err(why), "{token}");
    }
}

#[tokio::test]
async fn the_header_cannot_choose_another_algorithm_or_another_key() {
    let door = Door::new().await;
    let claims = door.claims();
    let signed = |header: Value| RSA.token(&header, &claims);
    // The public key as the secret of an HMAC, in each form in which a careless library might use it.
    let public = RSA.jwk("rsa");
    let hmac = |secret: &[u8], alg: &str| {
        let message = format!(
            "{}.{}",
            base64(json!({ "alg": alg, "kid": "rsa" }).to_string()),
            base64(claims.to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", base64(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    let unsigned = |alg: &str| {
        format!("{}.{}.", base64(json!({ "alg": alg, "kid": "rsa" }).to_string()), base64(claims.to_string()))
    };
    let strangers = STRANGER.jwk("rsa");
    for (token, why) in [
        (unsigned("none"), "malformed_token"),
        (unsigned("None"), "malformed_token"),
        (unsigned("RS256"), "bad_signature"),
        (hmac(public["n"].as_str().unwrap().as_bytes(), "HS256"), "unsupported_algorithm"),
        (hmac(public.to_string().as_bytes(), "HS256"), "unsupported_algorithm"),
        (hmac(b"", "RS256"), "bad_signature"),
        (signed(json!({ "alg": "RS512", "kid": "rsa" })), "unsupported_algorithm"),
        (signed(json!({ "alg": "PS256", "kid": "rsa" })), "unsupported_algorithm"),
        (signed(json!({ "alg": "ES256", "kid": "rsa" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": "ec" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": "RSA" })), "unknown_key"),
        (signed(json!({ "alg": "RS256" })), "no_key_id"),
        (signed(json!({ "alg": "RS256", "kid": null })), "no_key_id"),
        (signed(json!({ "kid": "rsa" })), "malformed_token"),
        (signed(json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false })), "critical_header"),
        // A key that the token brings along, and one that it says where to find.
        (
            STRANGER.token(&json!({ "alg": "RS256", "kid": "rsa", "jwk": strangers }), &claims),
            "bad_signature",
        ),
        (STRANGER.token(&json!({ "alg": "RS256", "kid": "own", "jwk": strangers }), &claims), "unknown_key"),
        (
            STRANGER.token(
                &json!({ "alg": "RS256", "kid": "rsa", "jku": format!("{}/own", door.issuer.url) }),
                &claims,
            ),
            "bad_signature",
        ),
    ] {
        assert_eq!(door.verify(&token).await, Err(why), "{token}");
    }
    assert_eq!(door.issuer.asked("/own"), 0);
}

#[tokio::test]
async fn a_key_for_another_use_cannot_take_the_place_of_one_with_its_id() {
    for encryption_first in [true, false] {
        let door = Door::new().await;
        let mut encryption = STRANGER.jwk("rsa");
        encryption["use"] = json!("enc");
        let mut keys = vec![RSA.jwk("rsa"), encryption];
        if encryption_first {
            keys.reverse();
        }
        door.issuer.set("/keys", Reply::Answer(200, json!({ "keys": keys }).to_string()));
        door.read(&door.claims()).await.unwrap();
        let strangers = STRANGER.token(&header(), &door.claims());
        assert_eq!(door.verify(&strangers).await, Err("bad_signature"));
    }
}

#[tokio::test]
async fn a_token_of_any_size_is_answered_at_once() {
    let door = Door::new().await;
    let claims: String = (0..1_000_000).map(|n| format!("\"c{n}\":{n},")).collect();
    let million =
        format!("{}.{}.", base64(header().to_string()), base64(format!("{{{claims}\"aud\":\"hub\"}}")));
    let started = std::time::Instant::now();
    assert_eq!(door.verify(&million).await, Err("token_too_large"));
    assert!(started.elapsed().as_millis() < 100, "{:?}", started.elapsed());
    assert_eq!(door.issuer.asked("/keys"), 0, "it is not worth a question");

    let padded = |bytes: usize| {
        let short = RSA.token(&header(), &door.with("pad", json!("")));
        RSA.token(&header(), &door.with("pad", json!("x".repeat((bytes - short.len()) * 3 / 4 - 3))))
    };
    let largest = padded(MAX_TOKEN_BYTES);
    assert!((MAX_TOKEN_BYTES - 8..=MAX_TOKEN_BYTES).contains(&largest.len()), "{}", largest.len());
    door.verify(&largest).await.unwrap();
    assert_eq!(door.verify(&padded(MAX_TOKEN_BYTES + 16)).await, Err("token_too_large"));
}

#[tokio::test]
async fn claims_that_choke_a_parser_are_refused() {
    let door = Door::new().await;
    let text = |claims: &str| {
        let message = format!("{}.{}", base64(header().to_string()), base64(claims));
        format!("{message}.{}", base64(RSA.sign(&message)))
    };
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let good = door.claims().to_string();
    for claims in [
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        format!("{{\"deep\":{deep}}}"),
        good.replace("\"exp\":", "\"exp\":0,\"exp\":"),
        good.replace("\"iss\":", "\"iss\":\"x\",\"iss\":"),
        good.replace("alice", "\\ud800"),
    ] {
        assert_eq!(door.verify(&text(&claims)).await, Err("malformed_token"), "{claims}");
    }
}

#[test]
fn no_text_at_all_makes_it_panic_or_passes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let door = runtime.block_on(Door::new());
    let part = prop_oneof![
        any::<String>(),
        any::<String>().prop_map(base64),
        "\\{\"alg\":\"(RS256|ES256|EdDSA|HS256|none)\",\"kid\":\"(rsa|ec|ed|x)\"\\}".prop_map(base64),
        Just(base64(door.claims().to_string())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(base64),
    ];
    let token =
        prop_oneof![any::<String>(), prop::collection::vec(part, 1..5).prop_map(|parts| parts.join(".")),];
    let config = ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&token, |token| {
            prop_assert!(runtime.block_on(door.verify(&token)).is_err());
            Ok(())
        })
        .unwrap();
}

/// One byte of a good token at a time.
#[tokio::test]
async fn no_change_to_a_good_token_goes_unnoticed() {
    let door = Door::new().await;
    for (key, kid) in [(&*RSA as &SigningKey, "rsa"), (&EC, "ec"), (&ED, "ed")] {
        let token = key.token(&json!({ "alg": key.algorithm(), "kid": kid }), &door.claims());
        door.verify(&token).await.unwrap();
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(door.verify(&changed).await.is_err(), "{position} of {token}");
        }
    }
}
