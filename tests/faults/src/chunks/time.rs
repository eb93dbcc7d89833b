//! However slow workers are, the answer is sent in time, and one connection that is stuck holds up no other.

use std::time::{Duration, Instant};

use harness::{Answer, Function, Invoke, Outcome, Reaction, World};
use serde_json::json;

use super::{
    ROOM, SPLIT, THROTTLE, TO_ROOM, WORKERS, answer, counts_chunks, handed_out, hands_out, hub_of,
    is_handed_out, logs, sends,
};
use crate::support::{AMPLE, Hub, IMPATIENT, frame, index, line, log, name, totals};

const SECOND: Duration = Duration::from_secs(1);

/// Sends to a room of so many chunks, which must be answered within the budget.
async fn sends_within(hub: &Hub, budget: Duration) -> Outcome {
    let outcome = hub.send(&[ROOM], budget).await;
    assert!(outcome.took < budget, "the answer took {:?} of {budget:?}", outcome.took);
    outcome
}

#[tokio::test]
async fn with_less_than_two_seconds_left_nothing_is_handed_out() {
    for (millis, chunks) in [(2_000, 0), (2_400, 0), (3_500, 2)] {
        let hub = hub_of(2).await;
        let outcome = sends_within(&hub, Duration::from_millis(millis)).await;
        assert_eq!(totals(&frame(&outcome)), [600, 0, 0]);
        assert_eq!(handed_out(&hub).len(), chunks, "{millis} ms");
        counts_chunks(hub, chunks, 0).await;
    }
}

#[tokio::test]
async fn chunks_without_an_answer_by_the_end_have_failed_and_the_answer_is_in_time() {
    for reaction in [
        Reaction::Plain(Answer::Hang),
        Reaction::Late(10 * SECOND),
        Answer::Serve.after(10 * SECOND).into(),
        Reaction::Beside(Answer::Hang),
    ] {
        let hub = hub_of(3).await;
        hub.world.lambda.script(move |_, before| match before {
            1 => reaction.clone(),
            _ => Answer::Serve.into(),
        });
        let outcome = sends_within(&hub, 5 * SECOND).await;
        let receipt = frame(&outcome);
        assert_eq!(totals(&receipt), [600, 0, 200]);
        assert!(outcome.took > 3 * SECOND, "{:?}: time was left to wait for it", outcome.took);
        let log = hub.log();
        assert_eq!(line(&log, "deliveries failed")["count"], 200);
    }
}

/// With eight posts at once, each of which takes a second, it does not come to the last ones.
#[tokio::test]
async fn a_worker_that_is_at_it_when_its_time_is_up_says_in_time_how_far_it_came() {
    let hub = hub_of(2).await;
    hub.world.lambda.adjust(|command| {
        command.env("FANOUT_CONCURRENCY", "8");
    });
    hub.world.gateway.script(|connection, _| match index(connection) {
        300..400 => Answer::Serve.after(SECOND),
        _ => Answer::Serve,
    });
    let outcome = sends_within(&hub, 5 * SECOND).await;
    let [delivered, gone, failed] = totals(&frame(&outcome));
    assert_eq!((delivered + failed, gone), (600, 0));
    // The planner has a second for what is left, which is just too little.
    assert!((508..596).contains(&delivered), "{delivered}");
    for invoke in handed_out(&hub) {
        let budget = invoke.chunk["budget_ms"].as_u64().expect("a number");
        assert!((1_000..3_100).contains(&budget), "{budget} ms of 4 s");
    }
    counts_chunks(hub, 2, 0).await;
}

#[tokio::test]
async fn a_gateway_that_hangs_altogether_is_counted_in_time() {
    let hub = hub_of(5).await;
    hub.world.gateway.script(|_, _| Answer::Hang);
    let outcome = sends_within(&hub, 4 * SECOND).await;
    let receipt = frame(&outcome);
    assert_eq!(totals(&receipt)[..2], [0, 0]);
    let failed = totals(&receipt)[2];
    assert!(failed == 6 * SPLIT as u64 || receipt["complete"] == false, "{receipt}");
    logs(hub).await;
}

/// All places are taken by a worker that does not answer.
#[tokio::test]
async fn workers_that_hang_do_not_keep_the_planner_from_posting_the_rest_itself() {
    let world = World::start().await.with_workers(SPLIT, 1, 0);
    let hub = Hub::start(world).await;
    hub.crowd(ROOM, 5 * SPLIT);
    hub.world.lambda.script(|_, before| if before == 0 { Answer::Hang } else { Answer::Serve });
    let outcome = sends_within(&hub, 9 * SECOND).await;
    let receipt = frame(&outcome);
    assert_eq!(totals(&receipt), [4 * SPLIT as u64, 0, SPLIT as u64]);
    assert!(receipt["complete"].is_null(), "{receipt}");
    assert_eq!(handed_out(&hub).len(), 1, "its place is taken");
    let last = hub.world.gateway.posts().iter().map(|post| post.at - outcome.began).max();
    assert!(last.is_some_and(|last| last < 4 * SECOND), "{last:?}: long before time is short");
    logs(hub).await;
}

