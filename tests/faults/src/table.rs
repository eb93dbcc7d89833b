//! DynamoDB's faults: ridden out while that is possible, and told to everyone concerned where it is not.

use std::sync::Arc;

use harness::{Answer, Operation, Row};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{AMPLE, Hub, ID, SENDER, SENDERS_SESSION, counted, frame, line, name, totals, until};

const THROTTLE: Answer = Answer::Error(400, "ProvisionedThroughputExceededException");

#[tokio::test]
async fn a_table_that_is_down_is_an_error_for_the_sender_that_shows_no_internals() {
    let hub = Hub::new().await;
    hub.crowd("room", 100);
    hub.world.table.script(|operation, _| match operation {
        Operation::Query => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });

    let outcome = hub.send(&["room", "hall"], AMPLE).await;

    let error = outcome.error();
    assert_eq!(error["errorType"], "internal");
    for internal in ["InternalServerError", "DynamoDB", "127.0.0.1", harness::TABLE, "scripted"] {
        assert!(!error.to_string().contains(internal), "{error}");
    }
    assert_eq!(hub.posts().len(), 1, "the sender");
    let [notice] = &hub.posts_to(SENDER)[..] else { panic!("the sender should be told once") };
    let notice: Value = serde_json::from_slice(&notice.frame).expect("a frame should be JSON");
    assert_eq!(
        (&notice["type"], &notice["code"], &notice["id"]),
        (&"error".into(), &"internal".into(), &ID.into())
    );
    assert_eq!(notice["message"], error["errorMessage"]);

    let log = hub.log();
    let failed = line(&log, "failed");
    assert_eq!((&failed["level"], &failed["cause"]), (&"ERROR".into(), &"table".into()));
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("InternalServerError")), "{failed}");
    assert_eq!(counted(&log, "HandlerErrors"), 1.0);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_keeps_no_other_from_being_served() {
    let hub = Hub::new().await;
    for session in ["a", "hall", "room", "z"] {
        hub.crowd(session, 60);
    }
    hub.world.table.page_rows(50);
    hub.world.table.page_script(move |session, page| match (session, page) {
        ("hall" | "room", 1) => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    let receipt = frame(&hub.send(&["a", "hall", "room", "z"], AMPLE).await);
    let count = |session: &str, delivered: u32, complete: bool| {
        let mut count = json!({ "session": session, "delivered": delivered, "gone": 0, "failed": 0 });
        if !complete {
            count["complete"] = false.into();
        }
        count
    };
    let expected =
        [count("a", 60, true), count("hall", 50, false), count("room", 50, false), count("z", 60, true)];
    assert_eq!((&receipt["sessions"], &receipt["complete"]), (&json!(expected), &false.into()));
    let log = hub.log();
    let unread = line(&log, "sessions not served");
    assert_eq!((&unread["level"], &unread["count"]), (&"ERROR".into(), &2.into()));
    assert_eq!(line(&log, "sent")["complete"], false);
    assert_eq!(counted(&log, "HandlerErrors"), 1.0);
}

#[tokio::test]
async fn a_few_throttles_and_faults_are_ridden_out_and_the_throttles_counted() {
    let hub = Hub::new().await;
    hub.crowd("room", 100);
    hub.world.table.page_rows(50);
    hub.world.table.script(|operation, count| match (operation, count) {
        (Operation::GetItem, 0) | (Operation::Query, 0 | 1) => THROTTLE,
        (Operation::Query, 3) => Answer::Error(500, "InternalServerError"),
        (Operation::Query, 4) => Answer::CutUnread,
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [100, 0, 0]);
    assert!(hub.posts().values().all(|posts| *posts == (1, 1)));
    assert_eq!(counted(&hub.log(), "TableThrottled"), 3.0);
}

#[tokio::test]
async fn a_sender_that_cannot_be_looked_up_gets_an_error_and_nothing_is_delivered() {
    let hub = Hub::new().await;
    hub.crowd("room", 1);
    hub.world.table.script(|operation, _| match operation {
        Operation::GetItem => THROTTLE,
        _ => Answer::Serve,
    });
    let outcome = hub.send(&["room"], AMPLE).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert_eq!(hub.posts_to(SENDER).len(), 1);
    assert_eq!(hub.posts().len(), 1);
    let calls = hub.world.table.calls();
    let attempts = calls.iter().filter(|call| call.operation == Operation::GetItem).count();
    assert_eq!(
        counted(&hub.log(), "TableThrottled"),
        f64::from(u32::try_from(attempts).expect("not that many"))
    );
}

#[tokio::test]
async fn a_failed_invocation_leaves_the_next_one_unharmed() {
    let hub = Hub::new().await;
    hub.crowd("room", 1);
    hub.world.table.script(|operation, count| match (operation, count) {
        (Operation::GetItem, ..20) => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    for _ in 0..4 {
        assert_eq!(hub.send(&["room"], AMPLE).await.error()["errorType"], "internal");
    }
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 0, 0]);
}

#[tokio::test]
async fn every_page_is_read_whatever_its_size_even_an_empty_last_one() {
    let hub = Hub::new().await;
    hub.crowd("room", 60);
    hub.crowd("hall", 7);
    for (rows, pages) in [(1, 61 + 1 + 8), (7, 9 + 1 + 2), (30, 3 + 1 + 1), (60, 2 + 1 + 1), (61, 1 + 1 + 1)]
    {
        hub.world.table.page_rows(rows);
        let before = queries(&hub);
        let receipt = frame(&hub.send(&["room", "nobody", "hall"], AMPLE).await);
        assert_eq!(totals(&receipt), [67, 0, 0], "{rows} rows a page");
        let count = |session, delivered| json!({ "session": session, "delivered": delivered, "gone": 0, "failed": 0 });
        assert_eq!(receipt["sessions"], json!([count("room", 60), count("nobody", 0), count("hall", 7)]));
        assert_eq!(queries(&hub) - before, pages, "{rows} rows a page");
    }
}

#[tokio::test]
async fn the_first_page_is_posted_while_the_second_is_read() {
    let hub = Hub::new().await;
    hub.crowd("room", 20);
    hub.world.table.page_rows(10);
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    hub.world.table.script(move |operation, count| match (operation, count) {
        (Operation::Query, 1) => Answer::Serve.once(&held),
        _ => Answer::Serve,
    });
    let releasing = async {
        until(|| hub.posts().len() == 10).await;
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(hub.send(&["room"], AMPLE), releasing);
    assert_eq!(totals(&frame(&outcome)), [20, 0, 0]);
}

fn queries(hub: &Hub) -> usize {
    hub.world.table.calls().iter().filter(|call| call.operation == Operation::Query).count()
}

#[tokio::test]
async fn a_row_that_has_expired_is_not_there() {
    let hub = Hub::new().await;
    hub.crowd("room", 3);
    let second = name("room", 1);
    let expired = Row { expires_at: Some(now() - 1), ..Row::aged("room", 9_001) };
    hub.world.table.put(&second, expired);
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [2, 0, 0]);
    assert_eq!(hub.posts_to(&second).len(), 0);
    assert_eq!(hub.deletions(), [""; 0], "removing it is DynamoDB's own task");
}

#[tokio::test]
async fn a_sender_that_has_expired_is_not_connected() {
    let hub = Hub::new().await;
    hub.crowd("room", 1);
    let expired = Row { expires_at: Some(now() - 1), ..Row::aged(SENDERS_SESSION, 9_001) };
    hub.world.table.put(SENDER, expired);
    let error = frame(&hub.send(&["room"], AMPLE).await);
    assert_eq!((&error["code"], &error["id"]), (&"not_connected".into(), &ID.into()));
    assert_eq!(hub.posts().len(), 0);
}

fn now() -> i64 {
    crate::support::now_ms() / 1000
}
