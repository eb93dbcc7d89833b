//! Recipients that wait for a chunk to fill are posted to, however reading goes on.

use std::{sync::Arc, time::Duration};

use harness::{Answer, Operation, Row, World};
use serde_json::json;
use tokio::{sync::Semaphore, time::sleep};

use super::{ROOM, SPLIT, check_chunks, counts_chunks, handed_out, hands_out, hub, logs, sends};
use crate::support::{AMPLE, Hub, ending_in, frame, name, totals, until};

const BUDGET: Duration = Duration::from_secs(5);

#[tokio::test]
async fn pages_of_any_size_fill_the_same_chunks() {
    for rows in [7, 150, 200, 201] {
        let hub = hub().await;
        hub.crowd(ROOM, 5 * SPLIT + 150);
        hub.world.table.page_rows(rows);
        sends(&hub, [5 * SPLIT + 150, 0, 0]).await;
        assert!(hub.posts().values().all(|posts| *posts == (1, 1)));
        check_chunks(&hub.world, &hub.world.lambda.invokes(), SPLIT);
        let count = hands_out(&hub, 4..=4);
        counts_chunks(hub, count, 0).await;
    }
}

#[tokio::test]
async fn where_a_page_fails_what_was_read_before_is_posted_by_the_planner() {
    let hub = hub().await;
    hub.crowd(ROOM, 2 * SPLIT);
    hub.world.table.page_rows(SPLIT + 150);
    hub.world.table.page_script(|_, page| match page {
        0 => Answer::Serve,
        _ => Answer::Error(500, "InternalServerError"),
    });
    let receipt = frame(&hub.send(&[ROOM], AMPLE).await);
    assert_eq!((totals(&receipt), &receipt["complete"]), ([350, 0, 0], &json!(false)));
    counts_chunks(hub, 0, 0).await;
}

#[tokio::test]
async fn where_a_page_hangs_what_was_read_before_is_still_posted() {
    let hub = hub().await;
    hub.crowd(ROOM, 2 * SPLIT);
    hub.world.table.page_rows(SPLIT + 150);
    hub.world.table.page_script(|_, page| if page == 0 { Answer::Serve } else { Answer::Hang });
    let outcome = hub.send(&[ROOM], BUDGET).await;
    assert!(outcome.took < BUDGET, "{:?}", outcome.took);
    let receipt = frame(&outcome);
    assert_eq!((totals(&receipt), &receipt["complete"]), ([350, 0, 0], &json!(false)));
    logs(hub).await;
}

#[tokio::test]
async fn where_a_table_hangs_what_was_read_of_the_other_is_still_posted() {
    for of_subscriptions in [false, true] {
        let world = super::world().await.with_subscriptions();
        let hub = Hub::start(world).await;
        if of_subscriptions {
            hub.crowd(ROOM, SPLIT + 150);
            hub.world.subscriptions.page_script(|_, _| Answer::Hang);
        } else {
            hub.subscribers(ROOM, SPLIT + 150);
            hub.world.table.page_script(|_, _| Answer::Hang);
        }
        let outcome = hub.send(&[ROOM], BUDGET).await;
        assert!(outcome.took < BUDGET, "{:?}", outcome.took);
        let receipt = frame(&outcome);
        assert_eq!(
            (totals(&receipt), &receipt["complete"]),
            ([350, 0, 0], &json!(false)),
            "{of_subscriptions}"
        );
        logs(hub).await;
    }
}

/// One page after another comes slowly, and each of its recipients is soon posted to.
#[tokio::test]
async fn chunks_are_handed_out_while_reading_goes_on() {
    let hub = hub().await;
    hub.crowd(ROOM, 4 * SPLIT);
    hub.world.table.page_rows(SPLIT);
    hub.world.table.script(|operation, before| match (operation, before) {
        (Operation::Query, 1..) => Answer::Serve.after(Duration::from_millis(500)),
        _ => Answer::Serve,
    });
    let outcome = hub.send(&[ROOM], AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [800, 0, 0]);
    let handed_out = handed_out(&hub);
    assert_eq!(handed_out.len(), 3);
    let at = |chunk: usize| handed_out[chunk].at - outcome.began;
    assert!(at(1) - at(0) > Duration::from_millis(400), "{:?} {:?}", at(0), at(1));
    counts_chunks(hub, 3, 0).await;
}

/// The last rows of a session that is larger than what is at hand at once.
#[tokio::test]
async fn chunks_that_wait_for_a_worker_hold_up_reading_and_nothing_is_lost() {
    let world = World::start().await.with_workers(20, 2, 0);
    let hub = Hub::start(world).await;
    for index in 0..1_030_usize {
        let has_expired = index % 100 == 99 && index < 1_000;
        let row = if has_expired { ending_in(ROOM, -5) } else { Row::aged(ROOM, 60) };
        hub.world.table.put(&name(ROOM, index), row);
    }
    hub.world.table.page_rows(50);
    sends(&hub, [1_020, 0, 0]).await;
    assert!(hub.posts().values().all(|posts| *posts == (1, 1)));
    let invokes = hub.world.lambda.invokes();
    check_chunks(&hub.world, &invokes, 20);
    let count = hands_out(&hub, 50..=50);
    counts_chunks(hub, count, 0).await;
}

/// They are in the planner's memory.
#[tokio::test]
async fn while_full_chunks_wait_for_a_worker_no_more_is_read() {
    let hub = Hub::start(World::start().await.with_workers(20, 1, 0)).await;
    hub.crowd(ROOM, 1_000);
    hub.world.table.page_rows(50);
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    hub.world.lambda.script(move |_, _| Answer::Serve.once(&held));
    let holding = async {
        until(|| hub.world.lambda.invokes().len() == 1).await;
        // Idle for 2 s, the planner would post a chunk itself.
        sleep(Duration::from_millis(300)).await;
        let calls = hub.world.table.calls();
        gate.add_permits(1_000);
        calls.iter().filter(|call| call.operation == Operation::Query).count()
    };
    let (outcome, pages) = tokio::join!(hub.send(&[ROOM], AMPLE), holding);
    assert_eq!(totals(&frame(&outcome)), [1_000, 0, 0]);
    assert!(pages < 8, "{pages} of 21 pages");
    logs(hub).await;
}

/// So few posts are soon over: then no answer wakes the planner.
#[tokio::test]
async fn one_recipient_for_which_there_is_no_full_chunk_is_posted_to_when_reading_ends_or_hangs() {
    for hangs in [false, true] {
        let hub = Hub::start(World::start().await.with_workers(2, 1, 0)).await;
        hub.crowd(ROOM, if hangs { 4 } else { 3 });
        hub.world.table.page_rows(3);
        hub.world
            .table
            .page_script(move |_, page| if hangs && page == 1 { Answer::Hang } else { Answer::Serve });
        assert_eq!(totals(&frame(&hub.send(&[ROOM], BUDGET).await)), [3, 0, 0], "{hangs}");
        logs(hub).await;
    }
}
