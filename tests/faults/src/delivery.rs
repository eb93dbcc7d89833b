//! Every connection that can be reached gets the message, whatever the gateway answers at first.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use harness::{Answer, Function, Row};

use crate::support::{AMPLE, Hub, ID, SENDERS_SESSION, frame, index, name, totals};

const CROWD: usize = 10_000;

pub(crate) fn is_gone(index: usize) -> bool {
    index.is_multiple_of(5)
}

/// Connected a moment ago, for as long as the test may take.
fn is_fresh(index: usize) -> bool {
    index.is_multiple_of(50)
}

pub(crate) fn answer(index: usize, before: u32) -> Answer {
    match (index % 100, before) {
        (0 | 5, _) => Answer::Bare(410),
        _ if is_gone(index) => Answer::Error(410, "GoneException"),
        (1 | 11 | 21 | 31 | 41 | 51 | 61 | 71 | 81 | 91, 0) => Answer::Error(429, "LimitExceededException"),
        (2 | 22 | 42 | 62 | 82, 0) => Answer::Error(500, "InternalServerErrorException"),
        (3, 0) => Answer::CutUnread,
        (13, 0) => Answer::CutRead,
        _ => Answer::Serve,
    }
}

/// How many posts the connection should get, and how many of them the gateway takes.
pub(crate) fn expected_posts(index: usize) -> (u32, u32) {
    match index % 100 {
        _ if is_gone(index) => (2, 0),
        13 => (2, 2),
        _ => match answer(index, 0) {
            Answer::Serve => (1, 1),
            _ => (2, 1),
        },
    }
}

#[tokio::test]
async fn ten_thousand_connections_with_every_kind_of_fault_lose_nothing() {
    let hub = Hub::new().await;
    hub.crowd("stadium", CROWD);
    for index in (0..CROWD).filter(|index| is_fresh(*index)) {
        hub.world.table.put(&name("stadium", index), Row::aged("stadium", -3600));
    }
    hub.world.table.page_rows(700);
    hub.world.gateway.script(|connection, before| answer(index(connection), before));

    let outcome = hub.send(&["stadium"], AMPLE).await;

    let receipt = frame(&outcome);
    assert_eq!(totals(&receipt), [8_000, 2_000, 0]);
    assert_eq!(receipt["id"], ID);
    let posts = hub.posts();
    assert_eq!(posts.len(), CROWD);
    for index in 0..CROWD {
        assert_eq!(posts[&name("stadium", index)], expected_posts(index), "connection {index}");
    }
    for post in hub.world.gateway.posts().iter().filter(|post| post.taken) {
        let frame: serde_json::Value = serde_json::from_slice(&post.frame).expect("a frame should be JSON");
        assert_eq!(
            (&frame["type"], &frame["id"], &frame["from"], &frame["message"]),
            (&"message".into(), &ID.into(), &SENDERS_SESSION.into(), &"hello".into())
        );
    }
    let stale =
        || (0..CROWD).filter(|index| is_gone(*index) && !is_fresh(*index)).map(|i| name("stadium", i));
    assert_eq!(hub.deletions(), stale().collect::<Vec<_>>(), "each stale row once, and no other");
    assert_eq!(hub.world.table.connections().len(), 1 + CROWD - stale().count());
    assert!(stale().all(|connection| !hub.has_row(&connection)));
}

async fn mass_throttle(throttled: u32, budget: Duration) {
    let hub = Hub::new().await;
    let crowd = hub.crowd("stadium", 2_000);
    hub.world.gateway.script(move |_, before| match before < throttled {
        true => Answer::Error(429, "LimitExceededException"),
        false => Answer::Serve,
    });
    let outcome = hub.send(&["stadium"], budget).await;
    assert_eq!(totals(&frame(&outcome)), [2_000, 0, 0]);
    let posts = hub.posts();
    assert!(crowd.iter().all(|connection| posts[connection] == (throttled + 1, 1)));
    assert_eq!(hub.deletions(), [""; 0]);
}

