//! Valid and invalid tokens: claim by claim, and by all known attacks.

use harness::issuer::{ED25519, Issuer as Server, P256, P384, RSA, STRANGER, SigningKey, base64};
use hub::protocol::SessionId;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use super::*;
use crate::keys::{
    Keys, SignatureCheck,
    tests::{settings, tls},
};

struct Setup {
    server: Server,
    issuer: Issuer,
    keys: Keys,
}

impl Setup {
    async fn new() -> Self {
        Self::with_settings(&json!({})).await
    }

    async fn with_settings(more: &Value) -> Self {
        let keys = [("rsa", &*RSA), ("p256", &P256), ("p384", &P384), ("ed", &ED25519)];
        let server = Server::start(&keys).await;
        let issuer = settings(&server, more);
        let keys = Keys::new(&issuer, tls());
        Self { server, issuer, keys }
    }

    fn claims(&self) -> Value {
        json!({ "iss": self.server.url, "aud": "hub", "exp": now_seconds() + 600, "session_id": "alice" })
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
        let token = Token::parse(token)?;
        match self.keys.check(token.signed()).await.unwrap() {
            SignatureCheck::Valid => token.read(&self.issuer).map_err(|refusal| refusal.why),
            SignatureCheck::Invalid | SignatureCheck::UnknownKey { tried: true } => Err("bad_signature"),
            SignatureCheck::UnknownKey { tried: false } => Err("unknown_key"),
        }
    }

    /// The result for these claims with a valid signature.
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
    let setup = Setup::new().await;
    let rsa =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|algorithm| (&*RSA, "rsa", algorithm));
    let others: [(&SigningKey, _, _); 4] = [
        (&P256, "p256", "ES256"),
        (&P384, "p384", "ES384"),
        (&ED25519, "ed", "EdDSA"),
        (&ED25519, "ed", "Ed25519"),
    ];
    for (key, kid, algorithm) in rsa.into_iter().chain(others) {
        for header in [json!({ "alg": algorithm, "kid": kid }), json!({ "alg": algorithm })] {
            let claims = setup.verify(&key.token(&header, &setup.claims())).await;
            assert_eq!(claims.unwrap().sessions.only(), Some(&id("alice")), "{header}");
        }
    }
}

#[tokio::test]
async fn each_registered_claim_must_be_there_and_right() {
    let setup = Setup::new().await;
    let now = now_seconds();
    for (claims, why) in [
        (setup.without("aud"), "no_audience"),
        (setup.with("aud", json!(null)), "wrong_audience"),
        (setup.with("aud", json!("Hub")), "wrong_audience"),
        (setup.with("aud", json!("")), "wrong_audience"),
        (setup.with("aud", json!([])), "wrong_audience"),
        (setup.with("aud", json!(["other", "another"])), "wrong_audience"),
        (setup.with("aud", json!(["hub", 1])), "wrong_audience"),
        (setup.with("aud", json!({ "hub": true })), "wrong_audience"),
        (setup.without("exp"), "no_expiry"),
        (setup.with("exp", json!(null)), "no_expiry"),
        (setup.with("exp", json!((now + 600).to_string())), "no_expiry"),
        (setup.with("exp", json!(-1)), "no_expiry"),
        (setup.with("exp", json!(0)), "expired"),
        (setup.with("exp", json!(now)), "expired"),
        (setup.with("exp", json!(now - 10)), "expired"),
        (setup.with("nbf", json!(now + 70)), "not_yet_valid"),
        (setup.with("nbf", json!(u64::MAX)), "not_yet_valid"),
        (setup.with("nbf", json!("now")), "bad_nbf"),
    ] {
        assert_eq!(setup.read(&claims).await, Err(why), "{claims}");
    }
    for claims in [
        setup.with("aud", json!(["other", "hub"])),
        setup.with("exp", json!(now + 5)),
        setup.with("nbf", json!(now + 50)),
        setup.with("nbf", json!(0)),
        setup.with("nbf", json!(1.5)),
        setup.with("nbf", json!(null)),
        setup.with("iat", json!(now + 9000)),
        setup.with("more", json!({ "any": "thing" })),
    ] {
        setup.read(&claims).await.unwrap_or_else(|why| panic!("{why}: {claims}"));
    }
}

#[test]
fn the_issuer_is_read_only_from_a_string() {
    let issuer = |claims: Value| {
        let token = RSA.token(&header(), &claims);
        Token::parse(&token).unwrap().issuer().map(str::to_owned)
    };
    assert_eq!(issuer(json!({ "iss": "https://a" })).as_deref(), Some("https://a"));
    for claims in [json!({}), json!({ "iss": ["https://a"] }), json!({ "iss": 1 }), json!({ "iss": null })] {
        assert_eq!(issuer(claims.clone()), None, "{claims}");
    }
}

