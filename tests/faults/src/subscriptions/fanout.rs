//! A message reaches its sessions' own connections and those that are subscribed, whatever becomes of either reading.

use std::time::{Duration, Instant};

use harness::{Answer, Function, Operation, Row, World, over_socket};
use serde_json::{Value, json};

use super::{ROOM, THROTTLE, calls, counts, heard, lay, queries};
use crate::{
    delivery,
    support::{AMPLE, Hub, SENDER, counted, ending_in, frame, index, line, log, name, totals},
};

#[tokio::test]
async fn a_connection_gets_one_delivery_for_each_addressed_session_that_it_is_in() {
    let hub = Hub::with_subscriptions().await;
    hub.crowd("hall", 2);
    hub.crowd(ROOM, 1);
    let both = name("hall", 0);
    lay(&hub.world, &both, &[ROOM.to_owned(), "attic".to_owned()]);
    let receipt = frame(&hub.send(&["hall", ROOM, "hall"], AMPLE).await);
    let count = |session: &str, delivered| json!({ "session": session, "delivered": delivered, "gone": 0, "failed": 0 });
    assert_eq!(
        (totals(&receipt), &receipt["sessions"]),
        ([4, 0, 0], &json!([count("hall", 2), count(ROOM, 2)]))
    );
    let mut sessions = heard(&hub, &both);
    sessions.sort();
    assert_eq!(sessions, ["hall", ROOM]);
    assert_eq!(heard(&hub, &name("hall", 1)), ["hall"]);
    assert_eq!(heard(&hub, &name(ROOM, 0)), [ROOM]);
    assert_eq!(totals(&frame(&hub.send(&["attic"], AMPLE).await)), [1, 0, 0]);
    hub.log();
}

#[tokio::test]
async fn every_page_of_both_is_read_and_that_of_subscriptions_consistently() {
    let hub = Hub::with_subscriptions().await;
    hub.crowd(ROOM, 25);
    hub.subscribers(ROOM, 35);
    for (rows, pages) in [(10, [3, 4]), (35, [1, 2]), (1, [26, 36]), (36, [1, 1])] {
        for table in [&hub.world.table, &hub.world.subscriptions] {
            table.page_rows(rows);
        }
        let before = [queries(&hub.world.table), queries(&hub.world.subscriptions)];
        assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [60, 0, 0], "{rows}");
        let after = [queries(&hub.world.table), queries(&hub.world.subscriptions)];
        assert_eq!([after[0] - before[0], after[1] - before[1]], pages, "{rows} rows a page");
    }
    let calls = hub.world.subscriptions.calls();
    assert!(calls.iter().all(|call| call.input["ConsistentRead"] == true), "an old page lacks who came last");
    assert!(hub.posts().values().all(|posts| *posts == (4, 4)));
    hub.log();
}

