//! Issuers that rotate their keys, fail and misbehave.

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
async fn unknown_keys_make_the_function_ask_at_most_every_thirty_seconds() {
    let server = Server::start(&[("old", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "old").await.unwrap());
    server.set_keys(&[("new", &RSA)]);
    for _ in 0..3 {
        assert!(!has(&keys, "new").await.unwrap());
    }
    later(REFRESH_EVERY - Duration::from_secs(1)).await;
    assert!(!has(&keys, "new").await.unwrap());
    assert_eq!(server.asked(Server::KEYS), 1);
    later(Duration::from_secs(1)).await;
    assert!(has(&keys, "new").await.unwrap());
    assert!(!has(&keys, "old").await.unwrap(), "a withdrawn key goes with the next set");
    assert_eq!((server.asked(Server::DISCOVERY), server.asked(Server::KEYS)), (1, 2));
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
    later(MAX_AGE - Duration::from_secs(1)).await;
    assert!(has(&keys, "old").await.unwrap());
    later(Duration::from_secs(1)).await;
    assert!(!has(&keys, "old").await.unwrap());
}

#[tokio::test]
async fn a_set_without_a_usable_key_is_a_failure_with_a_reason_and_withdraws_the_earlier_keys() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "one").await.unwrap());
    let mut encryption = RSA.jwk("one");
    encryption["use"] = json!("enc");
    for (set, why) in [
        (json!([]), "is empty"),
        (
            json!([encryption, { "kty": "EC", "crv": "P-521" }]),
            r#"its use is "enc" and not "sig"; its kty is "EC""#,
        ),
    ] {
        server.set(Server::KEYS, json!({ "keys": set }));
        later(MAX_AGE).await;
        let failure = has(&keys, "one").await.unwrap_err().to_string();
        assert!(failure.contains(why), "{failure}");
    }
    server.set_keys(&[("one", &RSA)]);
    later(jittered(2)).await;
    assert!(has(&keys, "one").await.unwrap(), "and it is asked again soon");
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

/// A freeze between two invocations: an hour by the wall clock alone.
#[tokio::test]
async fn the_time_of_a_freeze_counts() {
    let server = Server::start(&[("old", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "old").await.unwrap());
    server.set_keys(&[("new", &RSA)]);
    assert!(!has(&keys, "new").await.unwrap(), "it is too early to ask again");
    let hour = Duration::from_secs(3600);
    let turn = |change: fn(&mut SystemTime, Duration)| {
        let mut state = keys.state.borrow_mut();
        change(&mut state.attempt.as_mut().unwrap().wall, hour);
        change(&mut state.fetched.as_mut().unwrap().wall, hour);
    };
    turn(|wall, hour| *wall -= hour);
    assert!(!has(&keys, "old").await.unwrap(), "it has been withdrawn meanwhile");
    assert!(has(&keys, "new").await.unwrap());

    turn(|wall, hour| *wall += hour);
    assert!(has(&keys, "new").await.unwrap(), "a wall clock that was set back does no harm");
    later(MAX_AGE).await;
    server.set_keys(&[("newest", &STRANGER)]);
    assert!(!has(&keys, "new").await.unwrap(), "nor does it make the keys fresh for ever");
}

#[tokio::test]
async fn an_attempt_that_is_cut_short_counts() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "one").await.unwrap());
    server.set(Server::KEYS, Document::Silence);
    later(REFRESH_EVERY).await;
    assert!(timeout(Duration::from_millis(100), has(&keys, "two")).await.is_err(), "it waits for the issuer");
    let failure = has(&keys, "two").await.unwrap_err().to_string();
    assert!(failure.contains("cut short"), "{failure}");
    assert!(has(&keys, "one").await.unwrap());
    assert_eq!(server.asked(Server::KEYS), 2);
}