#[tokio::test]
async fn the_expiry_is_the_tokens() {
    let setup = Setup::new().await;
    let start = now_seconds();
    let end = async |exp: Value| setup.read(&setup.with("exp", exp)).await.unwrap().expires_at;
    assert_eq!(end(json!(start + 600)).await, start + 600);
    assert_eq!(end(json!(4_102_444_800.9)).await, 4_102_444_800);
    assert_eq!(end(json!(u64::MAX)).await, i64::MAX);
}

#[tokio::test]
async fn an_audience_may_be_one_of_several_and_in_another_claim() {
    let settings = json!({ "audiences": ["chat", "chat-mobile"], "audience_claim": "client_id" });
    let setup = Setup::with_settings(&settings).await;
    for (client, aud, result) in [
        (json!("chat"), "hub", Ok(())),
        (json!("chat-mobile"), "hub", Ok(())),
        (json!(["chat-mobile"]), "hub", Ok(())),
        (json!("chat-mob"), "chat", Err("wrong_audience")),
    ] {
        let mut claims = setup.with("client_id", client.clone());
        claims["aud"] = json!(aud);
        assert_eq!(setup.read(&claims).await.map(|_| ()), result, "{client}");
    }
    assert_eq!(setup.read(&setup.with("aud", json!("chat"))).await, Err("no_audience"));
}

#[tokio::test]
async fn the_sessions_are_those_of_the_claim() {
    let setup = Setup::new().await;
    for claim in
        [json!(null), json!(""), json!("a b"), json!("a*b"), json!(["a", null]), json!(7.5), json!(true)]
    {
        assert_eq!(
            setup.read(&setup.with("session_id", claim.clone())).await,
            Err("bad_session_claim"),
            "{claim}"
        );
    }
    assert_eq!(setup.read(&setup.without("session_id")).await, Err("no_session_claim"));
    let sessions = async |claim| setup.read(&setup.with("session_id", claim)).await.unwrap().sessions;
    let some = sessions(json!(["a", "room-*"])).await;
    assert!(some.covers(&id("a")) && some.covers(&id("room-1")) && !some.covers(&id("A")));
    assert!(!sessions(json!([])).await.covers(&id("a")));
    assert!(sessions(json!("*")).await.covers(&id("anything")));
    for (claim, name) in [
        (json!("auth0|64af"), "auth0|64af"),
        (json!("ann+test@example.com"), "ann+test@example.com"),
        (json!("o'brien@example.com"), "o'brien@example.com"),
        (json!("spiffe://a/b"), "spiffe://a/b"),
        (json!(42), "42"),
        (json!(-7), "-7"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(i64::MIN), "-9223372036854775808"),
    ] {
        assert_eq!(sessions(claim.clone()).await.only(), Some(&id(name)), "{claim}");
    }
}

/// `42.0`, `1e3` and numbers beyond 64 bits have several spellings, so they are not names.
#[tokio::test]
async fn a_number_with_several_spellings_is_not_a_name() {
    let setup = Setup::new().await;
    for number in ["42.0", "1e3", "18446744073709551616", "-9223372036854775809", "-0", "1E400"] {
        let claims = setup.claims().to_string().replace("\"alice\"", number);
        let message = format!("{}.{}", base64(header().to_string()), base64(claims));
        let token = format!("{message}.{}", base64(RSA.sign("RS256", &message)));
        let why = setup.verify(&token).await.unwrap_err();
        assert!(
            why == "bad_session_claim" || (number == "1E400" && why == "malformed_token"),
            "{number}: {why}"
        );
    }
}

#[tokio::test]
async fn send_to_and_subscribe_to_have_their_own_claims() {
    let setup = Setup::new().await;
    for (name, word) in [("send_to", "bad_send_claim"), ("subscribe_to", "bad_subscribe_claim")] {
        for claim in [json!(null), json!(7.5), json!(["a", "b c"])] {
            assert_eq!(setup.read(&setup.with(name, claim.clone())).await, Err(word), "{claim}");
        }
    }
    let read = setup.read(&setup.claims()).await.unwrap();
    assert_eq!((read.send_to, read.subscribe_to), (None, None));
    let read = setup.read(&setup.with("send_to", json!(["b*"]))).await.unwrap();
    let others = read.send_to.unwrap();
    assert!(others.covers(&id("bob")) && !others.covers(&id("alice")) && read.subscribe_to.is_none());
    let read = setup.read(&setup.with("subscribe_to", json!(["room-*", 7]))).await.unwrap();
    let rooms = read.subscribe_to.unwrap();
    assert!(rooms.covers(&id("room-1")) && rooms.covers(&id("7")) && read.send_to.is_none());
    let nobody = setup.read(&setup.with("send_to", json!([]))).await.unwrap().send_to.unwrap();
    assert!(!nobody.covers(&id("alice")));
}

