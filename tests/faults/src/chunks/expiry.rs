//! Recipients that expire, by the planner's clock or by a worker's, before they are posted to.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use harness::{Answer, Function, Reaction, Row, granted};
use serde_json::json;

use super::{
    ROOM, SPLIT, THROTTLE, TO_ROOM, answer, counts_chunks, handed_out, hub_of, is_handed_out, logs, sends,
};
use crate::support::{
    AMPLE, Hub, SENDER, SENDERS_SESSION, ending_in, frame, index, line, log, name, now_ms, totals,
};

/// The publish function of a hub that asks for tokens.
async fn guarded(hub: &Hub) -> Function {
    Function::with_settings("publish", &hub.world, &[("REQUIRE_GRANT", "true")]).await
}

/// Those that a worker takes for expired by a clock that is wrong.
const SUSPECTED: [usize; 4] = [0, 7, 100, 199];

#[tokio::test]
async fn recipients_that_have_expired_only_by_the_workers_clock_are_posted_to_by_the_planner() {
    let hub = hub_of(2).await;
    hub.world.lambda.script(|_, _| {
        Reaction::Text(answer(&json!({ "delivered": SPLIT - SUSPECTED.len(), "left": SUSPECTED })))
    });
    sends(&hub, [3 * SPLIT, 0, 0]).await;
    let posts = hub.posts();
    for invoke in handed_out(&hub) {
        for (place, connection) in invoke.connections().into_iter().enumerate() {
            let expected = SUSPECTED.contains(&place).then_some((1, 1));
            assert_eq!(posts.get(connection).copied(), expected, "{place}");
        }
    }
    assert_eq!(posts.len(), SPLIT + 2 * SUSPECTED.len());
    assert!(hub.world.gateway.closings().is_empty());
    counts_chunks(hub, 2, 0).await;
}

#[tokio::test]
async fn a_whole_chunk_may_have_expired_by_the_workers_clock() {
    let hub = hub_of(1).await;
    let all: Vec<usize> = (0..SPLIT).collect();
    hub.world.lambda.script(move |_, _| Reaction::Text(answer(&json!({ "delivered": 0, "left": all }))));
    sends(&hub, [2 * SPLIT, 0, 0]).await;
    assert!(hub.posts().values().all(|posts| *posts == (1, 1)));
    counts_chunks(hub, 1, 0).await;
}

/// Those recipients whose token ends while their chunk is with a worker, all of them in one chunk.
const ENDING: Range<usize> = 250..260;

fn let_end(hub: &Hub, left: i64) {
    for index in ENDING {
        hub.world.table.put(&name(ROOM, index), ending_in(ROOM, left));
    }
}

fn closed(hub: &Hub) -> Vec<usize> {
    let mut closed: Vec<_> =
        hub.world.gateway.closings().iter().map(|connection| index(connection)).collect();
    closed.sort_unstable();
    closed
}

#[tokio::test]
async fn recipients_that_expire_while_a_worker_has_them_do_not_count_and_are_closed_by_the_planner() {
    for with_tokens in [true, false] {
        let hub = hub_of(1).await;
        let_end(&hub, 2);
        let began = Instant::now();
        hub.world.gateway.script(move |connection, _| match ENDING.contains(&index(connection)) {
            true if began.elapsed() < Duration::from_secs(4) => THROTTLE,
            _ => Answer::Serve,
        });
        let publish =
            if with_tokens { guarded(&hub).await } else { Function::start("publish", &hub.world).await };
        let outcome = publish.invoke(TO_ROOM, AMPLE).await;
        let live = (2 * SPLIT - ENDING.len()) as u64;
        assert_eq!(totals(outcome.response()), [live, 0, 0]);
        let late =
            hub.world.gateway.posts().into_iter().filter(|post| ENDING.contains(&index(&post.connection)));
        assert!(
            late.into_iter().all(|post| post.at - began < Duration::from_secs(3)),
            "posted after the end"
        );
        assert_eq!(closed(&hub), if with_tokens { ENDING.collect() } else { vec![] });
        let log = log(&publish.finish());
        assert_eq!(line(&log, "sent")["closed"], if with_tokens { ENDING.len() } else { 0 });
        assert_eq!(line(&log, "sent")["chunks"], 1);
        let (_, workers) = logs(hub).await;
        assert_eq!(line(&workers[0], "delivered")["left"], ENDING.len());
    }
}