#[tokio::test]
async fn a_token_with_a_known_key_does_not_wait_for_a_slow_issuer() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "one").await.unwrap());
    server.set(Server::KEYS, Document::Silence);
    later(MAX_AGE).await;
    time::pause();
    let started = Instant::now();
    assert!(has(&keys, "one").await.unwrap());
    let first = started.elapsed();
    assert!((PATIENCE..PATIENCE + Duration::from_millis(10)).contains(&first), "{first:?}");
    assert!(has(&keys, "one").await.unwrap());
    assert_eq!(started.elapsed(), first, "not a second time");
}

/// Otherwise every token with a known key would cut an attempt short, and no new key would ever be fetched.
#[tokio::test]
async fn the_second_attempt_waits_for_a_slow_issuer() {
    let server = Server::start(&[("old", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "old").await.unwrap());
    let newer = json!({ "keys": [RSA.jwk("new")] });
    server.set(Server::KEYS, Document::After(PATIENCE * 2, Box::new(newer.into())));
    later(MAX_AGE).await;
    time::pause();
    assert!(has(&keys, "old").await.unwrap(), "it was cut short");
    assert!(has(&keys, "old").await.unwrap(), "and it is too early for another");
    time::advance(jittered(1)).await;
    assert!(!has(&keys, "old").await.unwrap(), "it has been withdrawn");
    assert!(has(&keys, "new").await.unwrap());
    assert_eq!(server.asked(Server::KEYS), 3);
}

/// The pause after the last attempt, which does not depend on the speed of the machine.
fn pause_of(keys: &Keys) -> Duration {
    keys.state.borrow().pause
}

/// The time that a busy machine may need for a few lines of a test.
const BUSY: Duration = Duration::from_millis(400);

#[tokio::test]
async fn the_pause_doubles_with_each_failure_of_the_issuer() {
    let server = Server::start(&[("one", &RSA)]).await;
    server.set(Server::DISCOVERY, Document::Text(500, String::new()));
    let keys = keys_of(&server);
    let mut asked = 0;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        for _ in 0..3 {
            assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
        }
        asked += 1;
        assert_eq!(server.asked(Server::DISCOVERY), asked, "before {pause} s");
        let exactly = pause_of(&keys);
        assert!((Duration::from_secs(pause)..=jittered(pause)).contains(&exactly), "{exactly:?}");
        later(exactly - BUSY).await;
        assert!(has(&keys, "one").await.is_err());
        assert_eq!(server.asked(Server::DISCOVERY), asked, "within {pause} s");
        later(BUSY).await;
    }
    server.point_to("/keys");
    assert!(has(&keys, "one").await.unwrap());
    server.set(Server::KEYS, Document::Text(500, String::new()));
    later(REFRESH_EVERY).await;
    has(&keys, "two").await.unwrap_err();
    later(jittered(1)).await;
    has(&keys, "two").await.unwrap_err();
    assert_eq!(
        server.asked(Server::DISCOVERY),
        asked + 2,
        "a success begins the row anew, a failure the search"
    );
}

#[tokio::test]
async fn retry_after_is_respected() {
    for (retry_after, heeded) in [
        (Some("120"), 120),
        (None, 120),
        (Some("0"), 1),
        (Some("soon"), 1),
        (Some("-5"), 1),
        (Some("86400"), 600),
    ] {
        let server = Server::start(&[("one", &RSA)]).await;
        // A date has no fractions of a second, and some time passes before it is read.
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(heeded + 3));
        server.set(Server::KEYS, Document::Throttled(retry_after.unwrap_or(&date).into()));
        let keys = keys_of(&server);
        has(&keys, "one").await.unwrap_err();
        let exactly = pause_of(&keys);
        let latest = jittered(heeded + if retry_after.is_none() { 3 } else { 0 });
        assert!((Duration::from_secs(heeded)..=latest).contains(&exactly), "{retry_after:?}: {exactly:?}");
        later(exactly - BUSY).await;
        has(&keys, "one").await.unwrap_err();
        assert_eq!(server.asked(Server::KEYS), 1, "{retry_after:?}");
        server.set_keys(&[("one", &RSA)]);
        later(BUSY).await;
        assert!(has(&keys, "one").await.unwrap(), "{retry_after:?}");
        assert_eq!(server.asked(Server::DISCOVERY), 1, "it has not moved");
    }
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

