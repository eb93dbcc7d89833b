//! The steps of a subscription: in their order, and what is left where one of them fails, comes late, or loses its answer.

use std::time::Duration;

use harness::{Answer, Call, Operation, Row};
use serde_json::{Value, json};

use super::{
    ALICE, ID, Members, OWN, THROTTLE, asked, calls, counts, hold, kind, lay, names, puts, repair, set,
};
use crate::{
    history,
    support::{AMPLE, a_moment, counted, frame, line, now_ms, until},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// The connection's row is read.
    Read,
    /// The set grows.
    Set,
    /// The rows are written.
    Rows,
    /// The connection's row is read again.
    Look,
    /// The sessions' heads are read.
    Heads,
}

const STEPS: [Step; 5] = [Step::Read, Step::Set, Step::Rows, Step::Look, Step::Heads];

/// Answers the calls of a step as `answer` says, given how many of them came before.
fn script(members: &Members, step: Step, answer: impl Fn(u32) -> Answer + Send + Sync + 'static) {
    let mut count = 0;
    let mut next = move || {
        count += 1;
        answer(count - 1)
    };
    let mut has_grown = false;
    let world = members.world();
    match step {
        Step::Rows => {
            world.subscriptions.call_script(move |call, _| if puts(call) { next() } else { Answer::Serve });
        }
        Step::Heads => world.messages.script(move |_, _| next()),
        _ => world.table.call_script(move |call, _| {
            has_grown |= call.operation == Operation::UpdateItem;
            let now = match (call.operation, has_grown) {
                (Operation::GetItem, false) => Step::Read,
                (Operation::GetItem, true) => Step::Look,
                _ => Step::Set,
            };
            if now == step { next() } else { Answer::Serve }
        }),
    }
}

