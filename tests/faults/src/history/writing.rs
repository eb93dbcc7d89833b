//! A message is written under one number before anybody is posted to, whatever becomes of the table's answers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use harness::{Answer, Function, Operation, World};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    EPOCH, HOUR, ROOM, Slot, THROTTLE, append, attribute, calls, client, hold, last, lay, numbers,
    read_after, session,
};
use crate::support::{AMPLE, Hub, ID, SENDER, a_moment, counted, frame, line, log, now_ms, totals, until};

const WRITES: [Operation; 2] = [Operation::UpdateItem, Operation::PutItem];

/// Sends to the room and returns the message's number.
async fn sent(hub: &Hub) -> u64 {
    let receipt = frame(&hub.send(&[ROOM], AMPLE).await);
    assert_eq!(totals(&receipt), [1, 0, 0]);
    receipt["sessions"][0]["offset"].as_u64().expect("an offset")
}

/// The offsets that were posted to the room's only connection.
fn posted(hub: &Hub) -> Vec<Value> {
    let offset = |frame: &[u8]| serde_json::from_slice::<Value>(frame).expect("JSON")["offset"].clone();
    hub.posts_to(&crate::support::name(ROOM, 0)).iter().map(|post| offset(&post.frame)).collect()
}

#[tokio::test]
async fn throttles_of_the_number_and_of_the_message_are_ridden_out_and_counted() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    hub.world.messages.script(|_, count| if count < 3 { THROTTLE } else { Answer::Serve });
    assert_eq!(sent(&hub).await, 1);
    assert_eq!((numbers(&hub.world, ROOM).len(), posted(&hub)), (1, vec![json!(1)]));
    assert_eq!(counted(&hub.log(), "TableThrottled"), 6.0);
}