#[tokio::test]
async fn a_worker_that_never_answers_is_not_waited_for_as_long_as_a_backend_has() {
    let hub = hub_of(2).await;
    hub.world.lambda.script(|_, before| if before == 0 { Answer::Hang } else { Answer::Serve });
    let publish = Function::start("publish", &hub.world).await;
    let outcome = publish.invoke(TO_ROOM, 120 * SECOND).await;
    assert_eq!(totals(outcome.response()), [600, 0, 0]);
    assert!((10.0..16.0).contains(&outcome.took.as_secs_f64()), "{:?}", outcome.took);
    log(&publish.finish());
    logs(hub).await;
}

/// Its Invoke was lost, and it may be at work.
#[tokio::test]
async fn a_worker_that_is_lost_keeps_its_place_to_the_end() {
    for trouble in [Answer::CutUnread, Answer::Bare(500), Answer::Error(503, "ServiceException")] {
        let world = World::start().await.with_workers(SPLIT, 1, 0);
        let hub = Hub::start(world).await;
        hub.crowd(ROOM, 5 * SPLIT);
        hub.world.lambda.script(move |_, _| Reaction::Beside(trouble.clone().after(SECOND / 10)));
        sends(&hub, [5 * SPLIT, 0, 0]).await;
        assert_eq!(handed_out(&hub).len(), 1);
        counts_chunks(hub, 1, 1).await;
    }
}

#[tokio::test]
async fn a_worker_that_has_surely_ended_makes_room_for_the_next() {
    for trouble in [
        Reaction::Failure,
        Answer::Error(429, "TooManyRequestsException").into(),
        Reaction::Text("{}".into()),
    ] {
        let world = World::start().await.with_workers(SPLIT, 1, 0);
        let hub = Hub::start(world).await;
        hub.crowd(ROOM, 5 * SPLIT);
        hub.world
            .lambda
            .script(move |_, before| if before == 0 { trouble.clone() } else { Answer::Serve.into() });
        sends(&hub, [5 * SPLIT, 0, 0]).await;
        let count = hands_out(&hub, 4..=4);
        assert!(hub.posts().values().all(|posts| *posts == (1, 1)));
        counts_chunks(hub, count, 1).await;
    }
}

/// A second and a half of the two that it takes at its share of the rate.
#[tokio::test]
async fn recipients_that_a_worker_does_not_reach_within_lambdas_own_limit_are_left_to_the_planner() {
    let hub = Hub::start(World::start().await.with_workers(SPLIT, 1, SPLIT)).await;
    hub.crowd(ROOM, 2 * SPLIT);
    hub.world.lambda.set_timeout(2 * SECOND);
    sends(&hub, [2 * SPLIT, 0, 0]).await;
    // One may have been under way at the end.
    let posts = hub.posts();
    assert!(
        (2 * SPLIT..2 * SPLIT + 8).contains(&hub.world.gateway.posts().len()) && posts.len() == 2 * SPLIT
    );
    let [invoke] = &handed_out(&hub)[..] else { panic!("one chunk") };
    let left = invoke.work[0].response()["left"].as_array().expect("a list").len();
    assert!((40..100).contains(&left), "{left} were left");
    counts_chunks(hub, 1, 0).await;
}

/// A hub whose fan-outs have a patience of a second.
async fn impatient(chunks: usize) -> Hub {
    let mut hub = hub_of(chunks).await;
    hub.restart(&[IMPATIENT]).await;
    hub
}

