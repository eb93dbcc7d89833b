//! Whatever happens, the answer is sent in time, and it is true.

use std::time::{Duration, Instant};

use harness::{Answer, Operation, Outcome};

use crate::support::{Hub, frame, index, line, totals};

/// API Gateway's patience with a socket's route.
const GATEWAY_LIMIT: Duration = Duration::from_secs(29);
const PAGE: usize = 1_000;
/// Rows that are read at once.
const EARLY: usize = 3 * PAGE;
/// Rows that are only read when there is no time left to post to them.
const LATE: usize = 2 * PAGE;
const REACHABLE: usize = 100;
/// At most so many rows are read one by one between the early and the late ones.
const TRICKLE: u32 = 50;
const CROWD: usize = EARLY + TRICKLE as usize + LATE;

/// A crowd of which a hundred can be reached and nobody else ever recovers. The time for posting ends a fifth of
/// `limit` before its end, and at most 2 s; until then, reading trickles.
async fn answers_truly_within(limit: Duration, lambdas: Duration) {
    const TROUBLE: [Answer; 3] = [Answer::Bare(429), Answer::Bare(500), Answer::CutUnread];
    let hub = Hub::alone().await;
    hub.crowd("stadium", CROWD);
    hub.world.gateway.script(|connection, _| match index(connection) {
        ..REACHABLE => Answer::Serve,
        other => TROUBLE[other % TROUBLE.len()].clone(),
    });
    let (table, mut began) = (hub.world.table.clone(), None);
    let posting = limit - (limit / 5).min(Duration::from_secs(2));
    hub.world.table.script(move |operation, count| {
        let late = began.get_or_insert_with(Instant::now).elapsed() >= posting;
        if operation == Operation::Query && count as usize >= EARLY / PAGE && !late {
            table.page_rows(1);
            return Answer::Serve.after(posting / TRICKLE);
        }
        table.page_rows(PAGE);
        Answer::Serve
    });

    let outcome = hub.send(&["stadium"], lambdas).await;

    assert!(outcome.took < limit, "the answer took {:?}", outcome.took);
    assert_eq!(totals(&frame(&outcome)), [REACHABLE as u64, 0, (CROWD - REACHABLE) as u64]);
    let last_tried = hub.posts().keys().map(|connection| index(connection)).max();
    assert!(last_tried < Some(EARLY + TRICKLE as usize), "{last_tried:?} was not to be read in time");
    assert_eq!(line(&hub.log(), "deliveries failed")["count"], CROWD - REACHABLE);
}

#[tokio::test]
async fn an_answer_due_in_1_s_is_sent_in_time_and_true() {
    answers_truly_within(Duration::from_secs(1), Duration::from_secs(1)).await;
}

#[tokio::test]
async fn an_answer_due_in_5_s_is_sent_in_time_and_true() {
    answers_truly_within(Duration::from_secs(5), Duration::from_secs(5)).await;
}

#[tokio::test]
#[ignore = "takes half a minute: run it with --include-ignored, as scripts/test.sh --long does"]
async fn a_sockets_answer_is_sent_within_29_s_even_if_lambda_would_wait_for_longer_and_true() {
    answers_truly_within(GATEWAY_LIMIT, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_crowd_that_hangs_altogether_is_counted_in_time() {
    let hub = Hub::alone().await;
    hub.crowd("stadium", 3_000);
    hub.world.gateway.script(|_, _| Answer::Hang);
    let budget = Duration::from_secs(3);
    let outcome = hub.send(&["stadium"], budget).await;
    assert!(outcome.took < budget, "the answer took {:?}", outcome.took);
    assert_eq!(totals(&frame(&outcome)), [0, 0, 3_000]);
}

/// Sends to a crowd of 1,000 while the table answers as the script says, which must fail in time.
async fn fails_in_time(
    budget: Duration,
    script: impl FnMut(Operation, u32) -> Answer + Send + 'static,
) -> (Hub, Outcome) {
    let hub = Hub::alone().await;
    hub.crowd("stadium", 1_000);
    hub.world.table.page_rows(100);
    hub.world.table.script(script);
    let outcome = hub.send(&["stadium"], budget).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert!(outcome.took < budget, "the answer took {:?}", outcome.took);
    (hub, outcome)
}

#[tokio::test]
async fn a_session_that_cannot_be_read_in_time_is_a_function_error_and_never_a_short_receipt() {
    let slow = |operation, _| match operation {
        Operation::Query => Answer::Serve.after(Duration::from_millis(300)),
        _ => Answer::Serve,
    };
    let (hub, _) = fails_in_time(Duration::from_secs(2), slow).await;
    let log = hub.log();
    let sent = line(&log, "sent");
    assert_eq!(sent["complete"], false);
    let delivered = sent["delivered"].as_u64().expect("a count");
    assert!((100..1_000).contains(&delivered), "{sent}");
    assert_eq!(line(&log, "failed")["cause"], "out_of_time");
}

#[tokio::test]
async fn a_table_that_hangs_while_recipients_are_read_is_a_function_error_in_time() {
    let hangs = |operation, count| match (operation, count) {
        (Operation::Query, 1..) => Answer::Hang,
        _ => Answer::Serve,
    };
    let (hub, _) = fails_in_time(Duration::from_secs(3), hangs).await;
    assert_eq!(line(&hub.log(), "failed")["cause"], "out_of_time");
}

#[tokio::test]
async fn a_table_that_hangs_while_the_sender_is_looked_up_is_a_function_error_in_time() {
    let hangs = |operation, _| match operation {
        Operation::GetItem => Answer::Hang,
        _ => Answer::Serve,
    };
    let (hub, _) = fails_in_time(Duration::from_secs(3), hangs).await;
    assert_eq!(hub.world.gateway.posts().len(), 1, "only the sender is told");
}
