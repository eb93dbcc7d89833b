//! In which order a send reads the subscriptions and takes its number, so that a subscriber misses nothing after the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{Answer, Function, Operation, Row};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{ALICE, Members, Names, ROOM, ask, counts, heard, hold, kind, queries};
use crate::{
    history,
    support::{AMPLE, Hub, a_moment, frame, log, name, now_ms, totals, until},
};

#[tokio::test]
async fn with_history_the_subscriptions_are_read_after_the_number_is_taken_and_without_it_at_once() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    hub.subscribers(ROOM, 1);
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
    let writes = history::hold(&hub.world, |call| call.operation == Operation::PutItem);
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
    hub.subscribers(ROOM, 1);
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

/// A reader seals the first number while its sender is slow. Whoever subscribes in between is told of that number, and must
/// get the message under the second one.
#[tokio::test]
async fn the_subscriptions_are_read_again_where_the_number_is_taken_again() {
    let members = Members::with_history().await;
    let (hub, world) = (&members.hub, members.world());
    hub.crowd(ROOM, 1);
    hub.subscribers(ROOM, 1);
    let gate = history::hold(world, |call| {
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
async fn a_subscriber_misses_nothing_that_is_sent_later() {
    nothing_after_the_answer_is_missed(Hub::with_subscriptions().await, false).await;
}

#[tokio::test]
async fn a_subscriber_misses_no_offset_after_the_position_in_its_answer() {
    nothing_after_the_answer_is_missed(Hub::with_history().await, true).await;
}
