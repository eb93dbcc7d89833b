//! An issuer that rotates its keys, fails and misbehaves.

use harness::issuer::{Document, ED25519, Issuer as Server, P256, RSA, STRANGER, SigningKey};
use hub::config::Variables;
use serde_json::json;
use tokio::time::{self, Instant};

use super::*;
use crate::config;

/// For addresses on loopback, which need none.
pub(crate) fn tls() -> Tls {
    hub::tls::config(&[], &Variables::of::<&str>(&[])).unwrap()
}

/// The settings for an issuer on loopback, and these besides.
pub(crate) fn settings(server: &Server, more: &Value) -> Issuer {
    let mut issuer = json!({ "issuer": server.url, "audiences": ["hub"], "patterns": true });
    issuer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let list = json!([issuer]).to_string();
    config::read(&Variables::of(&[("AUTH_ISSUERS", list)])).unwrap().remove(0)
}

fn keys_of(server: &Server) -> Keys {
    Keys::new(&settings(server, &json!({})), tls())
}

/// Lets the time pass without waiting for it, and without hurrying what waits for a socket.
pub(crate) async fn later(duration: Duration) {
    time::pause();
    time::advance(duration).await;
    time::resume();
}

/// Long enough for whatever jitter there is.
fn jittered(pause: u64) -> Duration {
    Duration::from_millis(pause * 1250)
}

/// What becomes of a signature by `key` in a token whose header names `id`.
async fn check(keys: &Keys, key: &SigningKey, id: Option<&str>) -> Result<Verdict, Failure> {
    let signature = key.sign(key.algorithm(), "message");
    let algorithm = Algorithm::named(key.algorithm()).unwrap();
    keys.check(Signed { key_id: id, algorithm, message: b"message", signature: &signature }).await
}

