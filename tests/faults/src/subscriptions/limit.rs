//! A connection has at most a hundred subscriptions, however many of its frames race, and none is refused that fits.

use std::sync::Arc;

use harness::{Function, Operation, Row};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    ALICE, ID, MOST, Members, Names, OWN, ask, calls, counts, hold, kind, names, puts, repair, set,
    subscriptions,
};
use crate::support::{frame, name, until};

/// As many membership functions as Lambda would start for frames that come at once.
async fn processes(members: &Members, count: usize) -> Vec<Arc<Function>> {
    let mut processes = Vec::new();
    for _ in 0..count {
        processes.push(Arc::new(Function::start("membership", members.world()).await));
    }
    for process in &processes {
        process.idle().await;
    }
    processes
}

/// Subscribes at once, each frame by a process of its own, and returns each frame with its answer.
async fn at_once(
    processes: &[Arc<Function>],
    connection: &str,
    frames: Vec<Vec<String>>,
) -> Vec<(Vec<String>, Value)> {
    let mut asking = JoinSet::new();
    for (process, sessions) in processes.iter().zip(frames) {
        let (process, connection) = (process.clone(), connection.to_owned());
        asking.spawn(async move {
            let answer = frame(&ask(&process, &connection, "subscribe", &sessions).await);
            (sessions, answer)
        });
    }
    asking.join_all().await
}

/// The set and the rows are what was answered, and nothing was refused that would have fitted at the end.
fn check(members: &Members, connection: &str, answers: &[(Vec<String>, Value)]) -> usize {
    let [set, rows] = subscriptions(members.world(), connection);
    let is_done = |(_, answer): &&(Vec<String>, Value)| kind(answer) == "subscribed";
    let expected: Names = answers.iter().filter(is_done).flat_map(|(sessions, _)| sessions.clone()).collect();
    assert!(set.len() <= MOST, "{}", set.len());
    assert_eq!((&set, &rows), (&expected, &expected));
    for (sessions, answer) in answers.iter().filter(|answered| !is_done(answered)) {
        assert_eq!(kind(answer), "too_many_subscriptions", "{answer}");
        let all: Names = sessions.iter().chain(&set).cloned().collect();
        assert!(all.len() > MOST, "{sessions:?} would have fitted beside {}", set.len());
    }
    answers.iter().filter(is_done).count()
}

#[tokio::test]
async fn twenty_frames_of_ten_at_once_fill_the_hundred_and_no_more() {
    let members = Members::start().await;
    let processes = processes(&members, 20).await;
    for round in 0..5 {
        let connection = name("racer", round);
        members.world().table.put(&connection, Row::aged("racer", 60));
        let frames = (0..20).map(|frame| names(frame * 10..frame * 10 + 10)).collect();
        let answers = at_once(&processes, &connection, frames).await;
        assert_eq!(check(&members, &connection, &answers), 10, "all that fit");
    }
    // Of different sizes, and some names in several frames.
    for round in 5..15 {
        let connection = name("racer", round);
        members.world().table.put(&connection, Row::aged("racer", 60));
        let frames = (0..20).map(|frame| names(frame * 7..frame * 8 + 1 + frame * round % 23)).collect();
        let answers = at_once(&processes, &connection, frames).await;
        check(&members, &connection, &answers);
    }
    members.log();
}

#[tokio::test]
async fn frames_that_race_with_the_same_hundred_names_are_all_answered() {
    let members = Members::start().await;
    let processes = processes(&members, 10).await;
    for round in 0..5 {
        let connection = name("racer", round);
        members.world().table.put(&connection, Row::aged("racer", 60));
        let pool = names(0..MOST);
        let part = |frame: usize| (0..60).map(|index| pool[(frame * 37 + index) % MOST].clone()).collect();
        let answers = at_once(&processes, &connection, (0..10).map(part).collect()).await;
        assert_eq!(check(&members, &connection, &answers), 10);
        assert_eq!(subscriptions(members.world(), &connection)[0].len(), MOST);
    }
    members.log();
}

