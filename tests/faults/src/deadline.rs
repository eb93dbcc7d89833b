//! Whatever happens, the answer is sent in time, and it is true.

use std::time::{Duration, Instant};

use harness::{Answer, Operation, Outcome};

use crate::support::{Hub, frame, index, line, totals};

/// API Gateway's patience with a socket's route.
const GATEWAY_LIMIT: Duration = Duration::from_secs(29);
const PAGE: usize = 200;
/// Rows that are read at once.
const EARLY: usize = 3 * PAGE;
/// Rows that are reached only when there is no time left to post to them.
const LATE: usize = 2 * PAGE;
const REACHABLE: usize = 100;
/// At most so many rows are read one by one between the early and the late ones.
const TRICKLE: u32 = 50;
const CROWD: usize = EARLY + TRICKLE as usize + LATE;

/// A crowd of which a hundred can be reached and the others never recover. The time for posting ends a fifth of
/// `limit` before its end, and at most 2 s; until then, reading trickles.
async fn answers_truly_within(limit: Duration, lambdas: Duration) {
    const TROUBLE: [Answer; 3] = [Answer::Bare(429), Answer::Bare(500), Answer::CutUnread];
    let hub = Hub::new().await;
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
    let receipt = frame(&outcome);
    let [delivered, gone, failed] = totals(&receipt);
    let tried = hub.posts().len();
    assert!((EARLY..EARLY + TRICKLE as usize).contains(&tried), "{tried} could be read in time");
    assert_eq!((delivered, gone), (REACHABLE as u64, 0));
    // A row may have been read, and not tried.
    assert!(
        (tried..=tried + 1).contains(&usize::try_from(delivered + failed).expect("not that many")),
        "{receipt}"
    );
    assert_eq!((&receipt["complete"], &receipt["sessions"][0]["complete"]), (&false.into(), &false.into()));
    let log = hub.log();
    assert_eq!(line(&log, "deliveries failed")["count"], failed);
    assert_eq!(line(&log, "sent")["complete"], false);
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
#[ignore = "takes half a minute: run it with scripts/test.sh --long"]
async fn a_sockets_answer_is_sent_within_29_s_even_if_lambda_would_wait_for_longer_and_true() {
    answers_truly_within(GATEWAY_LIMIT, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_crowd_that_hangs_altogether_is_counted_in_time() {
    let hub = Hub::new().await;
    hub.crowd("stadium", 3_000);
    hub.world.gateway.script(|_, _| Answer::Hang);
    let budget = Duration::from_secs(3);
    let outcome = hub.send(&["stadium"], budget).await;
    assert!(outcome.took < budget, "the answer took {:?}", outcome.took);
    let receipt = frame(&outcome);
    // What was read by the end counts, and the rest is said not to be counted.
    let [0, 0, failed @ 1_000..3_000] = totals(&receipt) else { panic!("{receipt}") };
    assert_eq!(receipt["complete"], false, "{failed} of 3,000 are known");
}

/// Sends to a crowd of 1,000, a hundred a page, while the table answers as the script says.
async fn sends(
    budget: Duration,
    script: impl FnMut(Operation, u32) -> Answer + Send + 'static,
) -> (Hub, Outcome) {
    let hub = Hub::new().await;
    hub.crowd("stadium", 1_000);
    hub.world.table.page_rows(100);
    hub.world.table.script(script);
    let outcome = hub.send(&["stadium"], budget).await;
    assert!(outcome.took < budget, "the answer took {:?}", outcome.took);
    (hub, outcome)
}

#[tokio::test]
async fn a_session_that_cannot_be_read_in_time_has_a_receipt_that_says_how_far_it_came() {
    // Two pages come well before the posts end, at 1.6 s, and the third well after.
    let slow = |operation, _| match operation {
        Operation::Query => Answer::Serve.after(Duration::from_millis(600)),
        _ => Answer::Serve,
    };
    let (hub, outcome) = sends(Duration::from_secs(2), slow).await;
    let receipt = frame(&outcome);
    let [100..1_000, 0, 0] = totals(&receipt) else { panic!("{receipt}") };
    assert_eq!((&receipt["complete"], &receipt["sessions"][0]["complete"]), (&false.into(), &false.into()));
    assert_eq!(line(&hub.log(), "sent")["complete"], false);
}

#[tokio::test]
async fn a_table_that_hangs_while_recipients_are_read_does_not_hold_back_the_receipt() {
    let hangs = |operation, count| match (operation, count) {
        (Operation::Query, 1..) => Answer::Hang,
        _ => Answer::Serve,
    };
    let (_, outcome) = sends(Duration::from_secs(3), hangs).await;
    let receipt = frame(&outcome);
    assert_eq!((totals(&receipt), &receipt["complete"]), ([100, 0, 0], &false.into()));
}

#[tokio::test]
async fn a_table_that_hangs_altogether_is_a_function_error_in_time() {
    let hangs = |operation, _| match operation {
        Operation::Query => Answer::Hang,
        _ => Answer::Serve,
    };
    let (hub, outcome) = sends(Duration::from_secs(3), hangs).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert_eq!(line(&hub.log(), "failed")["cause"], "out_of_time");
}

#[tokio::test]
async fn a_table_that_hangs_while_the_sender_is_looked_up_is_a_function_error_in_time() {
    let hangs = |operation, _| match operation {
        Operation::GetItem => Answer::Hang,
        _ => Answer::Serve,
    };
    let (hub, outcome) = sends(Duration::from_secs(3), hangs).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert_eq!(hub.world.gateway.posts().len(), 1, "only the sender is told");
}
