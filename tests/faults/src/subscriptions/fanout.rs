//! A message reaches its sessions' own connections and those that are subscribed, whatever becomes of either reading.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{Answer, Call, Function, Operation, Row, Table, World, executable, over_socket};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{ALICE, Members, Names, THROTTLE, a_moment, ask, calls, counts, hold, kind, lay, set};
use crate::{
    delivery,
    support::{
        AMPLE, Hub, SENDER, Turn, counted, ending_in, frame, index, line, log, name, now_ms, totals, until,
    },
};

const ROOM: &str = "room";

/// Connections of other sessions that are subscribed to one.
fn subscribe(world: &World, session: &str, count: usize) -> Vec<String> {
    let connections: Vec<String> = (0..count).map(|index| name(&format!("at-{session}"), index)).collect();
    for connection in &connections {
        world.table.put(connection, Row::aged("elsewhere", 60));
        lay(world, connection, &[session.to_owned()]);
    }
    connections
}

/// The sessions that a connection's deliveries named.
fn heard(hub: &Hub, connection: &str) -> Vec<String> {
    let session = |frame: &[u8]| serde_json::from_slice::<Value>(frame).expect("JSON")["session"].clone();
    let posts = hub.posts_to(connection);
    posts.iter().map(|post| session(&post.frame).as_str().expect("a session").to_owned()).collect()
}

fn queries(table: &Table) -> usize {
    counts(table, Operation::Query)
}

#[tokio::test]
async fn a_connection_hears_once_for_each_addressed_session_that_it_is_in() {
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
    subscribe(&hub.world, ROOM, 35);
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
                subscribe(&hub.world, ROOM, 20);
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
    subscribe(&hub.world, ROOM, 1);
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
    subscribe(&hub.world, ROOM, 20);
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
        subscribe(&hub.world, ROOM, 5);
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
    subscribe(&hub.world, ROOM, 50);
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
    let subscribers = subscribe(&hub.world, ROOM, 3);
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
async fn with_tokens_a_subscriber_whose_token_has_ended_is_closed_once() {
    let hub = Hub::with_subscriptions().await;
    let subscribers = subscribe(&hub.world, ROOM, 2);
    hub.world.subscriptions.put(&subscribers[0], ending_in(ROOM, -1));
    let guarded = Function::start_with(&executable("publish"), &hub.world, |command| {
        command.env("REQUIRE_GRANT", "true");
    })
    .await;
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

#[tokio::test]
async fn thousands_of_subscribers_with_every_kind_of_fault_lose_nothing() {
    const CROWD: usize = 2_000;
    let hub = Hub::start(Turn::alone(), World::start().await.with_subscriptions()).await;
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
    hub.world.gateway.script(|connection, tries| delivery::answer(index(connection), tries));
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

/// The rows that are deleted where a subscriber is gone, with the ages of its row and of the subscription.
#[tokio::test]
async fn a_subscriber_that_is_gone_loses_both_rows_each_only_if_it_is_older_than_the_grace() {
    for (connected, subscribed) in [(60, 60), (60, 3), (3, 60), (3, 3), (11, 11)] {
        let hub = Hub::with_subscriptions().await;
        let [gone] = &subscribe(&hub.world, ROOM, 1)[..] else { panic!("one") };
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
        assert!(hub.has_row(gone) || connected >= 10, "{what}");
        assert!(!hub.has_row(gone) || connected.min(subscribed) < 10, "{what}");
        assert!(hub.world.subscriptions.sessions(gone).contains("hall"), "{what}: it was not found by that");
        hub.log();
    }
}

#[tokio::test]
async fn a_connection_that_is_gone_in_its_own_session_loses_the_row_of_that() {
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
    let [gone] = &subscribe(&hub.world, ROOM, 1)[..] else { panic!("one") };
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
    let [other] = &subscribe(&hub.world, ROOM, 1)[..] else { panic!("one") };
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
        subscribe(&hub.world, ROOM, 3);
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

#[tokio::test]
async fn with_history_the_subscriptions_are_read_after_the_number_is_taken_and_without_it_at_once() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    subscribe(&hub.world, ROOM, 1);
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    hub.world.messages.script(move |call, _| match call.operation {
        Operation::UpdateItem => Answer::Serve.once(&held),
        _ => Answer::Serve,
    });
    let taking = async {
        until(|| !hub.world.messages.calls().is_empty()).await;
        a_moment().await;
        assert_eq!((queries(&hub.world.table), queries(&hub.world.subscriptions)), (1, 0));
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), taking);
    assert_eq!(totals(&frame(&outcome)), [2, 0, 0]);

    // The message and the subscriptions do not wait for each other.
    let writes = hold_messages(&hub, |call| call.operation == Operation::PutItem);
    let reads = hold(&hub.world.subscriptions, |_| true);
    let watching = async {
        until(|| queries(&hub.world.subscriptions) == 2).await;
        until(|| {
            hub.world.messages.calls().iter().filter(|call| call.operation == Operation::PutItem).count() == 2
        })
        .await;
        a_moment().await;
        assert_eq!(hub.posts().values().map(|posts| posts.0).sum::<u32>(), 2, "written before posted");
        writes.add_permits(1);
        // The session's own connections need not wait for the subscriptions.
        until(|| hub.posts_to(&name(ROOM, 0)).len() == 2).await;
        reads.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), watching);
    assert_eq!(totals(&frame(&outcome)), [2, 0, 0]);
    hub.log();

    let hub = Hub::with_subscriptions().await;
    subscribe(&hub.world, ROOM, 1);
    let gate = hold(&hub.world.table, |_| true);
    let watching = async {
        until(|| counts(&hub.world.table, Operation::GetItem) == 1).await;
        until(|| queries(&hub.world.subscriptions) == 1 && queries(&hub.world.table) == 1).await;
        gate.add_permits(2);
    };
    let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), watching);
    assert_eq!(totals(&frame(&outcome)), [1, 0, 0], "one wait for DynamoDB before the first post");
    hub.log();
}