#[tokio::test]
async fn where_one_reading_fails_the_recipients_of_the_other_are_served() {
    for of_subscriptions in [false, true] {
        for page in [0, 1] {
            for history in [false, true] {
                let hub = if history { Hub::with_history().await } else { Hub::with_subscriptions().await };
                hub.crowd(ROOM, 20);
                hub.crowd("hall", 1);
                hub.subscribers(ROOM, 20);
                let tables = [&hub.world.table, &hub.world.subscriptions];
                tables.iter().for_each(|table| table.page_rows(10));
                tables[usize::from(of_subscriptions)].page_script(move |session, later| {
                    match later == page {
                        true if session == ROOM => Answer::Error(500, "InternalServerError"),
                        _ => Answer::Serve,
                    }
                });
                let what = format!("subscriptions: {of_subscriptions}, page {page}, history: {history}");
                let receipt = frame(&hub.send(&[ROOM, "hall"], AMPLE).await);
                let delivered = 20 + 10 * u64::from(page);
                assert_eq!(totals(&receipt), [delivered + 1, 0, 0], "{what}");
                let complete = [&receipt["complete"], &receipt["sessions"][0]["complete"]];
                assert_eq!(complete, [&json!(false); 2], "{what}");
                assert_eq!(receipt["sessions"][1]["complete"], Value::Null, "{what}");
                assert_eq!(receipt["sessions"][0]["offset"].is_u64(), history, "{what}");
                let log = hub.log();
                let unread = line(&log, "sessions not served");
                assert_eq!((&unread["level"], &unread["count"]), (&json!("ERROR"), &json!(1)), "{what}");
                assert_eq!(counted(&log, "HandlerErrors"), 1.0, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn only_where_nothing_at_all_could_be_read_the_message_has_failed() {
    let hub = Hub::with_subscriptions().await;
    hub.crowd(ROOM, 1);
    hub.subscribers(ROOM, 1);
    for table in [&hub.world.table, &hub.world.subscriptions] {
        table.page_script(|_, _| Answer::Error(500, "InternalServerError"));
    }
    assert_eq!(hub.send(&[ROOM], AMPLE).await.error()["errorType"], "internal");
    assert_eq!(hub.posts().keys().collect::<Vec<_>>(), [SENDER]);
    hub.log();
}

#[tokio::test]
async fn that_there_are_no_subscribers_is_no_receipt_where_the_sessions_own_connections_cannot_be_read() {
    let hub = Hub::with_subscriptions().await;
    hub.crowd(ROOM, 1);
    hub.world.table.page_script(|_, _| Answer::Error(500, "InternalServerError"));
    assert_eq!(hub.send(&[ROOM], AMPLE).await.error()["errorType"], "internal");
    hub.log();

    // A room has no connections of its own, and that much is known.
    let hub = Hub::with_subscriptions().await;
    hub.world.subscriptions.page_script(|_, _| Answer::Error(500, "InternalServerError"));
    let receipt = frame(&hub.send(&[ROOM], AMPLE).await);
    assert_eq!((totals(&receipt), &receipt["complete"]), ([0, 0, 0], &json!(false)));
    hub.log();
}

#[tokio::test]
async fn a_few_throttles_of_the_subscriptions_are_ridden_out_and_counted() {
    let hub = Hub::with_subscriptions().await;
    hub.subscribers(ROOM, 20);
    hub.world.subscriptions.page_rows(15);
    hub.world.subscriptions.script(|_, count| match count {
        0 | 1 | 3 => THROTTLE,
        4 => Answer::CutUnread,
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [20, 0, 0]);
    assert_eq!(counted(&hub.log(), "TableThrottled"), 3.0);
}

#[tokio::test]
async fn a_table_of_subscriptions_that_hangs_holds_up_no_connection_of_the_sessions_own() {
    for history in [false, true] {
        let hub = if history { Hub::with_history().await } else { Hub::with_subscriptions().await };
        hub.crowd(ROOM, 50);
        hub.crowd("hall", 1);
        hub.subscribers(ROOM, 5);
        hub.world.subscriptions.page_script(|session, _| match session {
            ROOM => Answer::Hang,
            _ => Answer::Serve,
        });
        let budget = Duration::from_secs(5);
        let outcome = hub.send(&[ROOM, "hall"], budget).await;
        let receipt = frame(&outcome);
        assert_eq!((totals(&receipt), outcome.took < budget), ([51, 0, 0], true));
        assert_eq!(
            [&receipt["complete"], &receipt["sessions"][0]["complete"], &receipt["sessions"][1]["complete"]],
            [&json!(false), &json!(false), &Value::Null]
        );
        let last = hub.world.gateway.posts().iter().map(|post| post.at - outcome.began).max();
        assert!(last.is_some_and(|last| last < Duration::from_secs(1)), "{last:?}");
        hub.log();
    }
}

#[tokio::test]
async fn a_table_of_connections_that_hangs_holds_up_no_subscriber() {
    let hub = Hub::with_subscriptions().await;
    hub.crowd(ROOM, 5);
    hub.subscribers(ROOM, 50);
    hub.world.table.page_script(|_, _| Answer::Hang);
    let budget = Duration::from_secs(5);
    let outcome = hub.send(&[ROOM], budget).await;
    let receipt = frame(&outcome);
    assert_eq!((totals(&receipt), &receipt["complete"]), ([50, 0, 0], &json!(false)));
    let last = hub.world.gateway.posts().iter().map(|post| post.at - outcome.began).max();
    assert!(outcome.took < budget && last.is_some_and(|last| last < Duration::from_secs(1)), "{last:?}");
    hub.log();
}

#[tokio::test]
async fn a_subscription_that_has_expired_is_not_there_even_if_it_expires_while_it_waits() {
    let hub = Hub::with_subscriptions().await;
    let subscribers = hub.subscribers(ROOM, 3);
    hub.world.subscriptions.put(&subscribers[0], ending_in(ROOM, -1));
    hub.world.subscriptions.put(&subscribers[1], ending_in(ROOM, 2));
    let (late, began) = (subscribers[1].clone(), Instant::now());
    hub.world.gateway.script(move |connection, _| match connection == late {
        true if began.elapsed() < Duration::from_secs(4) => Answer::Error(429, "LimitExceededException"),
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [1, 0, 0]);
    assert!(hub.posts_to(&subscribers[0]).is_empty());
    assert!(hub.posts_to(&subscribers[1]).iter().all(|post| post.at - began < Duration::from_secs(3)));
    assert_eq!(hub.deletions(), [""; 0], "removing them is DynamoDB's own task");
    assert_eq!(counts(&hub.world.subscriptions, Operation::DeleteItem), 0);
    hub.log();
}

#[tokio::test]
async fn thousands_of_subscribers_with_every_kind_of_fault_lose_nothing() {
    const CROWD: usize = 2_000;
    let hub = Hub::start(World::start().await.with_subscriptions()).await;
    for index in 0..CROWD {
        // Every third one is the session's own.
        let connection = name("mixed", index);
        hub.world.table.put(&connection, Row::aged(if index % 3 == 0 { ROOM } else { "elsewhere" }, 60));
        if index % 3 > 0 {
            lay(&hub.world, &connection, &[ROOM.to_owned()]);
        }
    }
    for table in [&hub.world.table, &hub.world.subscriptions] {
        table.page_rows(170);
    }
    hub.world.gateway.script(|connection, before| delivery::answer(index(connection), before));
    let gone = (0..CROWD).filter(|index| delivery::is_gone(*index)).count() as u64;
    assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [CROWD as u64 - gone, gone, 0]);
    let posts = hub.posts();
    for index in 0..CROWD {
        let connection = name("mixed", index);
        assert_eq!(posts[&connection], delivery::expected_posts(index), "{connection}");
        let is_left = !delivery::is_gone(index);
        let rows = (hub.has_row(&connection), !hub.world.subscriptions.sessions(&connection).is_empty());
        assert_eq!(rows, (is_left, is_left && index % 3 > 0), "{connection}");
    }
    hub.log();
}

/// Outside the order, it needs no number to wait for.
#[tokio::test]
async fn a_message_that_is_not_to_be_stored_reaches_subscribers_too() {
    let hub = Hub::with_history().await;
    hub.subscribers(ROOM, 3);
    let text = json!({ "action": "sendMessage", "sessions": [ROOM], "message": 1, "store": false });
    let outcome = hub.function.invoke(over_socket(SENDER, &text.to_string()), AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [3, 0, 0]);
    let posts = hub.world.gateway.posts();
    let posted = |frame: &[u8]| serde_json::from_slice::<Value>(frame).expect("JSON");
    assert!(posts.iter().all(|post| posted(&post.frame).get("offset").is_none()));
    assert!(hub.world.messages.calls().is_empty());
    hub.log();
}

#[tokio::test]
async fn where_subscriptions_are_off_their_table_is_not_called_and_nothing_else_is_called_more() {
    for history in [false, true] {
        let world = World::start().await;
        let world = if history { world.with_history() } else { world };
        let hub = Hub::start(world).await;
        hub.crowd(ROOM, 2);
        assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [2, 0, 0]);
        let ending = Function::start("disconnect", &hub.world).await;
        assert_eq!(super::disconnect(&ending, &name(ROOM, 0)).await.response()["statusCode"], 200);
        let [read, found, ended] = &hub.world.table.calls()[..] else { panic!("three calls") };
        let mut first = [read.operation, found.operation];
        first.sort_by_key(|operation| *operation == Operation::Query);
        assert_eq!((first, ended.operation), ([Operation::GetItem, Operation::Query], Operation::DeleteItem));
        assert_eq!(ended.input["ConditionExpression"], Value::Null);
        assert!(hub.world.subscriptions.calls().is_empty());
        assert_eq!(hub.world.messages.calls().len(), if history { 2 } else { 0 });
        log(&ending.finish());
        hub.log();
    }
}

#[tokio::test]
async fn subscriptions_cost_a_message_one_read_a_session() {
    let hub = Hub::with_subscriptions().await;
    hub.crowd(ROOM, 2);
    assert_eq!(totals(&frame(&hub.send(&[ROOM, "hall"], AMPLE).await)), [2, 0, 0]);
    let operations = [&hub.world.table, &hub.world.subscriptions]
        .map(|table| (counts(table, Operation::GetItem), queries(table), calls(table, |_| true)));
    assert_eq!(operations, [(1, 2, 3), (0, 2, 2)]);
    hub.log();
}