#[tokio::test]
async fn one_connection_of_a_chunk_that_is_stuck_holds_up_no_other_and_the_next_message_not_at_all() {
    for (trouble, patience) in [(THROTTLE, SECOND), (Answer::Bare(500), SECOND), (Answer::Hang, 4 * SECOND)] {
        let hub = impatient(2).await;
        let stuck = name(ROOM, 2 * SPLIT + 50);
        let (of, answer) = (stuck.clone(), trouble.clone());
        hub.world
            .gateway
            .script(move |connection, _| if connection == of { answer.clone() } else { Answer::Serve });
        let outcome = hub.send(&[ROOM], AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [599, 0, 1]);
        assert!(outcome.took < 6 * SECOND, "{trouble:?}: {:?}", outcome.took);
        let last = hub
            .world
            .gateway
            .posts()
            .iter()
            .filter(|post| *post.connection != *stuck)
            .map(|post| post.at)
            .max();
        assert!(last.is_some_and(|last| last - outcome.began < 2 * SECOND), "{trouble:?}: {last:?}");
        assert_eq!(handed_out(&hub).len(), 2);

        let before = hub.posts_to(&stuck).len();
        let outcome = hub.send(&[ROOM], AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [599, 0, 1]);
        assert!(outcome.took < patience, "{trouble:?}: {:?}", outcome.took);
        assert_eq!(hub.posts_to(&stuck).len() - before, 1, "{trouble:?}: one attempt");

        // It is well again.
        hub.world.gateway.script(|_, _| Answer::Serve);
        assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [600, 0, 0]);
        let before = hub.world.lambda.invokes().len();
        assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [600, 0, 0]);
        let invokes = hub.world.lambda.invokes();
        let again = invokes[before..].iter().any(|invoke| invoke.connections().contains(&&*stuck));
        assert!(again, "{trouble:?}: it is handed out again");
        logs(hub).await;
    }
}

/// Of the planner's own ones, beside chunks that are on their way.
#[tokio::test]
async fn one_of_the_planners_own_that_is_stuck_is_not_waited_for_longer_than_the_chunks() {
    let hub = impatient(2).await;
    hub.world.gateway.script(|connection, _| if index(connection) == 50 { THROTTLE } else { Answer::Serve });
    hub.world.lambda.script(|_, _| Reaction::Late(2 * SECOND));
    let outcome = hub.send(&[ROOM], AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [599, 0, 1]);
    assert!((2.0..6.0).contains(&outcome.took.as_secs_f64()), "{:?}", outcome.took);
    logs(hub).await;
}

#[tokio::test]
async fn recipients_that_a_worker_leaves_get_the_planners_attempts_and_are_suspect_if_those_fail() {
    let hub = impatient(2).await;
    hub.world.lambda.script(|_, before| match before {
        0 => Reaction::Text(answer(&json!({
            "delivered": SPLIT - 6, "failed": 2, "left": [3, 5, 7, 9],
            "delivery_failures": { "count": 2, "first_cause": "scripted" },
        }))),
        _ => Answer::Serve.into(),
    });
    // Two of those that are left are stuck, and two recover.
    let is_stuck = |connection: &str| [SPLIT + 3, SPLIT + 5].contains(&index(connection));
    hub.world.gateway.script(move |connection, before| match is_handed_out(connection) {
        true if is_stuck(connection) || before < 2 => THROTTLE,
        _ => Answer::Serve,
    });
    sends(&hub, [596, 0, 4]).await;
    let posts = hub.posts();
    assert_eq!(posts.len(), 404, "the first chunk was not posted but for those");
    let before: Vec<_> = [3, 5, 7, 9].iter().map(|place| posts[&name(ROOM, SPLIT + place)].0).collect();
    assert!(before[..2].iter().all(|posts| *posts > 2) && before[2..] == [3, 3], "{before:?}");

    let invokes = hub.world.lambda.invokes().len();
    sends(&hub, [598, 0, 2]).await;
    let posts = hub.posts();
    let again: Vec<_> = [3, 5, 7, 9].iter().map(|place| posts[&name(ROOM, SPLIT + place)].0).collect();
    let more: Vec<_> = before.iter().zip(again).map(|(before, again)| again - before).collect();
    assert_eq!(more, [1; 4], "one attempt for those that are remembered, and one that succeeds");
    let invokes = hub.world.lambda.invokes().split_off(invokes);
    assert!(invokes.iter().flat_map(Invoke::connections).all(|one| !is_stuck(one)), "kept at home");
    logs(hub).await;
}

/// The first post of each recipient is at hand before the workers are.
#[tokio::test]
async fn the_planner_posts_on_while_workers_start() {
    let hub = Hub::start(World::start().await.with_workers(SPLIT, WORKERS, 0)).await;
    hub.crowd(ROOM, 2 * SPLIT + 150);
    hub.world.lambda.script(|_, _| Answer::Serve.after(2 * SECOND));
    let began = Instant::now();
    sends(&hub, [550, 0, 0]).await;
    let own: Vec<_> = hub
        .world
        .gateway
        .posts()
        .into_iter()
        .filter(|post| index(&post.connection) >= 400 || !is_handed_out(&post.connection))
        .collect();
    assert_eq!(own.len(), 350);
    assert!(own.iter().all(|post| post.at - began < 2 * SECOND), "it waited for them");
    counts_chunks(hub, 1, 0).await;
}