/// A user who signs up as `*` must not get every session.
#[tokio::test]
async fn without_patterns_a_star_in_any_claim_denies_the_token() {
    let setup = Setup::with_settings(&json!({ "patterns": null, "session_claim": "sub" })).await;
    let with = |name: &str, claim: Value| {
        let mut claims = setup.with("sub", json!("alice"));
        claims[name] = claim;
        claims
    };
    for (name, word) in [
        ("sub", "pattern_in_session_claim"),
        ("send_to", "pattern_in_send_claim"),
        ("subscribe_to", "pattern_in_subscribe_claim"),
    ] {
        for claim in [json!("*"), json!("bo*"), json!("*bob"), json!("b*b"), json!("**"), json!(["bob", "*"])]
        {
            assert_eq!(setup.read(&with(name, claim.clone())).await, Err(word), "{name} {claim}");
        }
    }
    let refusal = RSA.token(&header(), &with("sub", json!("*")));
    let refusal = Token::parse(&refusal).unwrap().read(&setup.issuer).unwrap_err();
    assert_eq!(refusal.claim.as_deref(), Some("sub"));
    assert!(setup.read(&with("send_to", json!(["bob", "carol"]))).await.is_ok());
}

#[tokio::test]
async fn claims_may_be_anywhere_in_a_token() {
    let settings = json!({
        "session_claim": "/app_metadata/sessions/0",
        "send_claim": "https://example.com/to",
        "subscribe_claim": "/resource_access/hub~1chat/rooms",
        "audience_claim": "/client/id",
    });
    let setup = Setup::with_settings(&settings).await;
    let mut claims = setup.without("session_id");
    claims["app_metadata"] = json!({ "sessions": ["carol", "dave"] });
    claims["https://example.com/to"] = json!(["erin"]);
    claims["resource_access"] = json!({ "hub/chat": { "rooms": ["room-1"] } });
    claims["client"] = json!({ "id": "hub" });
    let read = setup.read(&claims).await.unwrap();
    assert_eq!(read.sessions.only(), Some(&id("carol")));
    assert!(read.send_to.unwrap().covers(&id("erin")) && read.subscribe_to.unwrap().covers(&id("room-1")));

    claims["app_metadata"] = json!({ "sessions": "carol" });
    let token = RSA.token(&header(), &claims);
    let refusal = Token::parse(&token).unwrap().read(&setup.issuer).unwrap_err();
    assert_eq!(
        (refusal.why, refusal.claim.as_deref()),
        ("no_session_claim", Some("/app_metadata/sessions/0"))
    );
}

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let setup = Setup::new().await;
    let claims = setup.claims();
    let token = RSA.token(&header(), &claims);
    let [head, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other_body = base64(setup.with("session_id", json!("*")).to_string());
    let mut broken = RSA.sign("RS256", "something else");
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
        assert_eq!(setup.verify(&token).await, Err(why), "{token}");
    }
}

