//! Tokens that are valid, and the claims that each must have.

mod bad_input;
mod claims;
mod forgeries;

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