/// Outside the order, it needs no number to wait for.
#[tokio::test]
async fn a_message_that_is_not_to_be_stored_reaches_subscribers_too() {
    let hub = Hub::with_history().await;
    subscribe(&hub.world, ROOM, 3);
    let text = json!({ "action": "sendMessage", "sessions": [ROOM], "message": 1, "store": false });
    let outcome = hub.function.invoke(over_socket(SENDER, &text.to_string()), AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [3, 0, 0]);
    let posts = hub.world.gateway.posts();
    let posted = |frame: &[u8]| serde_json::from_slice::<Value>(frame).expect("JSON");
    assert!(posts.iter().all(|post| posted(&post.frame).get("offset").is_none()));
    assert!(hub.world.messages.calls().is_empty());
    hub.log();
}

fn hold_messages(hub: &Hub, which: impl Fn(&Call) -> bool + Send + 'static) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    hub.world
        .messages
        .script(move |call, _| if which(call) { Answer::Serve.once(&held) } else { Answer::Serve });
    gate
}

/// A reader seals the first number while its sender is slow. Whoever subscribes in between is told of that number, and must
/// get the message under the second one.
#[tokio::test]
async fn the_subscriptions_are_read_again_where_the_number_is_taken_again() {
    let members = Members::with_history().await;
    let (hub, world) = (&members.hub, members.world());
    hub.crowd(ROOM, 1);
    subscribe(world, ROOM, 1);
    let gate = hold_messages(hub, |call| {
        call.operation == Operation::PutItem && call.input["Item"]["offset"]["N"] == "1"
    });
    let sealing = async {
        until(|| queries(&world.subscriptions) == 1 && world.messages.items(ROOM).len() == 1).await;
        until(|| world.messages.calls().iter().any(|call| call.operation == Operation::PutItem)).await;
        let answer = members.subscribe(&[ROOM.to_owned()]).await;
        assert_eq!(answer["sessions"][0]["offset"], 1);
        let head = world.messages.items(ROOM)[0].clone();
        world.messages.put(&json!({
            "session_id": { "S": ROOM }, "offset": { "N": "1" }, "epoch": head["epoch"], "void": { "BOOL": true },
            "expires_at": { "N": (now_ms() / 1000 + 3600).to_string() },
        }));
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), sealing);
    let receipt = frame(&outcome);
    assert_eq!((totals(&receipt), &receipt["sessions"][0]["offset"]), ([3, 0, 0], &json!(2)));
    assert_eq!(heard(hub, ALICE), [ROOM]);
    members.log();
}