#[tokio::test]
async fn each_step_waits_for_the_one_before_and_reads_consistently() {
    let members = Members::with_history().await;
    let world = members.world();
    lay(world, ALICE, &names(0..1));
    let updates = hold(&world.table, |call| call.operation != Operation::GetItem);
    let batches = hold(&world.subscriptions, |_| true);
    let sessions = names(0..40);
    let (writes, reads) = (
        || counts(&world.subscriptions, Operation::BatchWriteItem),
        || counts(&world.table, Operation::GetItem),
    );
    let heads = || world.messages.calls().len();
    let watching = async {
        until(|| counts(&world.table, Operation::UpdateItem) == 1).await;
        a_moment().await;
        assert_eq!((reads(), writes()), (1, 0), "the set before the rows");
        updates.add_permits(1);
        until(|| writes() == 2).await;
        let gate = hold(&world.table, |_| true);
        batches.add_permits(1);
        a_moment().await;
        assert_eq!((reads(), heads()), (1, 0), "the rows before the second look");
        batches.add_permits(1);
        until(|| reads() == 2).await;
        a_moment().await;
        assert_eq!(heads(), 0, "and that before the heads");
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(members.ask("subscribe", &sessions), watching);
    assert_eq!(kind(&answer), "subscribed");
    let calls = [world.table.calls(), world.messages.calls()].concat();
    let inconsistent =
        |call: &&Call| call.operation == Operation::GetItem && call.input["ConsistentRead"] != true;
    assert_eq!(calls.iter().filter(inconsistent).count(), 0);
    for entry in answer["sessions"].as_array().expect("a list") {
        let head = &world.messages.items(entry["session"].as_str().expect("a name"))[0];
        assert_eq!((&entry["epoch"], &entry["offset"]), (&head["epoch"]["S"], &json!(0)), "{entry}");
    }
    let all = set(&sessions);
    assert_eq!(members.subscriptions(), [all.clone(), all]);
    members.log();
}

#[tokio::test]
async fn every_name_has_a_row_with_the_connections_times_known_ones_too() {
    let members = Members::start().await;
    let row = members.world().table.row(ALICE).expect("a row");
    lay(members.world(), ALICE, &names(0..2));
    // As a process leaves it that died between the set and the rows.
    members.world().subscriptions.delete(ALICE);
    members.subscribe(&names(0..3)).await;
    let all = set(&names(0..3));
    assert_eq!(members.subscriptions(), [all.clone(), all]);
    members.world().table.put(ALICE, row.clone());
    let first = members.world().subscriptions.row(ALICE).expect("a row");
    assert_eq!(first, Row { session: "room-000".into(), ..row });
    members.log();
}

#[tokio::test]
async fn a_step_that_fails_is_internal_and_leaves_no_row_outside_the_set() {
    for step in STEPS {
        for trouble in [
            THROTTLE,
            Answer::Error(500, "InternalServerError"),
            Answer::Error(400, "AccessDeniedException"),
            Answer::CutUnread,
            Answer::CutRead,
        ] {
            let members = Members::with_history().await;
            lay(members.world(), ALICE, &names(0..10));
            let what = format!("{step:?} {trouble:?}");
            let answer = trouble.clone();
            script(&members, step, move |_| answer.clone());
            let failed = members.ask("subscribe", &names(5..40)).await;
            assert_eq!((kind(&failed), &failed["id"]), ("internal", &json!(ID)), "{what}: {failed}");
            let [all, rows] = members.subscriptions();
            assert!(rows.is_subset(&all), "{what}");
            let known = set(&names(0..10));
            if [Step::Read, Step::Rows].contains(&step) {
                assert_eq!([&all, &rows], [&known; 2], "{what}: nothing is left, and nothing else lost");
            }
            assert!(rows.is_superset(&known), "{what}");

            repair(members.world());
            members.subscribe(&names(5..40)).await;
            let all = set(&names(0..40));
            assert_eq!(members.subscriptions(), [all.clone(), all], "{what}");
            let log = members.log();
            let failed = line(&log, "failed");
            assert_eq!((&failed["level"], &failed["cause"]), (&json!("ERROR"), &json!("table")), "{what}");
            assert_eq!(counted(&log, "HandlerErrors"), 1.0, "{what}");
        }
    }
}

#[tokio::test]
async fn where_neither_rows_nor_their_removal_succeed_they_stay_in_the_set_and_a_warning_says_so() {
    for trouble in [Answer::Error(400, "AccessDeniedException"), Answer::CutRead] {
        let members = Members::start().await;
        members.world().subscriptions.call_script(move |_, _| trouble.clone());
        assert_eq!(kind(&members.ask("subscribe", &names(0..30)).await), "internal");
        let [all, rows] = members.subscriptions();
        assert!(rows.is_subset(&all), "{rows:?}");
        repair(members.world());
        members.subscribe(&names(0..30)).await;
        let log = members.log();
        assert_eq!(line(&log, "failed")["cause"], "table");
        assert_eq!(line(&log, "subscriptions not undone")["level"], "WARN");
        assert_eq!(counted(&log, "HandlerErrors"), 1.0);
    }
}

#[tokio::test]
async fn a_few_throttles_and_faults_of_each_step_are_ridden_out_and_the_throttles_counted() {
    for step in STEPS {
        for trouble in [THROTTLE, Answer::Error(500, "InternalServerError"), Answer::CutUnread] {
            let members = Members::with_history().await;
            let answer = trouble.clone();
            script(&members, step, move |count| if count < 3 { answer.clone() } else { Answer::Serve });
            members.subscribe(&names(0..1)).await;
            let all = set(&names(0..1));
            assert_eq!(members.subscriptions(), [all.clone(), all]);
            let throttled = if matches!(trouble, Answer::Error(400, _)) { 3.0 } else { 0.0 };
            let log = members.log();
            assert_eq!(counted(&log, "TableThrottled"), throttled, "{step:?} {trouble:?}");
            assert_eq!(counted(&log, "HandlerErrors"), 0.0);
        }
    }
}

#[tokio::test]
async fn answers_that_are_lost_or_late_change_nothing() {
    let late = Answer::Serve.after(Duration::from_millis(700));
    for step in STEPS {
        for (trouble, times) in
            [(Answer::CutRead, 4), (Answer::Trickle(Duration::from_millis(200)), 1), (late.clone(), 1)]
        {
            let members = Members::with_history().await;
            // Only just does it fit: a repeated addition meets a full set.
            lay(members.world(), ALICE, &names(0..70));
            let answer = trouble.clone();
            script(&members, step, move |count| if count < times { answer.clone() } else { Answer::Serve });
            members.subscribe(&names(70..100)).await;
            let all = set(&names(0..100));
            assert_eq!(members.subscriptions(), [all.clone(), all], "{step:?} {trouble:?}");
            members.log();
        }
    }
}

#[tokio::test]
async fn rows_that_a_batch_leaves_undone_are_written_again() {
    let members = Members::start().await;
    members.world().subscriptions.batch_script(|_, batch| if batch < 6 { 20 } else { 0 });
    members.subscribe(&names(0..100)).await;
    let all = set(&names(0..100));
    assert_eq!(members.subscriptions(), [all.clone(), all.clone()]);
    assert_eq!(counts(&members.world().subscriptions, Operation::BatchWriteItem), 10, "of them six twice");

    // Never all of them: what was written is taken back, and that is not done at once either.
    let world = members.world();
    world.table.put("bob=", Row::aged("bob", 60));
    world.subscriptions.batch_script(move |request, batch| match request["PutRequest"].is_null() {
        false => 1,
        true => usize::from(batch < 17),
    });
    let outcome = super::ask(&members.membership, "bob=", "subscribe", &names(0..3)).await;
    assert_eq!(kind(&frame(&outcome)), "internal");
    assert_eq!(super::subscriptions(world, "bob="), [(); 2].map(|()| set(&[])));
    assert_eq!(members.subscriptions(), [all.clone(), all]);
    assert_eq!(counted(&members.log(), "TableThrottled"), 6.0 + 5.0 + 2.0, "no error says so");
}

#[tokio::test]
async fn a_table_that_hangs_is_answered_for_in_time() {
    for step in STEPS {
        let members = Members::with_history().await;
        script(&members, step, |_| Answer::Hang);
        let budget = Duration::from_secs(4);
        let event = harness::over_socket(ALICE, &asked("subscribe", &names(0..30)));
        let outcome = members.membership.invoke(event, budget).await;
        assert_eq!(kind(&frame(&outcome)), "internal", "{step:?}");
        assert!(outcome.took < budget, "{step:?}: {:?}", outcome.took);
        let [all, rows] = members.subscriptions();
        assert!(rows.is_subset(&all), "{step:?}");
        repair(members.world());
        members.subscribe(&names(0..30)).await;
        members.log();
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_second_look_is_not_connected_and_has_no_rows() {
    for ends in [None, Some(-1)] {
        let members = Members::with_history().await;
        let gate = hold(&members.world().subscriptions, puts);
        let ending = async {
            until(|| calls(&members.world().subscriptions, puts) == 2).await;
            match ends {
                None => members.world().table.delete(ALICE),
                Some(left) => {
                    let row = members.world().table.row(ALICE).expect("a row");
                    let expires_at = Some(now_ms() / 1000 + left);
                    members.world().table.put(ALICE, Row { expires_at, ..row });
                }
            }
            gate.add_permits(2);
        };
        let sessions = names(0..30);
        let (answer, ()) = tokio::join!(members.ask("subscribe", &sessions), ending);
        assert_eq!((kind(&answer), &answer["id"]), ("not_connected", &json!(ID)), "{answer}");
        assert!(members.subscriptions()[1].is_empty(), "{ends:?}");
        assert!(members.world().messages.calls().is_empty(), "no head was looked for");
        members.log();
    }
}

#[tokio::test]
async fn a_connection_that_is_not_there_or_has_expired_is_not_connected_and_gets_no_row() {
    let members = Members::start().await;
    let expired = Row { expires_at: Some(now_ms() / 1000 - 1), ..Row::aged("over", 9_001) };
    members.world().table.put("over=", expired.clone());
    for connection in ["over=", "nobody="] {
        for action in ["subscribe", "unsubscribe", "hello"] {
            let outcome = super::ask(&members.membership, connection, action, &names(0..3)).await;
            assert_eq!(kind(&frame(&outcome)), "not_connected", "{connection} {action}");
        }
    }
    assert_eq!(members.world().table.row("over="), Some(expired));
    assert_eq!(
        (members.world().table.row("nobody="), members.subscriptions()),
        (None, [(); 2].map(|()| set(&[])))
    );
    assert!(members.world().subscriptions.connections().is_empty());
    // Only its row in the index has not come yet: it is read consistently.
    let sessions = [OWN.to_owned()];
    members.subscribe(&sessions).await;
    members.log();
}

#[tokio::test]
async fn the_position_in_the_answer_is_read_after_the_rows_are_written() {
    let members = Members::with_history().await;
    let room = &names(0..1)[0];
    let history = history::client(members.world());
    history::append(&history, room).await;
    let gate = hold(&members.world().subscriptions, puts);
    let sessions = names(0..1);
    let sending = async {
        until(|| calls(&members.world().subscriptions, puts) == 1).await;
        history::append(&history, room).await;
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(members.subscribe(&sessions), sending);
    assert_eq!(answer["sessions"][0]["offset"], 2);
    members.log();
}

#[tokio::test]
async fn a_function_thawed_with_dead_connections_still_subscribes() {
    let members = Members::with_history().await;
    members.subscribe(&names(0..100)).await;
    members.membership.freeze().await;
    members.world().silence_connections();
    members.membership.thaw();
    members.subscribe(&names(0..100)).await;
    assert_eq!(kind(&members.ask("unsubscribe", &names(0..100)).await), "unsubscribed");
    assert_eq!(members.subscriptions(), [(); 2].map(|()| set(&[])));
    members.log();
}

/// The longest answer: a hundred names of 128 characters.
#[tokio::test]
async fn a_hundred_of_the_longest_names_are_one_answer_that_the_gateway_takes() {
    let members = Members::with_history().await;
    let names: Vec<String> = (0..100).map(|number| format!("{number:~>128}")).collect();
    let event = harness::over_socket(ALICE, &asked("subscribe", &names));
    let outcome = members.membership.invoke(event, AMPLE).await;
    let answer: Value = frame(&outcome);
    assert_eq!((kind(&answer), answer["sessions"].as_array().map(Vec::len)), ("subscribed", Some(100)));
    assert!(outcome.response()["body"].as_str().is_some_and(|body| body.len() < 32 * 1024), "in one frame");
    members.log();
}
