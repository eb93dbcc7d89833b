//! An Invoke in trouble: the planner posts that chunk itself, and the receipt is the same.

use std::time::Duration;

use harness::{Answer, Operation, Reaction, Row};
use serde_json::json;

use super::{
    ROOM, SPLIT, THROTTLE, answer, counts_chunks, each_was_posted_to, handed_out, hub_of, is_handed_out,
    logs, sends,
};
use crate::{
    delivery,
    support::{AMPLE, Hub, SENDER, SENDERS_SESSION, counted, frame, index, line, log, name, totals},
};

const CHUNKS: usize = 3;
const ALL: usize = SPLIT * (1 + CHUNKS);

/// Every way to be told that nothing was done, or to be told nothing.
fn undone() -> Vec<Reaction> {
    let answers = [
        Answer::Error(429, "TooManyRequestsException"),
        Answer::Error(403, "AccessDeniedException"),
        Answer::Error(404, "ResourceNotFoundException"),
        Answer::Error(413, "RequestTooLargeException"),
        Answer::Error(500, "ServiceException"),
        Answer::Error(502, "InvalidRuntimeException"),
        Answer::Bare(503),
        Answer::Bare(204),
        Answer::Bare(302),
        Answer::CutUnread,
        Answer::CutUnread.after(Duration::from_millis(300)),
        Answer::Error(429, "TooManyRequestsException").after(Duration::from_millis(300)),
    ];
    answers.into_iter().map(Reaction::from).chain([Reaction::Failure]).collect()
}

/// The hub after a message to everybody, with this reaction to the first of each `every` chunks.
async fn sent_in_trouble(reaction: &Reaction, every: u32) -> Hub {
    let hub = hub_of(CHUNKS).await;
    let trouble = reaction.clone();
    hub.world.lambda.script(move |_, before| match before % every {
        0 => trouble.clone(),
        _ => Answer::Serve.into(),
    });
    sends(&hub, [ALL, 0, 0]).await;
    hub
}

#[tokio::test]
async fn chunks_that_were_not_posted_are_posted_by_the_planner_once() {
    for reaction in undone() {
        for every in [1, 2] {
            let hub = sent_in_trouble(&reaction, every).await;
            each_was_posted_to(&hub, (1, 1), (1, 1));
            let handed_out = handed_out(&hub).len();
            let in_trouble = handed_out.div_ceil(every as usize);
            assert!((1..=CHUNKS).contains(&handed_out), "{reaction:?}");
            counts_chunks(hub, handed_out, in_trouble).await;
        }
    }
}

#[tokio::test]
async fn chunks_whose_answer_is_lost_are_posted_again_and_counted_once() {
    for reaction in [
        Reaction::from(Answer::CutRead),
        Reaction::FailureAfterwards,
        Reaction::Changed(|answer| answer["delivered"] = json!(SPLIT - 1)),
        Reaction::Changed(|answer| answer["failed"] = json!(u64::MAX)),
    ] {
        for every in [1, 2] {
            let hub = sent_in_trouble(&reaction, every).await;
            let invokes = handed_out(&hub);
            let posts = hub.posts();
            for (number, invoke) in invokes.iter().enumerate() {
                let times = if number % every as usize == 0 { 2 } else { 1 };
                assert!(
                    invoke.connections().iter().all(|connection| posts[*connection] == (times, times)),
                    "{reaction:?} {number}"
                );
            }
            let twice = invokes.len().div_ceil(every as usize);
            assert_eq!(hub.world.gateway.posts().len(), ALL + SPLIT * twice, "{reaction:?}");
            counts_chunks(hub, invokes.len(), twice).await;
        }
    }
}

#[tokio::test]
async fn a_chunk_that_lambda_has_done_twice_is_counted_once() {
    let hub = hub_of(CHUNKS).await;
    hub.world.lambda.script(|_, _| Reaction::Twice);
    sends(&hub, [ALL, 0, 0]).await;
    each_was_posted_to(&hub, (1, 1), (2, 2));
    assert!(handed_out(&hub).iter().all(|invoke| invoke.work.len() == 2));
    counts_chunks(hub, CHUNKS, 0).await;
}