#[tokio::test]
async fn a_throttle_of_every_first_post_still_delivers_to_all_in_time() {
    mass_throttle(1, Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_throttle_of_every_first_three_posts_still_delivers_to_all_in_time() {
    mass_throttle(3, Duration::from_secs(15)).await;
}

/// The first `how_many` connections of the index get `answer` again and again, and all others a 200 at once, for
/// which none of them waits longer than `patience`.
async fn unaffected_by(answer: Answer, how_many: usize, patience: Duration) {
    let hub = Hub::new().await;
    let crowd = hub.crowd("stadium", how_many + 1_000);
    hub.world.gateway.script(move |connection, _| match index(connection) < how_many {
        true => answer.clone(),
        false => Answer::Serve,
    });
    let budget = Duration::from_secs(6);
    let outcome = hub.send(&["stadium"], budget).await;

    assert!(outcome.took < budget, "{:?}", outcome.took);
    assert_eq!(totals(&frame(&outcome)), [1_000, 0, how_many as u64]);
    let posts = hub.world.gateway.posts();
    let first_at: HashMap<&str, Instant> =
        posts.iter().rev().map(|post| (&*post.connection, post.at)).collect();
    let longest =
        crowd[how_many..].iter().map(|connection| first_at[connection.as_str()] - outcome.began).max();
    assert!(longest.is_some_and(|wait| wait < patience), "someone had to wait for {longest:?}");
}

#[tokio::test]
async fn a_connection_that_hangs_delays_no_other_and_fails_in_time() {
    unaffected_by(Answer::Hang, 1, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_connection_whose_answer_trickles_delays_no_other_and_fails_in_time() {
    unaffected_by(Answer::Trickle(Duration::from_millis(100)), 1, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn more_hanging_connections_than_posts_at_once_cost_the_others_one_timeout() {
    unaffected_by(Answer::Hang, 100, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn thousands_of_connections_that_stay_throttled_hold_up_no_other() {
    unaffected_by(Answer::Error(429, "LimitExceededException"), 3_000, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_refusal_is_final_and_fails_that_connection_alone() {
    let hub = Hub::new().await;
    hub.crowd("room", 4);
    hub.world.gateway.script(|connection, _| match index(connection) {
        0 => Answer::Error(403, "ForbiddenException"),
        1 => Answer::Error(413, "PayloadTooLargeException"),
        2 => Answer::Bare(400),
        _ => Answer::Serve,
    });
    let outcome = hub.send(&["room"], AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [1, 0, 3]);
    assert!(hub.posts().values().all(|(posts, _)| *posts == 1), "{:?}", hub.posts());
    assert_eq!(hub.deletions(), [""; 0]);
}

#[tokio::test]
async fn a_503_and_a_408_are_retried() {
    let hub = Hub::new().await;
    hub.crowd("room", 2);
    hub.world.gateway.script(|connection, before| match (index(connection), before) {
        (0, 0) => Answer::Bare(503),
        (1, 0) => Answer::Bare(408),
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [2, 0, 0]);
}

#[tokio::test]
async fn posts_run_side_by_side_and_no_more_than_allowed_at_once() {
    const AT_ONCE: usize = 8;
    const ANSWER: Duration = Duration::from_millis(20);
    let hub = Hub::new().await;
    hub.crowd("room", 200);
    hub.world.gateway.script(|_, _| Answer::Serve.after(ANSWER));
    let narrow =
        Function::with_settings("publish", &hub.world, &[("FANOUT_CONCURRENCY", &AT_ONCE.to_string())]).await;
    let outcome = narrow.invoke(r#"{"sessions":["room"],"message":1}"#, AMPLE).await;
    assert_eq!(totals(outcome.response()), [200, 0, 0]);
    assert!(outcome.took < ANSWER * 100, "{:?} is half of what one after another would take", outcome.took);
    // A post can only begin once one of those before it has been answered.
    let at: Vec<Instant> = hub.world.gateway.posts().iter().map(|post| post.at).collect();
    assert!(at.iter().zip(&at[AT_ONCE..]).all(|(earlier, later)| *later - *earlier >= ANSWER));
}

#[tokio::test]
async fn the_outcome_of_each_recipient_is_counted_for_cloudwatch() {
    let hub = Hub::new().await;
    let crowd = hub.crowd("room", 20);
    let (gone, throttled, refused) = (crowd[0].clone(), crowd[1].clone(), crowd[2].clone());
    hub.world.gateway.script(move |connection, before| match connection {
        name if name == gone => Answer::Error(410, "GoneException"),
        name if name == throttled && before == 0 => Answer::Error(429, "LimitExceededException"),
        name if name == refused => Answer::Error(403, "ForbiddenException"),
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [18, 1, 1]);
    let log = hub.log();
    let metrics: Vec<_> = log.iter().filter(|line| line["_aws"].is_object()).collect();
    let [metrics] = metrics[..] else { panic!("one line of metrics an invocation: {log:#?}") };
    for (name, value) in [
        ("Messages", 1.0),
        ("FanoutSize", 20.0),
        ("Delivered", 18.0),
        ("Gone", 1.0),
        ("Failed", 1.0),
        ("Throttled", 1.0),
        // The second question about the 410, and the second try after the 429.
        ("Retries", 2.0),
        ("Pruned", 1.0),
    ] {
        assert_eq!(metrics[name], value, "{name}: {metrics}");
    }
    assert!(metrics["FanoutDuration"].as_f64().is_some_and(|millis| millis >= 200.0), "{metrics}");
}