#[tokio::test]
async fn each_unusable_answer_is_a_failure_with_its_reason() {
    let answer = |body: &str| Document::Text(200, body.to_owned());
    let other = answer(r#"{"issuer":"https://other.example","jwks_uri":"x"}"#);
    for (path, document, says) in [
        (Server::DISCOVERY, other, "https://other.example"),
        (Server::DISCOVERY, answer("{}"), "not the expected JSON"),
        (Server::DISCOVERY, answer("<html>"), "not the expected JSON"),
        (Server::DISCOVERY, Document::Redirect("/keys"), "302"),
        (Server::KEYS, Document::Text(404, String::new()), "404"),
        (Server::KEYS, Document::Redirect("/moved"), "302"),
        (Server::KEYS, answer("{\"keys\":{}}"), "not the expected JSON"),
        (
            Server::KEYS,
            answer(&format!("{{\"keys\":[]}}{}", " ".repeat(MAX_ANSWER_BYTES))),
            "is incomplete or too long",
        ),
    ] {
        let server = Server::start(&[("one", &RSA)]).await;
        server.set("/moved", json!({ "keys": [RSA.jwk("one")] }));
        server.set(path, document);
        let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
        assert!(failure.contains(says), "{path} {says}: {failure}");
        assert_eq!(server.asked("/moved"), 0, "a redirect could lead anywhere");
    }
}

#[tokio::test]
async fn keys_are_fetched_over_https_or_from_this_machine_wherever_the_issuer_points() {
    for jwks_uri in ["http://keys.example.com/", "http://169.254.169.254/", "file:///etc/passwd", "keys"] {
        let server = Server::start(&[]).await;
        server.set(Server::DISCOVERY, json!({ "issuer": server.url, "jwks_uri": jwks_uri }));
        let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
        assert!(failure.contains(&format!("jwks_uri is {jwks_uri}")), "{failure}");
    }
}

#[test]
fn only_an_issuer_on_this_machine_may_point_to_this_machine() {
    for (issuer, jwks_uri, taken) in [
        ("https://login.example.com", "https://keys.example.com/", true),
        ("https://login.example.com", "http://127.0.0.1:9001/2018-06-01/", false),
        ("https://login.example.com", "http://localhost/keys", false),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081/keys", true),
        ("http://127.0.0.1:8081", "https://keys.example.com/", false),
    ] {
        assert_eq!(pointed_to(issuer, jwks_uri).is_ok(), taken, "{issuer} {jwks_uri}");
    }
}

#[tokio::test]
async fn a_failure_quotes_an_issuers_text_only_in_part() {
    let server = Server::start(&[]).await;
    let long = "ü".repeat(MAX_ANSWER_BYTES / 4);
    for document in [
        json!({ "issuer": long, "jwks_uri": "x" }),
        json!({ "issuer": server.url, "jwks_uri": long }),
        json!({ "issuer": server.url, "jwks_uri": format!("{}/{}", server.url, "x".repeat(9000)) }),
    ] {
        server.set(Server::DISCOVERY, document);
        let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
        assert!((200..400).contains(&failure.chars().count()), "{failure}");
    }
    server.point_to("/keys");
    server.set(Server::KEYS, json!({ "keys": [{ "kty": long }] }));
    let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
    assert!((200..400).contains(&failure.chars().count()), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_does_not_answer_is_a_failure_in_time() {
    let server = Server::start(&[]).await;
    server.set(Server::DISCOVERY, Document::Silence);
    let started = Instant::now();
    assert!(matches!(has(&keys_of(&server), "one").await, Err(Failure::Other { cause: "keys", .. })));
    assert!(started.elapsed() <= REQUEST_TIMEOUT + Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_address_without_a_server_is_a_failure() {
    let server = Server::start(&[]).await;
    let keys = keys_of(&server);
    drop(server);
    assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
}