#[tokio::test]
async fn of_a_chunk_that_is_posted_to_twice_the_planners_own_answer_counts() {
    let hub = hub_of(1).await;
    hub.world.gateway.script(|connection, before| match is_handed_out(connection) {
        // Twice by the worker, and both times by the planner.
        true if before < 2 => Answer::Bare(410),
        _ => Answer::Serve,
    });
    for connection in (SPLIT..2 * SPLIT).map(|index| name(ROOM, index)) {
        // Too young to be pruned.
        hub.world.table.put(&connection, Row::aged(ROOM, -3600));
    }
    hub.world.lambda.script(|_, _| Reaction::FailureAfterwards);
    sends(&hub, [2 * SPLIT, 0, 0]).await;
    each_was_posted_to(&hub, (1, 1), (3, 1));
    counts_chunks(hub, 1, 1).await;
}

#[tokio::test]
async fn an_answer_that_comes_late_but_in_time_counts() {
    for reaction in [
        Reaction::Late(Duration::from_secs(2)),
        Answer::Serve.after(Duration::from_secs(2)).into(),
        Reaction::Text(answer(&json!({}))),
    ] {
        let hub = hub_of(CHUNKS).await;
        let late = reaction.clone();
        hub.world
            .lambda
            .script(move |_, before| if before == 1 { late.clone() } else { Answer::Serve.into() });
        sends(&hub, [ALL, 0, 0]).await;
        if !matches!(reaction, Reaction::Text(_)) {
            each_was_posted_to(&hub, (1, 1), (1, 1));
        }
        counts_chunks(hub, CHUNKS, 0).await;
    }
}

#[tokio::test]
async fn recipients_of_a_chunk_survive_every_fault_of_the_gateway() {
    const RECIPIENTS: usize = 2_200;
    let hub = hub_of(RECIPIENTS / SPLIT - 1).await;
    hub.world.gateway.script(|connection, before| delivery::answer(index(connection), before));
    let gone = RECIPIENTS / 5;
    sends(&hub, [RECIPIENTS - gone, gone, 0]).await;
    let posts = hub.posts();
    for index in 0..RECIPIENTS {
        let connection = name(ROOM, index);
        assert_eq!(posts[&connection], delivery::expected_posts(index), "{connection}");
        assert_eq!(hub.has_row(&connection), !delivery::is_gone(index), "{connection}");
    }
    // Where workers are slow the planner takes part.
    assert!((5..=10).contains(&handed_out(&hub).len()));
    let (planner, _) = logs(hub).await;
    let sent = line(&planner, "sent");
    // A second look at each that is gone, and a second attempt after each other fault.
    let faults = |from: fn(usize) -> bool| (0..RECIPIENTS).filter(|index| from(*index)).count();
    let retries = faults(|index| delivery::expected_posts(index).0 == 2);
    let throttled = faults(|index| matches!(delivery::answer(index, 0), Answer::Error(429, _)));
    assert_eq!(
        ["retries", "throttled", "pruned"].map(|count| sent[count].as_u64().expect("a count")),
        [retries, throttled, gone].map(|count| count as u64)
    );
}