#[tokio::test]
async fn where_a_message_cannot_be_written_nothing_is_posted_and_the_next_one_is_fine() {
    for operation in WRITES {
        for trouble in [
            THROTTLE,
            Answer::Error(500, "InternalServerError"),
            Answer::Error(400, "AccessDeniedException"),
            Answer::CutUnread,
        ] {
            let hub = Hub::with_history().await;
            hub.crowd(ROOM, 1);
            let what = format!("{operation:?} {trouble:?}");
            hub.world.messages.script(move |call, _| match call.operation == operation {
                true => trouble.clone(),
                false => Answer::Serve,
            });
            let outcome = hub.send(&[ROOM], AMPLE).await;
            assert_eq!(outcome.error()["errorType"], "internal", "{what}");
            let [notice] = &hub.posts_to(SENDER)[..] else {
                panic!("{what}: the sender should be told once")
            };
            let notice: Value = serde_json::from_slice(&notice.frame).expect("a frame should be JSON");
            assert_eq!((&notice["code"], &notice["id"]), (&json!("internal"), &json!(ID)), "{what}");
            assert_eq!(posted(&hub), [0; 0], "{what}");

            hub.world.messages.script(|_, _| Answer::Serve);
            let expected = if operation == Operation::UpdateItem { 1 } else { 2 };
            assert_eq!(sent(&hub).await, expected, "{what}");
            assert_eq!(numbers(&hub.world, ROOM).len(), 1, "{what}");
            let log = hub.log();
            let failed = line(&log, "failed");
            assert_eq!((&failed["level"], &failed["cause"]), (&json!("ERROR"), &json!("table")), "{what}");
            assert_eq!(counted(&log, "HandlerErrors"), 1.0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_written_keeps_no_other_from_being_served() {
    for operation in WRITES {
        let hub = Hub::with_history().await;
        for room in ["hall", ROOM] {
            hub.crowd(room, 2);
        }
        hub.world.messages.script(move |call, _| {
            let trouble = call.operation == operation && session(call) == "hall";
            if trouble { THROTTLE } else { Answer::Serve }
        });
        let receipt = frame(&hub.send(&["hall", ROOM], AMPLE).await);
        let epoch = attribute(&hub.world.messages.items(ROOM)[0], "epoch").to_owned();
        let expected = json!([
            { "session": "hall", "delivered": 0, "gone": 0, "failed": 0, "complete": false },
            { "session": ROOM, "delivered": 2, "gone": 0, "failed": 0, "epoch": epoch, "offset": 1 },
        ]);
        assert_eq!((&receipt["sessions"], &receipt["complete"]), (&expected, &json!(false)));
        assert!(hub.posts().keys().all(|connection| connection.starts_with(ROOM)), "{:?}", hub.posts());
        let log = hub.log();
        let unserved = line(&log, "sessions not served");
        assert_eq!((&unserved["level"], &unserved["count"]), (&json!("ERROR"), &json!(1)));
        let sent = line(&log, "sent");
        assert_eq!((&sent["stored"], &sent["complete"]), (&json!(1), &json!(false)));
        assert_eq!(counted(&log, "HandlerErrors"), 1.0);
    }
}

#[tokio::test]
async fn answers_that_are_lost_burn_no_number_and_make_no_second_message() {
    let lost: [(&[Operation], Answer, u32); 4] = [
        (&WRITES[..1], Answer::CutRead, 4),
        (&WRITES[1..], Answer::CutRead, 4),
        (&WRITES, Answer::CutRead, 4),
        (&WRITES, Answer::Trickle(Duration::from_secs(1)), 1),
    ];
    for (operations, answer, times) in lost {
        let hub = Hub::with_history().await;
        hub.crowd(ROOM, 1);
        assert_eq!(sent(&hub).await, 1);
        hub.world.messages.script(move |call, count| {
            // The first message has had one answer of each.
            let is_lost = operations.contains(&call.operation) && count <= times;
            if is_lost { answer.clone() } else { Answer::Serve }
        });
        assert_eq!(sent(&hub).await, 2);
        assert_eq!((last(&hub.world, ROOM), numbers(&hub.world, ROOM).len()), (2, 2), "{operations:?}");
        assert_eq!(sent(&hub).await, 3);
        assert_eq!(posted(&hub), [1, 2, 3]);
        for operation in operations {
            let attempts = calls(&hub.world, |call| call.operation == *operation);
            assert_eq!(attempts, 3 + times as usize, "{operation:?}");
        }
    }
}

#[tokio::test]
async fn a_number_whose_answer_was_lost_is_a_hole_once_another_sender_has_come_between() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    assert_eq!(sent(&hub).await, 1);
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    hub.world.messages.script(move |call, count| match (call.operation, count) {
        (Operation::UpdateItem, 1) => Answer::CutRead,
        (Operation::UpdateItem, 2) => Answer::CutRead.once(&held),
        (Operation::UpdateItem, 4) => Answer::Serve.once(&held),
        _ => Answer::Serve,
    });
    let updates = || calls(&hub.world, |call| call.operation == Operation::UpdateItem);
    let other = client(&hub.world);
    let coming_between = async {
        for (attempts, number) in [(3, 3), (5, 5)] {
            until(|| updates() == attempts).await;
            assert_eq!(append(&other, ROOM).await.offset, number);
            gate.add_permits(1);
        }
    };
    // All of it within one second: a message of the next second is kept for longer, and then 4 is not taken.
    until(|| now_ms() % 1000 < 200).await;
    let (number, ()) = tokio::join!(sent(&hub), coming_between);
    assert_eq!(number, 6, "2 and 4 were taken and lost");
    let written: Vec<u64> = numbers(&hub.world, ROOM).into_iter().map(|(number, _)| number).collect();
    assert_eq!((written, posted(&hub)), (vec![1, 3, 5, 6], vec![json!(1), json!(6)]));

    let epoch = attribute(&hub.world.messages.items(ROOM)[0], "epoch").to_owned();
    hub.world.messages.age(ROOM, super::SECOND);
    let reading = read_after(&other, ROOM, &epoch, 1, 100).await;
    assert_eq!((super::offsets(&reading), reading.complete, reading.sealed), (vec![3, 5, 6], Some(true), 2));
}

#[tokio::test]
async fn where_no_answer_ever_comes_nothing_is_posted_though_the_message_may_be_stored() {
    for (operation, kept) in [(Operation::UpdateItem, 0), (Operation::PutItem, 1)] {
        let hub = Hub::with_history().await;
        hub.crowd(ROOM, 1);
        hub.world.messages.script(move |call, _| match call.operation == operation {
            true => Answer::CutRead,
            false => Answer::Serve,
        });
        assert_eq!(hub.send(&[ROOM], AMPLE).await.error()["errorType"], "internal");
        assert_eq!((posted(&hub).len(), last(&hub.world, ROOM)), (0, 1));
        assert_eq!(numbers(&hub.world, ROOM).len(), kept);
    }
}

#[tokio::test]
async fn a_table_that_hangs_ends_in_time_and_serves_the_other_session() {
    let hub = Hub::with_history().await;
    for room in ["hall", ROOM] {
        hub.crowd(room, 1);
    }
    hub.world.messages.script(|call, _| match session(call) == "hall" {
        true => Answer::Hang,
        false => Answer::Serve,
    });
    let budget = Duration::from_secs(4);
    let outcome = hub.send(&["hall", ROOM], budget).await;
    let receipt = frame(&outcome);
    assert_eq!((totals(&receipt), outcome.took < budget), ([1, 0, 0], true));
    assert_eq!(
        (&receipt["sessions"][0]["complete"], &receipt["sessions"][1]["offset"]),
        (&json!(false), &json!(1))
    );
    let outcome = hub.send(&["hall"], budget).await;
    assert_eq!((&outcome.error()["errorType"], outcome.took < budget), (&json!("internal"), true));
    assert!(hub.posts_to(&crate::support::name("hall", 0)).is_empty());
}

/// Holds what senders were told against the table: each number once, and no hole but for what was asked again because the
/// machine was too busy to answer in time.
fn each_number_once(world: &World, told: &[u64]) {
    let once: BTreeSet<u64> = told.iter().copied().collect();
    let written: BTreeSet<u64> = numbers(world, ROOM).into_iter().map(|(number, _)| number).collect();
    assert_eq!((once.len(), &once), (told.len(), &written));
    let questions = world.messages.calls().into_iter().filter(|call| call.operation == Operation::UpdateItem);
    let questions: Vec<String> = questions
        .map(|call| {
            format!(
                "{} {}",
                call.input["UpdateExpression"], call.input["ExpressionAttributeValues"][":nonce"]
            )
        })
        .collect();
    let again = questions.len() - questions.iter().collect::<BTreeSet<_>>().len();
    let holes = last(world, ROOM) - once.len() as u64;
    assert!(holes <= again as u64, "{holes} holes, {again} repeated");
}

#[tokio::test]
async fn a_thousand_senders_a_hundred_at_once_get_each_number_once() {
    let world = World::start().await.with_history();
    let history = client(&world);
    let mut appending = JoinSet::new();
    let turns = Arc::new(Semaphore::new(100));
    for _ in 0..1000 {
        let (history, turns) = (history.clone(), turns.clone());
        appending.spawn(async move {
            let _turn = turns.acquire().await;
            append(&history, ROOM).await
        });
    }
    let positions = appending.join_all().await;
    assert!(positions.iter().all(|position| position.epoch == positions[0].epoch));
    each_number_once(&world, &positions.iter().map(|position| position.offset).collect::<Vec<_>>());
    let own = |(number, frame): (u64, _)| frame == Some(super::delivery(ROOM, number, ""));
    assert!(numbers(&world, ROOM).into_iter().all(own));
}

#[tokio::test]
async fn ten_processes_at_once_get_each_number_once() {
    const EACH: usize = 30;
    let world = World::start().await.with_history().with_subscriptions();
    let mut sending = JoinSet::new();
    for process in 0..10 {
        let function = Function::start("publish", &world).await;
        sending.spawn(async move {
            let mut numbers = Vec::new();
            for message in 0..EACH {
                let request = json!({ "sessions": [ROOM], "message": format!("{process}/{message}") });
                let outcome = function.invoke(request.to_string(), AMPLE).await;
                numbers.push(outcome.response()["sessions"][0]["offset"].as_u64().expect("an offset"));
            }
            numbers
        });
    }
    let told = sending.join_all().await;
    assert!(told.iter().all(|numbers| numbers.is_sorted()), "each sender's own order");
    each_number_once(&world, &told.concat());
    let mut contents = BTreeSet::new();
    for (number, frame) in numbers(&world, ROOM) {
        let frame: Value = serde_json::from_str(&frame.expect("no void")).expect("JSON");
        assert_eq!(frame["offset"], number);
        contents.insert(frame["message"].to_string());
    }
    assert_eq!(contents.len(), 10 * EACH);
}

#[tokio::test]
async fn numbers_go_on_from_the_head_and_what_another_epoch_left_is_overwritten() {
    let world = World::start().await.with_history();
    let history = client(&world);
    lay(&world.messages, ROOM, &[Slot::Message(HOUR), Slot::Message(HOUR)], 5000);
    world.messages.put(&super::message(ROOM, 3, "another1", "{}", HOUR, 0));
    let position = append(&history, ROOM).await;
    assert_eq!((position.epoch.as_str(), position.offset), (EPOCH, 3));
    assert_eq!(numbers(&world, ROOM)[2], (3, Some(super::delivery(ROOM, 3, ""))));
}

#[tokio::test]
async fn a_function_thawed_with_dead_connections_still_writes() {
    let hub = Hub::with_history().await;
    let sessions: Vec<String> = (0..100).map(|index| format!("s{index}")).collect();
    let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
    hub.crowd(ROOM, 1);
    assert_eq!(totals(&frame(&hub.send(&sessions, AMPLE).await)), [0, 0, 0]);
    hub.function.freeze().await;
    hub.world.silence_connections();
    hub.function.thaw();
    assert_eq!(sent(&hub).await, 1);
}

#[tokio::test]
async fn an_unknown_sender_and_a_message_that_is_too_large_take_no_offset() {
    let hub = Hub::with_history().await;
    let gate = hold(&hub.world, |_| true);
    for (connection, message, code) in
        [("nobody=", 1, "not_connected"), (SENDER, 40_000, "message_too_large")]
    {
        let frame = json!({ "action": "sendMessage", "sessions": [ROOM], "message": "x".repeat(message) });
        let outcome = hub.function.invoke(harness::over_socket(connection, &frame.to_string()), AMPLE).await;
        assert_eq!(crate::support::frame(&outcome)["code"], code);
    }
    a_moment().await;
    drop(gate);
    assert_eq!(calls(&hub.world, |_| true), 0);
    assert!(log(&hub.function.finish()).iter().all(|line| line["message"] != "sent"));
}
