//! An offset whose sender died is sealed as void by the first reader that passes it, and stays sealed.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{Answer, Function};
use hub::history::{History, Reading};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    HOUR, ROOM, SECOND, append, ask, attribute, calls, client, dies_before_writing, hold, last, lay, number,
    numbers, offsets, read_after, seals, summary, writes,
};
use crate::support::{AMPLE, Hub, SENDER, a_moment, counted, frame, line, name, totals, until};

/// A hub with a connection in the room, and message 1 sent to it.
async fn hub() -> (Hub, History, String) {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    let receipt = frame(&hub.send(&[ROOM], AMPLE).await);
    let epoch = receipt["sessions"][0]["epoch"].as_str().expect("an epoch").to_owned();
    let history = client(&hub.world);
    (hub, history, epoch)
}

/// The numbers of messages, and of voids.
fn written(hub: &Hub) -> (Vec<u64>, Vec<u64>) {
    let (messages, voids): (Vec<_>, Vec<_>) =
        numbers(&hub.world, ROOM).into_iter().partition(|(_, frame)| frame.is_some());
    let only = |numbers: Vec<(u64, _)>| numbers.into_iter().map(|(number, _)| number).collect();
    (only(messages), only(voids))
}

fn seen(reading: &Reading) -> (Vec<u64>, bool, Option<bool>) {
    (offsets(reading), reading.more, reading.complete)
}

#[tokio::test]
async fn a_sender_killed_between_number_and_message_leaves_a_hole_that_is_sealed_after_a_second() {
    let (mut hub, ..) = hub().await;
    dies_before_writing(&mut hub).await;
    assert_eq!(frame(&hub.send(&[ROOM], AMPLE).await)["sessions"][0]["offset"], 3);
    let reader = Function::start("history", &hub.world).await;
    let position = ask(&reader, json!({})).await;
    let after = |offset: u64| json!({ "epoch": position["epoch"], "after": offset });

    // While it is young its sender may be alive.
    assert_eq!(summary(&ask(&reader, after(0)).await), (vec![1], true, Some(true)));
    assert_eq!(summary(&ask(&reader, after(1)).await), (vec![], true, Some(true)));
    assert_eq!(summary(&ask(&reader, json!({ "last": 10 })).await), (vec![1], true, None));
    assert_eq!(summary(&ask(&reader, json!({ "last": 1 })).await), (vec![3], false, None));
    assert_eq!(written(&hub), (vec![1, 3], vec![]));

    hub.world.messages.age(ROOM, SECOND);
    assert_eq!(summary(&ask(&reader, after(1)).await), (vec![3], false, Some(true)));
    assert_eq!(written(&hub), (vec![1, 3], vec![2]));
    let items = hub.world.messages.items(ROOM);
    assert_eq!(number(&items[2], "expires_at"), number(&items[1], "expires_at"));
    assert_eq!(attribute(&items[2], "epoch"), position["epoch"]);
    assert_eq!(summary(&ask(&reader, after(0)).await), (vec![1, 3], false, Some(true)));
    assert_eq!(calls(&hub.world, seals), 1, "sealed once");
    let log = crate::support::log(&reader.finish());
    let sealed: Vec<_> =
        log.iter().filter(|line| line["message"] == "history").map(|line| &line["sealed"]).collect();
    assert_eq!(sealed, [0, 0, 0, 0, 0, 1, 0]);
}

#[tokio::test]
async fn a_hole_at_the_top_is_sealed_too_once_its_number_is_a_second_old() {
    let (mut hub, history, epoch) = hub().await;
    dies_before_writing(&mut hub).await;
    assert_eq!(seen(&read_after(&history, ROOM, &epoch, 1, 1).await), (vec![], true, Some(true)));
    hub.world.messages.age(ROOM, SECOND);
    assert_eq!(seen(&read_after(&history, ROOM, &epoch, 1, 1).await), (vec![], false, Some(true)));
    assert_eq!(written(&hub), (vec![1], vec![2]));
}

#[tokio::test]
async fn a_run_of_dead_senders_is_sealed_from_one_message_to_the_next() {
    let (mut hub, history, epoch) = hub().await;
    for _ in 0..3 {
        dies_before_writing(&mut hub).await;
    }
    append(&history, ROOM).await;
    hub.world.messages.age(ROOM, SECOND);
    let reading = read_after(&history, ROOM, &epoch, 0, 100).await;
    assert_eq!((seen(&reading), reading.sealed), ((vec![1, 5], false, Some(true)), 3));
    assert_eq!(written(&hub), (vec![1, 5], vec![2, 3, 4]));
}

