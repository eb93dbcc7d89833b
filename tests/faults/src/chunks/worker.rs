//! The function that recipients are handed to, by itself.

use std::time::Duration;

use harness::{Answer, Ending, Function, Operation, Row};
use serde_json::{Value, json};

use super::{ROOM, THROTTLE, chunk};
use crate::support::{AMPLE, Hub, ID, SENDER, counted, index, line, log, name, now_ms};

const SECRET: &str = "s3cret-words";
const COUNTS: [&str; 3] = ["delivered", "gone", "failed"];

/// A worker, and a room of so many connections.
async fn worker(count: usize) -> (Hub, Function, Vec<String>) {
    let hub = Hub::with_subscriptions().await;
    let room = hub.crowd(ROOM, count);
    let worker = Function::start("deliver", &hub.world).await;
    (hub, worker, room)
}

/// The counts of an answer, which must be as many as there were connections together with those that are left.
fn counts(answer: &Value, connections: usize) -> [u64; 3] {
    let counts = COUNTS.map(|count| answer[count].as_u64().expect("a count"));
    let left = answer["left"].as_array().expect("a list").len() as u64;
    assert_eq!(counts.iter().sum::<u64>() + left, connections as u64, "{answer}");
    counts
}

#[tokio::test]
async fn it_posts_the_frame_as_it_is_prunes_and_answers_with_what_became_of_each() {
    let (hub, worker, room) = worker(100).await;
    hub.world.gateway.script(|connection, before| match (index(connection), before) {
        (0..10, _) => Answer::Bare(410),
        (10..15, _) => Answer::Error(413, "PayloadTooLargeException"),
        (15..20, 0) => THROTTLE,
        (20..25, 0) => Answer::Bare(500),
        _ => Answer::Serve,
    });
    let mut chunk = chunk(&room, 20_000, 0);
    for place in 90..95 {
        chunk["connections"][place][2] = json!(now_ms() / 1000 - 30);
    }
    let outcome = worker.invoke(chunk.to_string(), AMPLE).await;
    let answer = outcome.response();
    assert_eq!(counts(answer, 100), [80, 10, 5]);
    assert_eq!(answer["left"], json!([90, 91, 92, 93, 94]), "they have expired");
    let numbers = ["retries", "throttled", "pruned"].map(|number| answer[number].as_u64());
    assert_eq!(numbers, [Some(20), Some(5), Some(10)]);
    assert_eq!(
        (&answer["delivery_failures"]["count"], &answer["prune_failures"]),
        (&json!(5), &json!({ "count": 0, "first_cause": null }))
    );
    assert!(
        answer["delivery_failures"]["first_cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("PayloadTooLarge"))
    );

    let posts = hub.world.gateway.posts();
    assert!(
        posts.iter().all(|post| post.frame == chunk["frame"].as_str().expect("a text")),
        "not a byte is different"
    );
    assert!(posts.iter().all(|post| !(90..95).contains(&index(&post.connection))));
    assert!((0..100).all(|index| hub.has_row(&name(ROOM, index)) == (index >= 10)));
    assert!(hub.world.gateway.closings().is_empty(), "that is the planner's");
    let operations: Vec<_> = hub.world.table.calls().iter().map(|call| call.operation).collect();
    assert_eq!(operations, vec![Operation::DeleteItem; 10], "it can do nothing else");
    assert!(hub.world.subscriptions.calls().is_empty());

    let log = log(&worker.finish());
    let delivered = line(&log, "delivered");
    for (key, value) in [
        ("level", json!("INFO")),
        ("route", json!("deliver")),
        ("message_id", json!(ID)),
        ("session_id", json!(ROOM)),
        ("connections", json!(100)),
        ("delivered", json!(80)),
        ("gone", json!(10)),
        ("failed", json!(5)),
        ("left", json!(5)),
        ("retries", json!(20)),
        ("throttled", json!(5)),
        ("pruned", json!(10)),
        ("bytes", json!(chunk["frame"].as_str().expect("a text").len())),
    ] {
        assert_eq!(delivered[key], value, "{key}: {delivered}");
    }
    assert!(delivered["duration_ms"].as_f64().is_some_and(|millis| millis >= 200.0), "{delivered}");
    assert_eq!(log.len(), 2, "a start and an invocation: the metrics are the planner's: {log:#?}");
}

#[tokio::test]
async fn subscribers_lose_both_rows_and_others_only_that_of_their_connection() {
    for kind in ["connection", "subscription"] {
        let (hub, worker, room) = worker(3).await;
        for connection in &room {
            hub.world.subscriptions.put(connection, Row::aged("hall", 60));
        }
        let mut chunk = chunk(&room, 20_000, 0);
        chunk["session"] = json!("hall");
        chunk["kind"] = json!(kind);
        // One of them connected a moment ago.
        chunk["connections"][2][1] = json!(now_ms() - 3_000);
        hub.world.gateway.script(|_, _| Answer::Bare(410));
        let outcome = worker.invoke(chunk.to_string(), AMPLE).await;
        assert_eq!(counts(outcome.response(), 3), [0, 3, 0]);
        assert_eq!(outcome.response()["pruned"], 2);
        let rows: Vec<_> = room
            .iter()
            .map(|one| (hub.has_row(one), !hub.world.subscriptions.sessions(one).is_empty()))
            .collect();
        let subscribed = kind == "connection";
        assert_eq!(rows, [(false, subscribed), (false, subscribed), (true, true)], "{kind}");
        log(&worker.finish());
    }
}

#[tokio::test]
async fn a_prune_that_fails_or_is_throttled_is_reported_and_counted() {
    let (hub, worker, room) = worker(4).await;
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    hub.world.table.script(|_, count| match count {
        0 => Answer::Error(400, "ProvisionedThroughputExceededException"),
        1 => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    let outcome = worker.invoke(chunk(&room, 20_000, 0).to_string(), AMPLE).await;
    let answer = outcome.response();
    assert_eq!(
        (counts(answer, 4), &answer["pruned"], &answer["prune_failures"]["count"]),
        ([0, 4, 0], &json!(2), &json!(2))
    );
    let log = log(&worker.finish());
    assert_eq!(["TableThrottled", "HandlerErrors"].map(|metric| counted(&log, metric)), [1.0, 0.0]);
}

#[tokio::test]
async fn a_payload_that_is_no_chunk_is_a_function_error_and_no_word_of_it_is_logged() {
    let (hub, worker, room) = worker(2).await;
    let good = chunk(&room, 20_000, 0);
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed.to_string()
    };
    let mut payloads: Vec<String> = vec![
        "{}".into(),
        "[]".into(),
        "null".into(),
        json!(SECRET).to_string(),
        json!([SECRET]).to_string(),
        json!({ SECRET: SECRET }).to_string(),
        json!({ "v": 1, "frame": SECRET }).to_string(),
        // What others are invoked with.
        json!({ "sessions": [ROOM], "message": SECRET }).to_string(),
        harness::over_socket(SECRET, SECRET),
    ];
    for key in ["v", "session", "kind", "frame", "connections", "budget_ms", "rate"] {
        let mut without = good.clone();
        without.as_object_mut().expect("an object").remove(key);
        payloads.push(without.to_string());
        for value in [json!(null), json!([SECRET]), json!({ SECRET: 1 }), json!(-1), json!(1.5), json!(true)]
        {
            payloads.push(with(key, value));
        }
    }
    for key in ["v", "kind", "connections", "budget_ms", "rate"] {
        payloads.push(with(key, json!(SECRET)));
    }
    for (key, value) in [
        ("v", json!(2)),
        ("v", json!(0)),
        ("v", json!(4_294_967_297_u64)),
        ("session", json!("")),
        ("session", json!("a*")),
        ("session", json!(format!("{SECRET} "))),
        ("session", json!(SECRET.repeat(20))),
        ("kind", json!("Connection")),
        ("sender", json!(7)),
        ("sender", json!([SECRET])),
        ("connections", json!({})),
        ("connections", json!([SECRET])),
        ("connections", json!([[SECRET]])),
        ("connections", json!([[SECRET, 1]])),
        ("connections", json!([[SECRET, 1, 2, 3]])),
        ("connections", json!([[SECRET, SECRET, 2]])),
        ("connections", json!([[SECRET, 1, SECRET]])),
        ("connections", json!([[7, 1, 2]])),
        ("connections", json!([[null, 1, 2]])),
        ("connections", json!([[SECRET, 1.5, 2]])),
        ("rate", json!(4_294_967_296_u64)),
    ] {
        payloads.push(with(key, value));
    }
    for payload in &payloads {
        let outcome = worker.invoke(payload.clone(), AMPLE).await;
        let Ending::Error(error) = &outcome.ending else { panic!("{payload} was taken: {outcome:?}") };
        assert_eq!(error["errorType"], "internal");
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    assert!(hub.world.gateway.posts().is_empty() && hub.world.table.calls().is_empty());
    let output = worker.finish();
    assert!(output.stdout.iter().all(|line| !line.contains(SECRET)), "{output:#?}");
    let log = log(&output);
    let failed: Vec<_> = log.iter().filter(|line| line["message"] == "failed").collect();
    assert_eq!(failed.len(), payloads.len());
    assert!(failed.iter().all(|line| line["cause"] == "event" && line["level"] == "ERROR"), "{failed:#?}");
    assert_eq!(counted(&log, "HandlerErrors"), payloads.len() as f64);
}

#[tokio::test]
async fn unknown_keys_and_an_empty_chunk_are_accepted() {
    let (hub, worker, room) = worker(2).await;
    let mut more = chunk(&room, 20_000, 0);
    more["mood"] = json!({ "good": true });
    let outcome = worker.invoke(more.to_string(), AMPLE).await;
    assert_eq!(counts(outcome.response(), 2), [2, 0, 0]);
    let none = worker.invoke(chunk(&[], 20_000, 0).to_string(), AMPLE).await;
    assert_eq!(counts(none.response(), 0), [0, 0, 0]);
    let mut without_sender = chunk(&room, 20_000, 0);
    without_sender.as_object_mut().expect("an object").remove("sender");
    let outcome = worker.invoke(without_sender.to_string(), AMPLE).await;
    assert_eq!(counts(outcome.response(), 2), [2, 0, 0]);
    assert_eq!(hub.world.gateway.posts().len(), 4);
    log(&worker.finish());
}

#[tokio::test]
async fn the_senders_own_row_is_not_pruned() {
    let (hub, worker, mut room) = worker(2).await;
    room.push(SENDER.to_owned());
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    let outcome = worker.invoke(chunk(&room, 20_000, 0).to_string(), AMPLE).await;
    assert_eq!(counts(outcome.response(), 3), [0, 3, 0]);
    assert!(hub.has_row(SENDER) && !hub.has_row(&room[0]));
    log(&worker.finish());
}

/// At ten a second it does not come to all of them.
#[tokio::test]
async fn it_ends_with_its_budget_or_half_a_second_before_lambda_ends_it_and_says_how_far_it_came() {
    for (budget_ms, lambdas, end) in [(1_500, 20_000, 1_500), (60_000, 2_500, 2_000)] {
        let (hub, worker, room) = worker(50).await;
        let chunk = chunk(&room, budget_ms, 10).to_string();
        let outcome = worker.invoke(chunk, Duration::from_millis(lambdas)).await;
        let [delivered, 0, 0] = counts(outcome.response(), 50) else { panic!("{outcome:?}") };
        assert!((end / 100 - 3..=end / 100 + 1).contains(&delivered), "{delivered} in {end} ms");
        let posted = hub.posts();
        let left: Vec<_> = (0..50).filter(|index| !posted.contains_key(&room[*index])).collect();
        assert_eq!(outcome.response()["left"], json!(left));
        let took = u64::try_from(outcome.took.as_millis()).expect("few");
        assert!((end - 100..end + 350).contains(&took), "{took} ms");
        log(&worker.finish());
    }
}

#[tokio::test]
async fn it_leaves_recipients_that_it_cannot_reach_soon_and_remembers_none() {
    let (hub, worker, room) = worker(30).await;
    hub.world.gateway.script(|connection, _| match index(connection) {
        7 => THROTTLE,
        8 => Answer::Hang,
        21 => Answer::Bare(500),
        22 => Answer::Error(413, "PayloadTooLargeException"),
        _ => Answer::Serve,
    });
    for message in 1..=2 {
        let outcome = worker.invoke(chunk(&room, 20_000, 0).to_string(), AMPLE).await;
        assert_eq!(counts(outcome.response(), 30), [26, 0, 1], "a refusal is final");
        assert_eq!(outcome.response()["left"], json!([7, 8, 21]));
        assert!((2.0..3.5).contains(&outcome.took.as_secs_f64()), "{:?}", outcome.took);
        // Others have another attempt meanwhile.
        assert!(hub.posts_to(&room[7]).len() > 2 * message - 1, "{message}");
    }
    log(&worker.finish());
}

#[tokio::test]
async fn where_every_post_is_forbidden_the_failure_has_its_cause() {
    let (hub, worker, room) = worker(50).await;
    hub.world.gateway.script(|_, _| Answer::Error(403, "AccessDeniedException"));
    let outcome = worker.invoke(chunk(&room, 20_000, 0).to_string(), AMPLE).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert!(hub.world.gateway.posts().len() <= 16);
    let log = log(&worker.finish());
    assert_eq!((&line(&log, "failed")["cause"], counted(&log, "HandlerErrors")), (&json!("forbidden"), 1.0));
}

#[tokio::test]
async fn it_posts_no_faster_than_it_is_told_to() {
    let hub = Hub::new().await;
    let room = hub.crowd(ROOM, 300);
    let worker = Function::start("deliver", &hub.world).await;
    for (rate, least) in [(200, 1.4), (0, 0.0)] {
        let before = hub.world.gateway.posts().len();
        let outcome = worker.invoke(chunk(&room, 20_000, rate).to_string(), AMPLE).await;
        assert_eq!(counts(outcome.response(), 300), [300, 0, 0]);
        assert!((least..least + 1.0).contains(&outcome.took.as_secs_f64()), "{rate}: {:?}", outcome.took);
        if rate > 0 {
            let at: Vec<_> = hub.world.gateway.posts()[before..].iter().map(|post| post.at).collect();
            let second = Duration::from_secs(1);
            let busiest =
                (0..at.len()).map(|from| at[from..].partition_point(|one| *one - at[from] < second)).max();
            assert!(busiest.is_some_and(|busiest| busiest <= 200), "{busiest:?}");
        }
    }
    log(&worker.finish());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_for_posts() {
    let (hub, worker, room) = worker(50).await;
    hub.world.signatures.set_clock_ahead(-600);
    for _ in 0..2 {
        let outcome = worker.invoke(chunk(&room, 20_000, 0).to_string(), AMPLE).await;
        assert_eq!(counts(outcome.response(), 50), [50, 0, 0]);
    }
    line(&log(&worker.finish()), "clock corrected");
}
