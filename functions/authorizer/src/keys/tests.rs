//! Which key checks a signature, and for how long a key is known.

mod bad_answers;
mod waiting;

use harness::issuer::{Document, ED25519, Issuer as Server, P256, RSA, STRANGER, SigningKey};
use hub::config::Variables;
use serde_json::json;
use tokio::time::{self, Instant};

use super::*;
use crate::config;

/// The TLS configuration for addresses on loopback, which do not use it.
pub(crate) fn tls() -> Tls {
    hub::tls::config(&[], &Variables::of::<&str>(&[])).unwrap()
}

/// The settings of an issuer on loopback, with these added.
pub(crate) fn settings(server: &Server, more: &Value) -> Issuer {
    let mut issuer = json!({ "issuer": server.url, "audiences": ["hub"], "patterns": true });
    issuer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let list = json!([issuer]).to_string();
    config::read(&Variables::of(&[("AUTH_ISSUERS", list)])).unwrap().remove(0)
}

fn keys_of(server: &Server) -> Keys {
    Keys::new(&settings(server, &json!({})), tls())
}

/// Advances the clock without waiting, and without delaying tasks that wait for a socket.
pub(crate) async fn later(duration: Duration) {
    time::pause();
    time::advance(duration).await;
    time::resume();
}

/// The time that a busy machine may need for a few lines of a test.
const BUSY: Duration = Duration::from_secs(9);

/// A pause with the largest jitter.
fn jittered(pause: u64) -> Duration {
    Duration::from_millis(pause * 1250)
}

/// Checks a signature by `key` in a token whose header names `id`.
async fn check(keys: &Keys, key: &SigningKey, id: Option<&str>) -> Result<SignatureCheck, Failure> {
    let signature = key.sign(key.algorithm(), "message");
    let algorithm = Algorithm::named(key.algorithm()).unwrap();
    keys.check(SignedMessage { key_id: id, algorithm, message: b"message", signature: &signature }).await
}

/// Whether the RSA key is known under this id.
async fn has(keys: &Keys, id: &str) -> Result<bool, Failure> {
    Ok(check(keys, &RSA, Some(id)).await? == SignatureCheck::Valid)
}

#[tokio::test]
async fn a_key_is_fetched_once_and_then_known() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    for _ in 0..3 {
        assert!(has(&keys, "one").await.unwrap());
    }
    assert_eq!((server.asked(Server::DISCOVERY), server.asked(Server::KEYS)), (1, 1));
}

#[tokio::test]
async fn a_given_address_is_used_without_discovery_and_the_issuer_may_be_no_url() {
    let server = Server::start(&[("one", &RSA)]).await;
    for (address, path) in
        [("/elsewhere?tenant=1", "/elsewhere?tenant=1"), ("?tenant=2", "/?tenant=2"), ("", "/")]
    {
        server.set(path, json!({ "keys": [RSA.jwk(path)] }));
        let jwks_url = format!("{}{address}", server.url);
        let keys = Keys::new(&settings(&server, &json!({ "issuer": "my-app", "jwks_url": jwks_url })), tls());
        assert!(has(&keys, path).await.unwrap(), "{address}");
    }
    assert_eq!(server.asked(Server::DISCOVERY), 0);
}

/// A key of a set, without an id.
fn bare(key: &SigningKey) -> Value {
    key.jwk_with("", &json!({ "kid": null }))
}

#[tokio::test]
async fn a_key_is_chosen_by_its_id_and_else_by_its_kind() {
    let server = Server::start(&[]).await;
    let of = async |jwks: Value, key: &SigningKey, id| {
        server.set(Server::KEYS, json!({ "keys": jwks }));
        check(&keys_of(&server), key, id).await.unwrap()
    };
    use SignatureCheck::{Invalid, Valid};
    let (unknown, none_made_it) =
        (SignatureCheck::UnknownKey { tried: false }, SignatureCheck::UnknownKey { tried: true });
    for (jwks, id, verdict) in [
        (json!([RSA.jwk("one")]), Some("one"), Valid),
        (json!([RSA.jwk("one")]), Some("ONE"), unknown),
        (json!([RSA.jwk("one")]), None, Valid),
        (json!([bare(&RSA)]), None, Valid),
        (json!([bare(&RSA)]), Some("one"), Valid),
        (json!([bare(&STRANGER), bare(&RSA)]), Some("one"), Valid),
        (json!([STRANGER.jwk("one"), RSA.jwk("one")]), Some("one"), Valid),
        (json!([STRANGER.jwk("one"), RSA.jwk("two")]), None, Valid),
        // If a key has the id, no other key is used.
        (json!([STRANGER.jwk("one"), bare(&RSA)]), Some("one"), Invalid),
        (json!([P256.jwk("one"), bare(&RSA)]), Some("one"), unknown),
        (json!([STRANGER.jwk("one"), RSA.jwk("two")]), Some("one"), Invalid),
        (json!([bare(&STRANGER)]), None, none_made_it),
        (json!([bare(&STRANGER)]), Some("one"), none_made_it),
        (json!([P256.jwk("one"), ED25519.jwk("two")]), None, unknown),
    ] {
        assert_eq!(of(jwks.clone(), &RSA, id).await, verdict, "{jwks} {id:?}");
    }
    let mut crowd = vec![STRANGER.jwk("one"); MOST_TRIED - 1];
    crowd.push(RSA.jwk("two"));
    assert_eq!(of(json!(crowd), &RSA, None).await, Valid);
    crowd.insert(0, STRANGER.jwk("one"));
    assert_eq!(
        of(json!(crowd), &RSA, None).await,
        none_made_it,
        "no token keeps the processor busy for long"
    );
}