#[tokio::test]
async fn the_header_cannot_choose_another_algorithm_or_another_key() {
    let setup = Setup::new().await;
    let claims = setup.claims();
    let signed = |header: Value| RSA.token(&header, &claims);
    // The public key as the secret of an HMAC, in each form that a careless library might use.
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
        (unsigned("none"), "unsupported_algorithm"),
        (unsigned("None"), "unsupported_algorithm"),
        (unsigned("RS256"), "bad_signature"),
        (hmac(public["n"].as_str().unwrap().as_bytes(), "HS256"), "unsupported_algorithm"),
        (hmac(public.to_string().as_bytes(), "HS256"), "unsupported_algorithm"),
        (hmac(b"", "RS256"), "bad_signature"),
        (signed(json!({ "alg": "ES512", "kid": "rsa" })), "unsupported_algorithm"),
        (signed(json!({ "alg": "ES256", "kid": "rsa" })), "unknown_key"),
        (signed(json!({ "alg": "ES384", "kid": "p256" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": "p256" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": "RSA" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": 7 })), "malformed_token"),
        (signed(json!({ "alg": ["RS256"], "kid": "rsa" })), "malformed_token"),
        (signed(json!({ "kid": "rsa" })), "malformed_token"),
        (signed(json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false })), "critical_header"),
        (signed(json!({ "alg": "RS256", "kid": "rsa", "crit": null })), "critical_header"),
        // A key in the token itself, and the address of a key.
        (
            STRANGER.token(&json!({ "alg": "RS256", "kid": "rsa", "jwk": strangers }), &claims),
            "bad_signature",
        ),
        (STRANGER.token(&json!({ "alg": "RS256", "kid": "own", "jwk": strangers }), &claims), "unknown_key"),
        (
            STRANGER.token(
                &json!({ "alg": "RS256", "kid": "rsa", "jku": format!("{}/own", setup.server.url) }),
                &claims,
            ),
            "bad_signature",
        ),
    ] {
        assert_eq!(setup.verify(&token).await, Err(why), "{token}");
    }
    assert_eq!(setup.server.asked("/own"), 0);
}

#[tokio::test]
async fn a_key_for_another_use_does_not_hide_one_with_the_same_id() {
    for encryption_first in [true, false] {
        let setup = Setup::new().await;
        let mut encryption = STRANGER.jwk("rsa");
        encryption["use"] = json!("enc");
        let mut keys = vec![RSA.jwk("rsa"), encryption];
        if encryption_first {
            keys.reverse();
        }
        setup.server.set(Server::KEYS, json!({ "keys": keys }));
        setup.read(&setup.claims()).await.unwrap();
        let strangers = STRANGER.token(&header(), &setup.claims());
        assert_eq!(setup.verify(&strangers).await, Err("bad_signature"));
    }
}

#[tokio::test]
async fn a_token_of_any_size_is_checked_quickly() {
    let setup = Setup::new().await;
    let claims: String = (0..1_000_000).map(|n| format!("\"c{n}\":{n},")).collect();
    let million =
        format!("{}.{}.", base64(header().to_string()), base64(format!("{{{claims}\"aud\":\"hub\"}}")));
    let started = std::time::Instant::now();
    assert_eq!(setup.verify(&million).await, Err("token_too_large"));
    assert!(started.elapsed().as_millis() < 100, "{:?}", started.elapsed());
    assert_eq!(setup.server.asked(Server::KEYS), 0, "it is not worth a question");

    let padded = |bytes: usize| {
        let short = RSA.token(&header(), &setup.with("pad", json!("")));
        RSA.token(&header(), &setup.with("pad", json!("x".repeat((bytes - short.len()) * 3 / 4 - 3))))
    };
    let largest = padded(MAX_TOKEN_BYTES);
    assert!((MAX_TOKEN_BYTES - 8..=MAX_TOKEN_BYTES).contains(&largest.len()), "{}", largest.len());
    setup.verify(&largest).await.unwrap();
    assert_eq!(setup.verify(&padded(MAX_TOKEN_BYTES + 16)).await, Err("token_too_large"));
    for (bytes, why) in [(MAX_TOKEN_BYTES, "malformed_token"), (MAX_TOKEN_BYTES + 1, "token_too_large")] {
        assert_eq!(Token::parse(&"a".repeat(bytes)).unwrap_err(), why);
    }
}

#[tokio::test]
async fn claims_that_are_hard_to_parse_are_refused() {
    let setup = Setup::new().await;
    let text = |claims: &str| {
        let message = format!("{}.{}", base64(header().to_string()), base64(claims));
        format!("{message}.{}", base64(RSA.sign("RS256", &message)))
    };
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let good = setup.claims().to_string();
    for claims in [
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        format!("{{\"deep\":{deep}}}"),
        good.replace("\"exp\":", "\"exp\":0,\"exp\":"),
        good.replace("\"iss\":", "\"iss\":\"x\",\"iss\":"),
        good.replace("alice", "\\ud800"),
        good.replace("\"exp\":", "\"app\":{\"a\":1,\"b\":2,\"a\":1},\"exp\":"),
    ] {
        assert_eq!(setup.verify(&text(&claims)).await, Err("malformed_token"), "{claims}");
    }
}

#[test]
fn no_text_causes_a_panic_or_is_accepted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let setup = runtime.block_on(Setup::new());
    let part = prop_oneof![
        any::<String>(),
        any::<String>().prop_map(base64),
        "\\{\"alg\":\"(RS256|PS512|ES256|ES384|EdDSA|HS256|none)\",\"kid\":\"(rsa|p256|p384|ed|x)\"\\}"
            .prop_map(base64),
        Just(base64(setup.claims().to_string())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(base64),
    ];
    let token =
        prop_oneof![any::<String>(), prop::collection::vec(part, 1..5).prop_map(|parts| parts.join(".")),];
    let config = ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&token, |token| {
            prop_assert!(runtime.block_on(setup.verify(&token)).is_err());
            Ok(())
        })
        .unwrap();
}

/// Changes one byte of a valid token at a time.
#[tokio::test]
async fn every_change_to_a_valid_token_is_detected() {
    let setup = Setup::new().await;
    for (key, kid) in [(&*RSA as &SigningKey, "rsa"), (&P256, "p256"), (&P384, "p384"), (&ED25519, "ed")] {
        let token = key.token(&json!({ "alg": key.algorithm(), "kid": kid }), &setup.claims());
        setup.verify(&token).await.unwrap();
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(setup.verify(&changed).await.is_err(), "{position} of {token}");
        }
    }
}