/// Stops the process, which keeps its connections: to the table it is as good as dead.
fn stop(function: &Function) {
    let kill = format!("kill -s STOP {}", function.pid());
    assert!(Command::new("sh").args(["-c", &kill]).status().is_ok_and(|status| status.success()));
}

#[tokio::test]
async fn what_a_dead_sender_had_under_way_does_not_overwrite_the_void() {
    let (mut hub, history, epoch) = hub().await;
    let gate = hold(&hub.world, writes);
    tokio::select! {
        outcome = hub.send(&[ROOM], AMPLE) => panic!("it should be dead: {outcome:?}"),
        () = until(|| calls(&hub.world, writes) == 2) => stop(&hub.function),
    }
    hub.world.messages.age(ROOM, SECOND);
    assert_eq!(seen(&read_after(&history, ROOM, &epoch, 1, 100).await), (vec![], false, Some(true)));
    let sealed = hub.world.messages.items(ROOM);
    gate.add_permits(1);
    until(|| gate.available_permits() == 0).await;
    a_moment().await;
    assert_eq!(hub.world.messages.items(ROOM), sealed);
    hub.function = Function::start("send-message", &hub.world).await;
    hub.world.messages.script(|_, _| Answer::Serve);
    assert_eq!(frame(&hub.send(&[ROOM], AMPLE).await)["sessions"][0]["offset"], 3);
    assert_eq!(written(&hub), (vec![1, 3], vec![2]));
}

#[tokio::test]
async fn two_readers_that_seal_at_once_make_one_void_and_get_one_answer() {
    let (mut hub, history, epoch) = hub().await;
    dies_before_writing(&mut hub).await;
    append(&history, ROOM).await;
    hub.world.messages.age(ROOM, SECOND);
    let gate = hold(&hub.world, seals);
    let read = || read_after(&history, ROOM, &epoch, 0, 100);
    let releasing = async {
        until(|| calls(&hub.world, seals) == 2).await;
        gate.add_permits(2);
    };
    let (one, other, ()) = tokio::join!(read(), read(), releasing);
    assert_eq!(seen(&one), (vec![1, 3], false, Some(true)));
    assert_eq!((seen(&one), one.sealed + other.sealed), (seen(&other), 1));
    assert_eq!(written(&hub), (vec![1, 3], vec![2]));
}

#[tokio::test]
async fn a_seal_whose_answer_is_lost_is_still_one() {
    let (mut hub, history, epoch) = hub().await;
    dies_before_writing(&mut hub).await;
    hub.world.messages.age(ROOM, SECOND);
    let mut lost = 0;
    hub.world.messages.script(move |call, _| {
        lost += u32::from(seals(call));
        if seals(call) && lost <= 3 { Answer::CutRead } else { Answer::Serve }
    });
    assert_eq!(seen(&read_after(&history, ROOM, &epoch, 1, 100).await), (vec![], false, Some(true)));
    assert_eq!(written(&hub), (vec![1], vec![2]));
}

/// A reader seals number 2 while its slow sender writes it, both at once; `reader_first` says whose call the table sees
/// first. Returns the reader's answer and the number that the sender was told.
async fn meet(reader_first: bool) -> (Reading, u64, (Vec<u64>, Vec<u64>)) {
    let (hub, history, epoch) = hub().await;
    let gates = [Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0))];
    let [to_write, to_seal] = gates.clone();
    hub.world.messages.script(move |call, count| match (writes(call), seals(call)) {
        (true, _) if count == 1 => Answer::Serve.once(&to_write),
        (_, true) => Answer::Serve.once(&to_seal),
        _ => Answer::Serve,
    });
    let reading = async {
        until(|| calls(&hub.world, writes) == 2).await;
        hub.world.messages.age(ROOM, SECOND);
        read_after(&history, ROOM, &epoch, 1, 100).await
    };
    let [write, seal] = &gates;
    let order = if reader_first { [seal, write] } else { [write, seal] };
    let releasing = async {
        until(|| calls(&hub.world, seals) == 1).await;
        for gate in order {
            gate.add_permits(1);
            until(|| gate.available_permits() == 0).await;
            a_moment().await;
        }
    };
    let (outcome, reading, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), reading, releasing);
    let receipt = frame(&outcome);
    assert_eq!(totals(&receipt), [1, 0, 0]);
    let number = receipt["sessions"][0]["offset"].as_u64().expect("an offset");
    let posts = hub.posts_to(&name(ROOM, 0));
    let posted: Value = serde_json::from_slice(&posts[1].frame).expect("JSON");
    assert_eq!((posts.len(), &posted["offset"]), (2, &json!(number)));
    (reading, number, written(&hub))
}

