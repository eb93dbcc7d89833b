//! How long an issuer is left alone, and how long a token waits for it.

use super::*;

#[tokio::test]
async fn unknown_keys_make_the_function_ask_at_most_every_thirty_seconds() {
    let server = Server::start(&[("old", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "old").await.unwrap());
    server.set_keys(&[("new", &RSA)]);
    for _ in 0..3 {
        assert!(!has(&keys, "new").await.unwrap());
    }
    later(REFRESH_EVERY - BUSY).await;
    assert!(!has(&keys, "new").await.unwrap());
    assert_eq!(server.asked(Server::KEYS), 1);
    later(BUSY).await;
    assert!(has(&keys, "new").await.unwrap());
    assert!(!has(&keys, "old").await.unwrap(), "a withdrawn key goes with the next set");
    assert_eq!((server.asked(Server::DISCOVERY), server.asked(Server::KEYS)), (1, 2));
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

/// The part of a pause that a busy machine may need for a few lines of a test.
fn most_of(pause: Duration) -> Duration {
    pause * 9 / 10
}

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
        let most = most_of(exactly);
        later(exactly - most).await;
        assert!(has(&keys, "one").await.is_err());
        assert_eq!(server.asked(Server::DISCOVERY), asked, "within {pause} s");
        later(most).await;
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
        let most = most_of(exactly);
        later(exactly - most).await;
        has(&keys, "one").await.unwrap_err();
        assert_eq!(server.asked(Server::KEYS), 1, "{retry_after:?}");
        server.set_keys(&[("one", &RSA)]);
        later(most).await;
        assert!(has(&keys, "one").await.unwrap(), "{retry_after:?}");
        assert_eq!(server.asked(Server::DISCOVERY), 1, "it has not moved");
    }
}
