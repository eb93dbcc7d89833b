//! 410 Gone: asked about twice, believed then, and a row deleted only where that can do no harm.

use std::{sync::Arc, time::Duration};

use harness::{Answer, Operation, Row};
use tokio::sync::Semaphore;

use crate::support::{AMPLE, Hub, SENDER, SENDERS_SESSION, counted, frame, line, totals, until};

const ALICE: &str = "alice=";

/// A hub whose one recipient connected `age` seconds ago and gets `answer` to the post of that number.
async fn alice(age: i64, answer: impl Fn(u32) -> Answer + Send + 'static) -> Hub {
    let hub = Hub::new().await;
    hub.world.table.put(ALICE, Row::aged("alice", age));
    hub.world.gateway.script(move |_, before| answer(before));
    hub
}

#[tokio::test]
async fn a_typed_410_is_gone_and_a_stale_row_is_pruned() {
    let hub = alice(60, |_| Answer::Error(410, "GoneException")).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [0, 1, 0]);
    assert_eq!((hub.posts()[ALICE], hub.has_row(ALICE)), ((2, 0), false));
}

#[tokio::test]
async fn a_410_without_an_error_type_is_gone_too() {
    let hub = alice(60, |_| Answer::Bare(410)).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [0, 1, 0]);
    assert_eq!((hub.posts()[ALICE], hub.has_row(ALICE)), ((2, 0), false));
}

#[tokio::test]
async fn a_410_is_asked_about_again_after_200_ms() {
    let hub = alice(60, |_| Answer::Bare(410)).await;
    hub.send(&["alice"], AMPLE).await;
    let [first, second] = &hub.posts_to(ALICE)[..] else { panic!("it should be asked about twice") };
    assert!(second.at - first.at >= Duration::from_millis(200), "{:?}", second.at - first.at);
}

#[tokio::test]
async fn a_410_for_a_row_younger_than_the_grace_is_gone_but_not_pruned() {
    let hub = alice(3, |_| Answer::Bare(410)).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [0, 1, 0]);
    assert!(hub.has_row(ALICE));
}

#[tokio::test]
async fn a_410_for_a_row_barely_older_than_the_grace_is_pruned() {
    let hub = alice(11, |_| Answer::Bare(410)).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [0, 1, 0]);
    assert!(!hub.has_row(ALICE));
}

#[tokio::test]
async fn a_410_for_a_row_of_unknown_age_is_gone_but_not_pruned() {
    let hub = alice(60, |_| Answer::Bare(410)).await;
    hub.world.table.put(ALICE, Row { connected_at: None, ..Row::aged("alice", 60) });
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [0, 1, 0]);
    assert!(hub.has_row(ALICE));
}

#[tokio::test]
async fn a_410_that_turns_into_a_200_is_delivered() {
    let hub = alice(60, |before| if before == 0 { Answer::Bare(410) } else { Answer::Serve }).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [1, 0, 0]);
    assert_eq!((hub.posts()[ALICE], hub.deletions()), ((2, 1), vec![]));
}

#[tokio::test]
async fn a_410_between_other_faults_is_still_asked_about_twice() {
    let answers = [Answer::Bare(500), Answer::Bare(410), Answer::CutRead, Answer::Bare(429)];
    let hub =
        alice(60, move |before| answers.get(before as usize).cloned().unwrap_or(Answer::Bare(410))).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [0, 1, 0]);
    assert_eq!((hub.posts()[ALICE], hub.has_row(ALICE)), ((5, 1), false));
}

#[tokio::test]
async fn a_lost_connection_is_never_gone() {
    let hub = alice(60, |before| if before < 3 { Answer::CutUnread } else { Answer::Serve }).await;
    assert_eq!(totals(&frame(&hub.send(&["alice"], AMPLE).await)), [1, 0, 0]);
    assert!(hub.has_row(ALICE));
}

#[tokio::test]
async fn the_senders_own_row_is_never_pruned() {
    let hub = Hub::new().await;
    hub.world.table.put(ALICE, Row::aged(SENDERS_SESSION, 60));
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    assert_eq!(totals(&frame(&hub.send(&[SENDERS_SESSION], AMPLE).await)), [0, 2, 0]);
    assert!(hub.has_row(SENDER) && !hub.has_row(ALICE));
    assert_eq!(hub.deletions(), [ALICE]);
}

#[tokio::test]
async fn a_prune_that_fails_is_logged_and_changes_nothing_in_the_receipt() {
    let hub = Hub::new().await;
    let crowd = hub.crowd("room", 3);
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    hub.world.table.script(|operation, count| match (operation, count) {
        (Operation::DeleteItem, 0) => Answer::Error(400, "ProvisionedThroughputExceededException"),
        (Operation::DeleteItem, 1) => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [0, 3, 0]);
    assert_eq!(crowd.iter().filter(|connection| hub.has_row(connection)).count(), 2);
    let log = hub.log();
    assert_eq!(line(&log, "prunes failed")["count"], 2);
    assert_eq!(line(&log, "sent")["pruned"], 1);
    assert_eq!(counted(&log, "TableThrottled"), 1.0);
}

#[tokio::test]
async fn a_row_that_is_replaced_while_its_prune_is_under_way_is_kept() {
    let hub = alice(60, |_| Answer::Bare(410)).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    hub.world.table.script(move |operation, _| match operation {
        Operation::DeleteItem => Answer::Serve.once(&held),
        _ => Answer::Serve,
    });
    let sending = hub.send(&["alice"], AMPLE);
    let connecting_again = async {
        until(|| !hub.deletions().is_empty()).await;
        hub.world.table.put(ALICE, Row::aged("alice", 0));
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(sending, connecting_again);
    assert_eq!(totals(&frame(&outcome)), [0, 1, 0]);
    assert!(hub.has_row(ALICE));
}