#[tokio::test]
async fn a_reader_before_a_slow_sender_gives_the_message_a_new_number() {
    let (reading, number, written) = meet(true).await;
    assert_eq!((seen(&reading), reading.sealed), ((vec![], false, Some(true)), 1));
    assert_eq!((number, written), (3, (vec![1, 3], vec![2])));
}

#[tokio::test]
async fn a_slow_sender_before_a_reader_keeps_its_number_and_the_reader_gets_the_message() {
    let (reading, number, written) = meet(false).await;
    assert_eq!((seen(&reading), reading.sealed), ((vec![2], false, Some(true)), 0));
    assert_eq!((number, written), (2, (vec![1, 2], vec![])));
}

#[tokio::test]
async fn a_slow_sender_takes_a_new_number_twice_and_fails_the_third_time() {
    for times in 1..=3 {
        let (hub, history, epoch) = hub().await;
        let gate = hold(&hub.world, writes);
        let sealing = async {
            for number in 2..2 + times {
                until(|| calls(&hub.world, writes) as u64 == number).await;
                hub.world.messages.age(ROOM, SECOND);
                let reading = read_after(&history, ROOM, &epoch, number - 1, 100).await;
                assert_eq!((seen(&reading), reading.sealed), ((vec![], false, Some(true)), 1));
                gate.add_permits(1);
            }
            gate.add_permits(1);
        };
        let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), sealing);
        let voids: Vec<u64> = (2..2 + times).collect();
        let posts = hub.posts_to(&name(ROOM, 0));
        if times < 3 {
            let (receipt, number) = (frame(&outcome), 2 + times);
            assert_eq!((totals(&receipt), &receipt["sessions"][0]["offset"]), ([1, 0, 0], &json!(number)));
            let posted: Value = serde_json::from_slice(&posts[1].frame).expect("JSON");
            assert_eq!((posts.len(), &posted["offset"]), (2, &json!(number)));
            assert_eq!(written(&hub), (vec![1, number], voids));
            continue;
        }
        assert_eq!(outcome.error()["errorType"], "internal");
        assert_eq!((posts.len(), hub.posts_to(SENDER).len(), last(&hub.world, ROOM)), (1, 1, 4));
        assert_eq!(written(&hub), (vec![1], voids));
        let log = hub.log();
        assert_eq!((&line(&log, "failed")["cause"], counted(&log, "HandlerErrors")), (&json!("sealed"), 1.0));
    }
}

#[tokio::test]
async fn a_hole_is_old_as_soon_as_a_later_message_or_the_last_number_is() {
    use super::Slot::{Message, Nothing};
    let (hub, history, _) = hub().await;
    let slots = [Message(HOUR), Nothing, Message(HOUR), Nothing];
    lay(&hub.world.messages, "hall", &slots, 1000);
    hub.world.messages.put(&super::head("hall", 4, -5000));
    let reading = read_after(&history, "hall", super::EPOCH, 0, 100).await;
    assert_eq!((seen(&reading), reading.sealed), ((vec![1, 3], true, Some(true)), 1));
    hub.world.messages.put(&super::head("hall", 4, 1000));
    let reading = read_after(&history, "hall", super::EPOCH, 0, 100).await;
    assert_eq!((seen(&reading), reading.sealed), ((vec![1, 3], false, Some(true)), 1));

    // Half a second is not enough. On a busy machine more may pass until it is read.
    loop {
        let began = Instant::now();
        super::clear(&hub.world.messages, "hall");
        lay(&hub.world.messages, "hall", &slots, 500);
        let reading = read_after(&history, "hall", super::EPOCH, 0, 100).await;
        if began.elapsed() < Duration::from_millis(400) {
            break assert_eq!((seen(&reading), reading.sealed), ((vec![1], true, Some(true)), 0));
        }
    }
}

#[tokio::test]
async fn only_an_item_with_more_than_a_minute_to_live_proves_that_the_next_was_never_there() {
    use super::Slot::{Message, Nothing, Void};
    for (life, complete) in [(55, false), (70, true)] {
        for before in [Message(life), Void(life)] {
            let (hub, history, _) = hub().await;
            lay(&hub.world.messages, "hall", &[Message(life), before, Nothing, Message(HOUR)], 1000);
            let reading = read_after(&history, "hall", super::EPOCH, 2, 100).await;
            assert_eq!(
                (seen(&reading), reading.sealed),
                ((vec![4], false, Some(complete)), u64::from(complete))
            );
        }
    }
}