/// Whether the RSA key is known by this id.
async fn has(keys: &Keys, id: &str) -> Result<bool, Failure> {
    Ok(check(keys, &RSA, Some(id)).await? == Verdict::Good)
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
    use Verdict::{Bad, Good};
    let (unknown, none_made_it) = (Verdict::Unknown { tried: false }, Verdict::Unknown { tried: true });
    for (jwks, id, verdict) in [
        (json!([RSA.jwk("one")]), Some("one"), Good),
        (json!([RSA.jwk("one")]), Some("ONE"), unknown),
        (json!([RSA.jwk("one")]), None, Good),
        (json!([bare(&RSA)]), None, Good),
        (json!([bare(&RSA)]), Some("one"), Good),
        (json!([bare(&STRANGER), bare(&RSA)]), Some("one"), Good),
        (json!([STRANGER.jwk("one"), RSA.jwk("one")]), Some("one"), Good),
        (json!([STRANGER.jwk("one"), RSA.jwk("two")]), None, Good),
        // Where the id is that of a key, no other will do.
        (json!([STRANGER.jwk("one"), bare(&RSA)]), Some("one"), Bad),
        (json!([P256.jwk("one"), bare(&RSA)]), Some("one"), unknown),
        (json!([STRANGER.jwk("one"), RSA.jwk("two")]), Some("one"), Bad),
        (json!([bare(&STRANGER)]), None, none_made_it),
        (json!([bare(&STRANGER)]), Some("one"), none_made_it),
        (json!([P256.jwk("one"), ED25519.jwk("two")]), None, unknown),
    ] {
        assert_eq!(of(jwks.clone(), &RSA, id).await, verdict, "{jwks} {id:?}");
    }
    let mut crowd = vec![STRANGER.jwk("one"); MOST_TRIED - 1];
    crowd.push(RSA.jwk("two"));
    assert_eq!(of(json!(crowd), &RSA, None).await, Good);
    crowd.insert(0, STRANGER.jwk("one"));
    assert_eq!(
        of(json!(crowd), &RSA, None).await,
        none_made_it,
        "no token keeps the processor busy for long"
    );
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_at_most_every_thirty_seconds() {
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
async fn a_key_that_is_replaced_is_asked_for_though_its_id_does_not_say_so() {
    for kid in [Value::Null, json!("one")] {
        let server = Server::start(&[]).await;
        let set = |key: &SigningKey| {
            server.set(Server::KEYS, json!({ "keys": [key.jwk_with("", &json!({ "kid": kid }))] }));
        };
        set(&STRANGER);
        let keys = keys_of(&server);
        for id in [None, Some("one")] {
            assert_eq!(check(&keys, &STRANGER, id).await.unwrap(), Verdict::Good);
        }
        set(&RSA);
        for id in [None, Some("one")] {
            assert_ne!(check(&keys, &RSA, id).await.unwrap(), Verdict::Good, "it is too early");
        }
        later(REFRESH_EVERY).await;
        for id in [Some("one"), None] {
            assert_eq!(check(&keys, &RSA, id).await.unwrap(), Verdict::Good, "{kid} {id:?}");
        }
        assert_eq!(server.asked(Server::KEYS), 2);
    }
}

/// A signature that no key without an id has made may be that of its successor; one that a named key has not made is bad.
#[tokio::test]
async fn while_an_issuer_is_out_of_reach_what_may_be_good_is_a_failure() {
    let server = Server::start(&[]).await;
    server.set(Server::KEYS, json!({ "keys": [bare(&STRANGER), STRANGER.jwk("one")] }));
    let keys = keys_of(&server);
    assert_eq!(check(&keys, &STRANGER, None).await.unwrap(), Verdict::Good);
    server.set(Server::KEYS, Document::Text(500, String::new()));
    later(REFRESH_EVERY).await;
    for id in [None, Some("two")] {
        assert!(matches!(check(&keys, &RSA, id).await, Err(Failure::Other { cause: "keys", .. })), "{id:?}");
    }
    assert_eq!(check(&keys, &RSA, Some("one")).await.unwrap(), Verdict::Bad);
    for id in [None, Some("one"), Some("two")] {
        assert_eq!(check(&keys, &STRANGER, id).await.unwrap(), Verdict::Good, "{id:?}");
    }
}

#[tokio::test]
async fn a_withdrawn_key_serves_for_ten_minutes_at_most() {
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
async fn a_set_without_a_usable_key_is_a_failure_that_says_why_and_withdraws_the_former_keys() {
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

/// A freeze between two invocations: an hour that only the wall clock has counted.
#[tokio::test]
async fn the_time_that_lambda_has_the_function_frozen_counts_too() {
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
async fn a_question_that_is_cut_short_counts_as_one() {
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
async fn who_has_a_known_key_does_not_wait_for_a_slow_issuer() {
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

/// Else whoever has a known key would cut each attempt short, and no new key would ever be heard of.
#[tokio::test]
async fn an_issuer_that_is_always_slow_is_heard_at_the_second_attempt() {
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

/// How long the newest attempt keeps others off, which a busy machine cannot blur.
fn pause_of(keys: &Keys) -> Duration {
    keys.state.borrow().pause
}

/// What a machine may need for a few lines of a test.
const BUSY: Duration = Duration::from_millis(400);

#[tokio::test]
async fn an_issuer_that_fails_is_asked_again_after_twice_as_long_each_time() {
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
async fn an_issuer_that_asks_for_patience_gets_it() {
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
async fn an_answer_that_is_not_what_it_should_be_is_a_failure_and_says_which() {
    let answer = |body: &str| Document::Text(200, body.to_owned());
    let other = answer(r#"{"issuer":"https://other.example","jwks_uri":"x"}"#);
    for (path, document, says) in [
        (Server::DISCOVERY, other, "https://other.example"),
        (Server::DISCOVERY, answer("{}"), "not such a document"),
        (Server::DISCOVERY, answer("<html>"), "not such a document"),
        (Server::DISCOVERY, Document::Redirect("/keys"), "302"),
        (Server::KEYS, Document::Text(404, String::new()), "404"),
        (Server::KEYS, Document::Redirect("/moved"), "302"),
        (Server::KEYS, answer("{\"keys\":{}}"), "not such a document"),
        (
            Server::KEYS,
            answer(&format!("{{\"keys\":[]}}{}", " ".repeat(MAX_ANSWER_BYTES))),
            "did not come whole",
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
async fn of_an_issuers_own_text_a_failure_holds_no_more_than_a_little() {
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
async fn an_issuer_that_keeps_silent_is_not_waited_for() {
    let server = Server::start(&[]).await;
    server.set(Server::DISCOVERY, Document::Silence);
    let started = Instant::now();
    assert!(matches!(has(&keys_of(&server), "one").await, Err(Failure::Other { cause: "keys", .. })));
    assert!(started.elapsed() <= REQUEST_TIMEOUT + Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nobody_at_the_issuers_address_is_a_failure() {
    let server = Server::start(&[]).await;
    let keys = keys_of(&server);
    drop(server);
    assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
}