/// Publishes again and again while connections subscribe. What begins after an answer is heard; with history, so is every
/// message behind the position that the answer tells.
async fn nothing_after_the_answer_is_missed(hub: Hub, with_history: bool) {
    const SUBSCRIBERS: usize = 40;
    let members = Members::of(hub).await;
    let world = members.world();
    members.hub.crowd(ROOM, 5);
    for table in [&world.table, &world.subscriptions] {
        table.page_rows(7);
        let mut turn = 0_u64;
        table.script(move |_, _| {
            turn += 1;
            Answer::Serve.after(Duration::from_micros(turn * 7919 % 5_000))
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishing = JoinSet::new();
    for publisher in 0..2 {
        let function = Function::start("publish", world).await;
        let stop = stop.clone();
        publishing.spawn(async move {
            let mut sent = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let id = format!("{publisher}-{}", sent.len());
                let event = json!({ "sessions": [ROOM], "message": 1, "id": id });
                let outcome = function.invoke(event.to_string(), AMPLE).await;
                let receipt = outcome.response();
                assert_eq!(receipt["failed"], 0, "{receipt}");
                sent.push((id, outcome.began, receipt["sessions"][0]["offset"].as_u64()));
            }
            log(&function.finish());
            sent
        });
    }
    let mut subscribers = Vec::new();
    for index in 0..SUBSCRIBERS {
        let connection = name("late", index);
        world.table.put(&connection, Row::aged("late", 60));
        let answer = frame(&ask(&members.membership, &connection, "subscribe", &[ROOM.to_owned()]).await);
        assert_eq!(kind(&answer), "subscribed");
        subscribers.push((connection, Instant::now(), answer["sessions"][0]["offset"].as_u64()));
        sleep(Duration::from_millis(5)).await;
    }
    a_moment().await;
    stop.store(true, Ordering::SeqCst);
    let sent = publishing.join_all().await.concat();
    let posts = world.gateway.posts();
    let id = |frame: &[u8]| {
        serde_json::from_slice::<Value>(frame).expect("JSON")["id"].as_str().map(str::to_owned)
    };
    let mut later = 0;
    for (connection, answered, position) in &subscribers {
        let heard: Vec<String> = posts
            .iter()
            .filter(|post| *post.connection == **connection)
            .filter_map(|post| id(&post.frame))
            .collect();
        assert_eq!(
            heard.len(),
            heard.iter().cloned().collect::<Names>().len(),
            "{connection} heard something twice"
        );
        for (id, began, offset) in &sent {
            let is_later =
                began > answered || offset.zip(*position).is_some_and(|(offset, position)| offset > position);
            later += usize::from(is_later);
            assert!(
                !is_later || heard.contains(id),
                "{connection} missed {id}, number {offset:?} after {position:?}"
            );
        }
    }
    assert_eq!(
        (sent.iter().all(|sent| sent.2.is_some() == with_history), later > SUBSCRIBERS),
        (true, true),
        "{later}"
    );
    members.log();
}

#[tokio::test]
async fn whoever_is_subscribed_misses_nothing_that_is_sent_later() {
    nothing_after_the_answer_is_missed(Hub::with_subscriptions().await, false).await;
}

#[tokio::test]
async fn whoever_is_subscribed_misses_no_number_behind_the_position_that_was_told() {
    nothing_after_the_answer_is_missed(Hub::with_history().await, true).await;
}

#[tokio::test]
async fn where_subscriptions_are_off_their_table_is_not_called_and_nothing_else_is_called_more() {
    for history in [false, true] {
        let world = World::start().await;
        let world = if history { world.with_history() } else { world };
        let hub = Hub::start(Turn::together(), world).await;
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

/// The most memory that a new process had in use while it sent one message to `connections` and `subscribers`.
async fn peak(connections: usize, subscribers: usize) -> u64 {
    let hub = Hub::start(Turn::alone(), World::start().await.with_subscriptions()).await;
    for index in 0..connections {
        hub.world.table.put(&name(ROOM, index), Row::aged(ROOM, 60));
    }
    for index in 0..subscribers {
        hub.world.subscriptions.put(&name("elsewhere", index), Row::aged(ROOM, 60));
    }
    let payload = json!({ "sessions": [ROOM], "message": "x".repeat(1_000) }).to_string();
    let publish = Function::start("publish", &hub.world).await;
    let outcome = publish.invoke(payload, Duration::from_secs(300)).await;
    assert_eq!(totals(outcome.response()), [(connections + subscribers) as u64, 0, 0]);
    publish.peak_memory()
}

#[tokio::test]
async fn fifty_thousand_subscribers_take_no_more_memory_than_as_many_connections() {
    const ALLOWED: u64 = 6 << 20;
    let few = peak(500, 500).await;
    for (connections, subscribers) in [(50_000, 0), (0, 50_000), (25_000, 25_000)] {
        let many = peak(connections, subscribers).await;
        assert!(many <= few + ALLOWED, "{few} bytes for 1,000, {many} for {connections} and {subscribers}");
    }
}