/// A message whose chunk is answered like this, three seconds after it was handed over: some of its recipients expire meanwhile.
async fn those_that_expire_meanwhile_do_not_count(answer: Answer) {
    let hub = hub_of(1).await;
    let_end(&hub, 2);
    hub.world.lambda.script(move |_, _| answer.clone().after(Duration::from_secs(3)));
    let publish = guarded(&hub).await;
    let outcome = publish.invoke(TO_ROOM, AMPLE).await;
    assert_eq!(totals(outcome.response()), [(2 * SPLIT - ENDING.len()) as u64, 0, 0]);
    assert!(hub.world.gateway.posts().iter().all(|post| !ENDING.contains(&index(&post.connection))));
    assert_eq!(closed(&hub), ENDING.collect::<Vec<_>>());
    log(&publish.finish());
    logs(hub).await;
}

#[tokio::test]
async fn recipients_that_have_expired_when_a_worker_reaches_them_do_not_count() {
    those_that_expire_meanwhile_do_not_count(Answer::Serve).await;
}

#[tokio::test]
async fn recipients_that_have_expired_when_their_chunk_comes_back_do_not_count() {
    for trouble in [Answer::Error(429, "TooManyRequestsException"), Answer::CutUnread, Answer::Bare(500)] {
        those_that_expire_meanwhile_do_not_count(trouble).await;
    }
}

#[tokio::test]
async fn a_sender_that_expires_in_a_workers_hands_is_not_closed() {
    let hub = hub_of(0).await;
    // After all others of its session.
    for index in 0..2 * SPLIT - 1 {
        hub.world.table.delete(&name(ROOM, index));
        hub.world.table.put(&name("a", index), Row::aged(SENDERS_SESSION, 60));
    }
    hub.world.table.put(SENDER, ending_in(SENDERS_SESSION, 3));
    hub.world.lambda.script(|_, _| Answer::Serve.after(Duration::from_secs(4)));
    let function = Function::with_settings("send-message", &hub.world, &[("REQUIRE_GRANT", "true")]).await;
    let text = json!({ "sessions": [SENDERS_SESSION], "message": 1 }).to_string();
    let event = granted(SENDER, SENDERS_SESSION, &text);
    let outcome = function.invoke(event, AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [(2 * SPLIT - 1) as u64, 0, 0]);
    assert_eq!(handed_out(&hub).len(), 1);
    assert!(hub.world.gateway.closings().is_empty());
    log(&function.finish());
    logs(hub).await;
}

/// Whose rows say nothing of the end: it has none.
#[tokio::test]
async fn rows_without_times_are_handed_out_too() {
    let hub = hub_of(0).await;
    for index in 0..2 * SPLIT {
        let row = Row { connected_at: None, expires_at: None, ..Row::aged(ROOM, 60) };
        hub.world.table.put(&name(ROOM, index), row);
    }
    hub.world.gateway.script(|connection, _| match index(connection) % 10 {
        0 => Answer::Bare(410),
        _ => Answer::Serve,
    });
    let now = now_ms();
    sends(&hub, [360, 40, 0]).await;
    let [invoke] = &hub.world.lambda.invokes()[..] else { panic!("one chunk of {now}") };
    assert_eq!(invoke.chunk["connections"][5], json!([name(ROOM, SPLIT + 5), null, null]));
    assert!(
        (0..2 * SPLIT).all(|index| hub.has_row(&name(ROOM, index))),
        "an age that is not known is no age"
    );
    assert!(invoke.connections().iter().all(|connection| is_handed_out(connection)));
    logs(hub).await;
}