#[tokio::test]
async fn a_key_replaced_under_the_same_id_is_fetched() {
    for kid in [Value::Null, json!("one")] {
        let server = Server::start(&[]).await;
        let set = |key: &SigningKey| {
            server.set(Server::KEYS, json!({ "keys": [key.jwk_with("", &json!({ "kid": kid }))] }));
        };
        set(&STRANGER);
        let keys = keys_of(&server);
        for id in [None, Some("one")] {
            assert_eq!(check(&keys, &STRANGER, id).await.unwrap(), SignatureCheck::Valid);
        }
        set(&RSA);
        for id in [None, Some("one")] {
            assert_ne!(check(&keys, &RSA, id).await.unwrap(), SignatureCheck::Valid, "it is too early");
        }
        later(REFRESH_EVERY).await;
        for id in [Some("one"), None] {
            assert_eq!(check(&keys, &RSA, id).await.unwrap(), SignatureCheck::Valid, "{kid} {id:?}");
        }
        assert_eq!(server.asked(Server::KEYS), 2);
    }
}

/// A signature that no key without an id has made may be by its successor. A signature that the named key has not made
/// is invalid.
#[tokio::test]
async fn while_an_issuer_is_unreachable_a_signature_that_may_be_valid_is_a_failure() {
    let server = Server::start(&[]).await;
    server.set(Server::KEYS, json!({ "keys": [bare(&STRANGER), STRANGER.jwk("one")] }));
    let keys = keys_of(&server);
    assert_eq!(check(&keys, &STRANGER, None).await.unwrap(), SignatureCheck::Valid);
    server.set(Server::KEYS, Document::Text(500, String::new()));
    later(REFRESH_EVERY).await;
    for id in [None, Some("two")] {
        assert!(matches!(check(&keys, &RSA, id).await, Err(Failure::Other { cause: "keys", .. })), "{id:?}");
    }
    assert_eq!(check(&keys, &RSA, Some("one")).await.unwrap(), SignatureCheck::Invalid);
    for id in [None, Some("one"), Some("two")] {
        assert_eq!(check(&keys, &STRANGER, id).await.unwrap(), SignatureCheck::Valid, "{id:?}");
    }
}

#[tokio::test]
async fn a_withdrawn_key_is_used_for_ten_minutes_at_most() {
    let server = Server::start(&[("old", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "old").await.unwrap());
    server.set_keys(&[("new", &STRANGER)]);
    later(MAX_AGE - BUSY).await;
    assert!(has(&keys, "old").await.unwrap());
    later(BUSY).await;
    assert!(!has(&keys, "old").await.unwrap());
}

#[tokio::test]
async fn a_known_key_outlives_its_issuer_and_an_unknown_one_is_then_a_failure() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "one").await.unwrap());
    server.set(Server::KEYS, Document::Text(503, "down".into()));
    for _ in 0..3 {
        later(MAX_AGE).await;
        assert!(has(&keys, "one").await.unwrap());
        assert!(matches!(has(&keys, "two").await, Err(Failure::Other { cause: "keys", .. })));
    }
    assert_eq!(server.asked(Server::KEYS), 4, "once in each round: the second question had its answer");
}

#[tokio::test]
async fn keys_that_have_moved_are_found_again() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "one").await.unwrap());
    server.set(Server::KEYS, Document::Text(404, String::new()));
    server.set("/moved", json!({ "keys": [RSA.jwk("two")] }));
    server.point_to("/moved");
    later(REFRESH_EVERY).await;
    has(&keys, "two").await.unwrap_err();
    later(jittered(1)).await;
    assert!(has(&keys, "two").await.unwrap());
}