#[tokio::test]
async fn what_fails_in_a_chunk_is_counted_and_logged_by_the_planner() {
    let hub = hub_of(1).await;
    hub.world.gateway.script(|connection, _| match index(connection) {
        210..220 => Answer::Error(413, "PayloadTooLargeException"),
        220..223 => Answer::Bare(410),
        _ => Answer::Serve,
    });
    hub.world.table.script(|operation, _| match operation {
        Operation::DeleteItem => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    sends(&hub, [387, 3, 10]).await;
    let (planner, workers) = logs(hub).await;
    assert_eq!(line(&planner, "deliveries failed")["count"], 10);
    let cause = line(&planner, "deliveries failed")["error"].as_str().expect("a text").to_owned();
    assert!(cause.contains("PayloadTooLargeException"), "{cause}");
    assert_eq!(line(&planner, "prunes failed")["count"], 3);
    assert_eq!(["Failed", "Gone", "Delivered"].map(|metric| counted(&planner, metric)), [10.0, 3.0, 387.0]);
    let delivered = line(&workers[0], "delivered");
    assert_eq!(
        ["delivered", "gone", "failed"].map(|count| delivered[count].as_u64()),
        [Some(187), Some(3), Some(10)]
    );
}

#[tokio::test]
async fn where_a_worker_may_not_post_the_planner_does() {
    let hub = hub_of(2).await;
    hub.world.lambda.adjust(|command| {
        command.env("AWS_SECRET_ACCESS_KEY", "another");
    });
    sends(&hub, [600, 0, 0]).await;
    each_was_posted_to(&hub, (1, 1), (1, 1));
    let outputs = hub.world.lambda.finish().await;
    for output in &outputs {
        let log = log(output);
        assert_eq!(line(&log, "failed")["cause"], "forbidden");
        assert_eq!(counted(&log, "HandlerErrors"), 1.0);
    }
    assert!(!outputs.is_empty());
    counts_chunks(hub, 2, 2).await;
}

#[tokio::test]
async fn where_every_post_of_a_chunk_is_forbidden_its_recipients_fail_alone_and_each_is_attempted() {
    let hub = hub_of(1).await;
    hub.world.gateway.script(|connection, _| match is_handed_out(connection) {
        true => Answer::Error(403, "ForbiddenException"),
        false => Answer::Serve,
    });
    sends(&hub, [200, 0, 200]).await;
    assert_eq!(hub.posts().len(), 400);
    counts_chunks(hub, 1, 1).await;
}

#[tokio::test]
async fn where_the_first_posts_are_all_forbidden_nothing_is_handed_out_and_the_failure_is_the_hubs() {
    let hub = hub_of(CHUNKS).await;
    hub.world.gateway.script(|_, _| Answer::Error(403, "AccessDeniedException"));
    let outcome = hub.send(&[ROOM], AMPLE).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    let (planner, _) = logs(hub).await;
    assert_eq!(line(&planner, "failed")["cause"], "forbidden");
}

#[tokio::test]
async fn a_worker_that_cannot_start_or_post_at_all_costs_no_recipient() {
    for (variable, value, returned) in [
        ("FANOUT_CONCURRENCY", "0", 2),
        ("TABLE_NAME", "!", 2),
        // It leaves all to the planner.
        ("WEBSOCKET_ENDPOINT", "http://127.0.0.1:1/live", 0),
    ] {
        let hub = hub_of(2).await;
        hub.world.lambda.adjust(move |command| {
            command.env(variable, value);
        });
        sends(&hub, [600, 0, 0]).await;
        each_was_posted_to(&hub, (1, 1), (1, 1));
        counts_chunks(hub, 2, returned).await;
    }
}

#[tokio::test]
async fn throttled_invokes_are_not_retried_and_hold_up_nothing() {
    let hub = hub_of(CHUNKS).await;
    hub.world.lambda.script(|_, _| Answer::Error(429, "TooManyRequestsException"));
    hub.world.gateway.script(|_, before| if before == 0 { THROTTLE } else { Answer::Serve });
    let outcome = hub.send(&[ROOM], AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [ALL as u64, 0, 0]);
    assert!(outcome.took < Duration::from_secs(5), "{:?}", outcome.took);
    let handed_out = handed_out(&hub).len();
    assert!(handed_out <= CHUNKS, "{handed_out}");
    counts_chunks(hub, handed_out, handed_out).await;
}

#[tokio::test]
async fn the_senders_own_row_is_never_pruned_by_a_worker_either() {
    let hub = hub_of(0).await;
    for index in 0..2 * SPLIT - 1 {
        // Before the sender, in the order in which its session is read.
        hub.world.table.put(&name("a", index), Row::aged(SENDERS_SESSION, 60));
    }
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    let outcome = hub.send(&[SENDERS_SESSION], AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [0, 2 * SPLIT as u64, 0]);
    let [invoke] = &handed_out(&hub)[..] else { panic!("one chunk") };
    assert!(invoke.connections().contains(&SENDER));
    assert!(hub.has_row(SENDER) && !hub.deletions().contains(&SENDER.to_owned()));
    assert_eq!(hub.deletions().len(), 2 * SPLIT - 1, "each other row once");
    counts_chunks(hub, 1, 0).await;
}
