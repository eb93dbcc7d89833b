//! Subscribers that are gone or whose time is over: which rows are deleted, and which sockets closed.

use harness::{Answer, Function, Operation, Row};
use serde_json::json;

use super::{ROOM, THROTTLE, lay, set};
use crate::support::{AMPLE, Hub, SENDER, counted, ending_in, frame, line, log, now_ms, totals};

#[tokio::test]
async fn with_tokens_a_subscriber_whose_token_has_ended_is_closed_once() {
    let hub = Hub::with_subscriptions().await;
    let subscribers = hub.subscribers(ROOM, 2);
    hub.world.subscriptions.put(&subscribers[0], ending_in(ROOM, -1));
    let guarded = Function::with_settings("publish", &hub.world, &[("REQUIRE_GRANT", "true")]).await;
    hub.world.subscriptions.put(&subscribers[0], ending_in("hall", -1));
    let outcome = guarded.invoke(r#"{"sessions":["room","hall"],"message":1}"#, AMPLE).await;
    assert_eq!(totals(outcome.response()), [1, 0, 0]);
    assert_eq!(hub.world.gateway.closings(), [subscribers[0].clone()]);
    assert_eq!(hub.world.subscriptions.connections().len(), 2);
    // Its socket is not there any more.
    hub.world.subscriptions.delete(&subscribers[0]);
    hub.world.subscriptions.put(&subscribers[0], ending_in(ROOM, -1));
    hub.world.gateway.close_script(|_| Answer::Error(410, "GoneException"));
    let outcome = guarded.invoke(r#"{"sessions":["room"],"message":1}"#, AMPLE).await;
    assert_eq!(totals(outcome.response()), [1, 0, 0]);
    assert_eq!(hub.world.subscriptions.connections(), set(&subscribers[1..]));
    assert!(!hub.has_row(&subscribers[0]));
    log(&guarded.finish());
}

/// The rows that are deleted where a subscriber is gone, with the ages of its row and of the subscription.
#[tokio::test]
async fn a_subscriber_that_is_gone_loses_both_rows_each_only_if_it_is_older_than_the_grace() {
    for (connected, subscribed) in [(60, 60), (60, 3), (3, 60), (3, 3), (11, 11)] {
        let hub = Hub::with_subscriptions().await;
        let [gone] = &hub.subscribers(ROOM, 1)[..] else { panic!("one") };
        lay(&hub.world, gone, &["hall".to_owned()]);
        let row = hub.world.table.row(gone).expect("a row");
        let aged = |session: &str, age: i64| Row {
            connected_at: Some(now_ms() - age * 1000),
            session: session.into(),
            ..row.clone()
        };
        hub.world.table.put(gone, aged("elsewhere", connected));
        hub.world.subscriptions.put(gone, aged(ROOM, subscribed));
        hub.world.gateway.script(|_, _| Answer::Bare(410));
        assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [0, 1, 0]);
        let what = format!("{connected} {subscribed}");
        assert_eq!(hub.posts()[gone], (2, 0), "{what}: asked about twice");
        let is_there = hub.world.subscriptions.sessions(gone).contains(ROOM);
        assert_eq!(is_there, subscribed < 10, "{what}");
        // Both rows have one age. If they ever had two, the younger one might be of a handshake that has not ended.
        assert_eq!(hub.has_row(gone), connected.min(subscribed) < 10, "{what}");
        assert!(hub.world.subscriptions.sessions(gone).contains("hall"), "{what}: it was not found by that");
        hub.log();
    }
}

#[tokio::test]
async fn a_connection_that_is_gone_in_its_own_session_loses_its_row_there() {
    let hub = Hub::with_subscriptions().await;
    let [gone] = &hub.crowd(ROOM, 1)[..] else { panic!("one") };
    lay(&hub.world, gone, &["hall".to_owned()]);
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [0, 1, 0]);
    assert_eq!((hub.has_row(gone), hub.world.subscriptions.sessions(gone).len()), (false, 1));
    // The other row is found by the next message to that session.
    assert_eq!(totals(&frame(&hub.send(&["hall"], AMPLE).await)), [0, 1, 0]);
    assert!(hub.world.subscriptions.sessions(gone).is_empty());
    hub.log();
}

#[tokio::test]
async fn a_connection_that_is_gone_in_two_addressed_sessions_is_gone_in_each_and_loses_every_row_once() {
    let hub = Hub::with_subscriptions().await;
    let [gone] = &hub.subscribers(ROOM, 1)[..] else { panic!("one") };
    lay(&hub.world, gone, &["hall".to_owned()]);
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    let receipt = frame(&hub.send(&[ROOM, "hall", "elsewhere"], AMPLE).await);
    assert_eq!((totals(&receipt), &receipt["sessions"][2]["gone"]), ([0, 3, 0], &json!(1)));
    assert_eq!((hub.has_row(gone), hub.world.subscriptions.connections().len()), (false, 0));
    let log = hub.log();
    assert!(log.iter().all(|line| line["message"] != "prunes failed"), "what is gone already is no failure");
}

#[tokio::test]
async fn no_row_of_the_senders_is_ever_pruned() {
    let hub = Hub::with_subscriptions().await;
    let [other] = &hub.subscribers(ROOM, 1)[..] else { panic!("one") };
    lay(&hub.world, SENDER, &[ROOM.to_owned()]);
    hub.world.gateway.script(|_, _| Answer::Bare(410));
    assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [0, 2, 0]);
    assert!(hub.has_row(SENDER) && !hub.has_row(other));
    assert_eq!(hub.world.subscriptions.connections(), set(&[SENDER.to_owned()]));
    hub.log();
}

#[tokio::test]
async fn prunes_that_fail_are_logged_and_change_nothing_in_the_receipt() {
    for of_subscriptions in [false, true] {
        let hub = Hub::with_subscriptions().await;
        hub.subscribers(ROOM, 3);
        hub.world.gateway.script(|_, _| Answer::Bare(410));
        let table = if of_subscriptions { &hub.world.subscriptions } else { &hub.world.table };
        table.script(|operation, _| match operation {
            Operation::DeleteItem => THROTTLE,
            _ => Answer::Serve,
        });
        assert_eq!(totals(&frame(&hub.send(&[ROOM], AMPLE).await)), [0, 3, 0]);
        let left = [hub.world.table.connections().len() - 1, hub.world.subscriptions.connections().len()];
        assert_eq!(left, if of_subscriptions { [0, 3] } else { [3, 0] });
        let log = hub.log();
        assert_eq!(
            (&line(&log, "prunes failed")["count"], counted(&log, "TableThrottled")),
            (&json!(3), 3.0)
        );
    }
}