#[tokio::test]
async fn a_frame_that_another_has_overtaken_is_decided_again() {
    for (mine, refused) in [(90..100, false), (85..95, false), (91..101, true), (95..105, true)] {
        let members = Members::start().await;
        members.subscribe(&names(0..90)).await;
        let other = Function::start("membership", members.world()).await;
        let mut held = 0;
        let gate = Arc::new(Semaphore::new(0));
        let held_by = gate.clone();
        members.world().table.call_script(move |call, _| {
            held += u32::from(call.operation == Operation::UpdateItem);
            match call.operation {
                Operation::UpdateItem if held == 1 => harness::Answer::Serve.once(&held_by),
                _ => harness::Answer::Serve,
            }
        });
        let updates = counts(&members.world().table, Operation::UpdateItem);
        let mine = names(mine);
        let overtaking = async {
            until(|| counts(&members.world().table, Operation::UpdateItem) > updates).await;
            let theirs = ask(&other, ALICE, "subscribe", &names(90..100)).await;
            assert_eq!(kind(&frame(&theirs)), "subscribed");
            gate.add_permits(1);
        };
        let (answer, ()) = tokio::join!(members.ask("subscribe", &mine), overtaking);
        let expected = if refused { "too_many_subscriptions" } else { "subscribed" };
        assert_eq!(kind(&answer), expected, "{mine:?}");
        let all = set(&names(0..100));
        assert_eq!(members.subscriptions(), [all.clone(), all]);
        members.log();
    }
}

#[tokio::test]
async fn a_refused_frame_changes_nothing() {
    let members = Members::start().await;
    members.subscribe(&names(0..95)).await;
    let before = (members.world().table.row(ALICE), members.subscriptions());
    let writes = || calls(&members.world().subscriptions, |call| call.operation == Operation::BatchWriteItem);
    let written = writes();
    for sessions in [names(95..101), names(90..101), names(0..101), names(200..301)] {
        let answer = members.ask("subscribe", &sessions).await;
        assert_eq!((kind(&answer), &answer["id"]), ("too_many_subscriptions", &json!(ID)), "{answer}");
        assert_eq!((members.world().table.row(ALICE), members.subscriptions()), before);
    }
    assert_eq!(writes(), written, "no row was written, and none deleted");
    members.log();
}

#[tokio::test]
async fn sessions_up_to_the_hundredth_are_taken_and_known_ones_and_the_own_one_do_not_count() {
    let members = Members::start().await;
    members.subscribe(&names(0..95)).await;
    let mut sessions = names(0..20);
    sessions.extend([OWN.to_owned(), "room-001".to_owned()]);
    sessions.extend(names(95..100));
    let answer = members.subscribe(&sessions).await;
    let mut answered: Vec<&str> = Vec::new();
    for entry in answer["sessions"].as_array().expect("a list") {
        answered.push(entry["session"].as_str().expect("a name"));
        assert_eq!(entry.as_object().map(serde_json::Map::len), Some(1), "no position without history");
    }
    sessions.remove(21);
    assert_eq!(answered, sessions, "each once, the own one too");
    let all = set(&names(0..100));
    assert_eq!(members.subscriptions(), [all.clone(), all.clone()]);
    // A full one may still repeat, and name itself.
    for sessions in [names(0..100), vec![OWN.to_owned()], names(7..8)] {
        members.subscribe(&sessions).await;
        assert_eq!(members.subscriptions(), [all.clone(), all.clone()]);
    }
    assert_eq!(kind(&members.ask("subscribe", &names(100..101)).await), "too_many_subscriptions");
    members.log();
}

#[tokio::test]
async fn there_is_room_again_once_a_session_is_unsubscribed_from() {
    let members = Members::start().await;
    members.subscribe(&names(0..100)).await;
    // Held before it is decided: what it then meets has room.
    let gate = hold(&members.world().table, |call| call.operation == Operation::GetItem);
    let reads = counts(&members.world().table, Operation::GetItem);
    let other = Function::start("membership", members.world()).await;
    let leaving = async {
        until(|| counts(&members.world().table, Operation::GetItem) > reads).await;
        let answer = frame(&ask(&other, ALICE, "unsubscribe", &names(0..1)).await);
        assert_eq!(kind(&answer), "unsubscribed");
        gate.add_permits(2);
    };
    let more = names(100..101);
    let (answer, ()) = tokio::join!(members.ask("subscribe", &more), leaving);
    assert_eq!(kind(&answer), "subscribed");
    repair(members.world());
    let all = set(&names(1..101));
    assert_eq!(members.subscriptions(), [all.clone(), all]);
    assert!(calls(&members.world().subscriptions, puts) > 0);
    members.log();
}
