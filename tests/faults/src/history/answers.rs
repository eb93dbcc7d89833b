//! What the history function answers: which messages, how many, to which connections, and what it says when the table fails.

use std::time::Duration;

use harness::{Answer, Function, Operation, Row, granted, over_socket};
use serde_json::{Value, json};

use super::{
    EPOCH, HOUR, ROOM, Reader,
    Slot::{self, Foreign, Message, Nothing, Void},
    asked, attribute, calls, clear, client, delivery, hold, lay, numbers, question, summary,
};
use crate::support::{AMPLE, counted, ending_in, frame, line, log, name, until};

const LIVE: Slot = Message(HOUR);
const EXPIRED: Slot = Message(-1);
const VOID: Slot = Void(HOUR);

/// A question that asks for what comes after an offset of the epoch.
fn after(offset: u64, limit: u64) -> Value {
    json!({ "epoch": EPOCH, "after": offset, "limit": limit })
}

#[tokio::test]
async fn each_question_has_its_answer() {
    let reader = Reader::start().await;
    let last = |count: u64| json!({ "last": count });
    let elsewhere = |offset: u64| json!({ "epoch": "another1", "after": offset });
    let old = [LIVE, VOID, LIVE, Nothing, LIVE, VOID, Nothing];
    let expired = [Nothing, EXPIRED, Void(-1), LIVE, LIVE];
    let foreign = [LIVE, Foreign(HOUR), LIVE];
    // A young one of the test's future, so that the test may be slow.
    let (young, settled) = (-5000, 5000);
    for (slots, age, asked, offsets, more, complete) in [
        // The newest.
        (&old[..], settled, last(1), &[5][..], false, None),
        (&old, settled, last(2), &[3, 5], false, None),
        (&old, settled, last(100), &[1, 3, 5], false, None),
        (&old, young, last(1), &[5], true, None),
        (&old, young, last(100), &[1, 3], true, None),
        (&foreign, settled, last(100), &[1, 3], false, None),
        (&foreign, young, last(100), &[1], true, None),
        (&foreign, young, last(1), &[3], false, None),
        (&expired, settled, last(100), &[4, 5], false, None),
        (&expired[..3], settled, last(1), &[], false, None),
        (&[VOID, VOID], settled, last(1), &[], false, None),
        (&[Nothing, Nothing], young, last(1), &[], false, None),
        (&[VOID, Nothing], young, last(1), &[], false, None),
        (&[], settled, last(1), &[], false, None),
        // Those after a position.
        (&old, settled, after(0, 100), &[1, 3, 5], false, Some(true)),
        (&old, settled, after(0, 1), &[1], true, Some(true)),
        (&old, settled, after(1, 1), &[3], true, Some(true)),
        (&old, settled, after(3, 1), &[5], false, Some(true)),
        (&old, settled, after(5, 1), &[], false, Some(true)),
        (&old, settled, after(7, 1), &[], false, Some(true)),
        (&old, young, after(0, 100), &[1, 3], true, Some(true)),
        (&old, young, after(3, 100), &[], true, Some(true)),
        (&old, young, after(5, 100), &[], true, Some(true)),
        (&foreign, settled, after(0, 100), &[1, 3], false, Some(true)),
        (&expired, settled, after(1, 100), &[4, 5], false, Some(false)),
        (&expired, settled, after(2, 100), &[4, 5], false, Some(true)),
        (&expired, settled, after(3, 1), &[4], true, Some(true)),
        (&[], settled, after(0, 100), &[], false, Some(true)),
        // A position that is none.
        (&old, settled, after(8, 100), &[1, 3, 5], false, Some(false)),
        (&old, settled, after((1 << 53) - 1, 1), &[1], true, Some(false)),
        (&old, settled, elsewhere(3), &[1, 3, 5], false, Some(false)),
        (&old, settled, elsewhere(0), &[1, 3, 5], false, Some(false)),
        (&[], settled, elsewhere(0), &[], false, Some(false)),
        // Number 1 has none before it.
        (&[Nothing, LIVE], settled, after(0, 100), &[2], false, Some(false)),
        (&[Nothing, LIVE], young, after(0, 100), &[2], false, Some(false)),
        // Where it stands.
        (&old, young, json!({}), &[], false, None),
        (&old, young, json!({ "epoch": "another1", "limit": 5 }), &[], false, None),
    ] {
        lay(&reader.world.messages, ROOM, slots, age);
        let answer = reader.ask(asked.clone()).await;
        let what = format!("{asked} of {slots:?}: {answer}");
        assert_eq!(summary(&answer), (offsets.to_vec(), more, complete), "{what}");
        let position = (&answer["session"], &answer["epoch"], &answer["offset"]);
        assert_eq!(position, (&json!(ROOM), &json!(EPOCH), &json!(slots.len())), "{what}");
        let keys = 7 + usize::from(complete.is_some());
        assert_eq!(answer.as_object().map(serde_json::Map::len), Some(keys), "{what}");
        clear(&reader.world.messages, ROOM);
    }
    assert!(reader.world.gateway.posts().is_empty());
    let reads = |call: &harness::Call| matches!(call.operation, Operation::GetItem | Operation::Query);
    let consistent = calls(&reader.world, |call| reads(call) && call.input["ConsistentRead"] == true);
    assert_eq!(consistent, calls(&reader.world, reads));
}

#[tokio::test]
async fn the_line_of_an_answer_and_its_metrics_say_what_it_was() {
    let reader = Reader::start().await;
    lay(&reader.world.messages, ROOM, &[LIVE, Nothing, LIVE, EXPIRED], 5000);
    let asked = reader.ask(after(1, 100)).await;
    assert_eq!(summary(&asked), (vec![3], false, Some(false)));
    let log = log(&reader.function.finish());
    let line = line(&log, "history");
    let bytes = delivery(ROOM, 3, "").len();
    for (key, value) in [
        ("level", json!("INFO")),
        ("route", json!("history")),
        ("connection_id", json!(name(ROOM, 0))),
        ("session_id", json!(ROOM)),
        ("messages", json!(1)),
        ("bytes", json!(bytes)),
        ("more", json!(false)),
        ("complete", json!(false)),
        ("sealed", json!(1)),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert!(line["duration_ms"].is_number());
    let metrics = ["HistoryReads", "HistoryIncomplete", "HandlerErrors"];
    assert_eq!(metrics.map(|metric| counted(&log, metric)), [1.0, 1.0, 0.0]);
}

#[tokio::test]
async fn only_a_connection_that_is_there_reads_and_only_its_own_session() {
    let reader = Reader::start().await;
    lay(&reader.world.messages, ROOM, &[LIVE], 5000);
    reader.world.table.put("over=", ending_in(ROOM, -1));
    reader.world.table.put("other=", Row::aged("hall", 60));
    for (connection, rest, code) in [
        ("nobody=", json!({ "last": 1 }), "not_connected"),
        ("over=", json!({ "last": 1 }), "not_connected"),
        ("other=", json!({ "last": 1 }), "forbidden"),
        (&*name(ROOM, 0), json!({ "session": "hall" }), "forbidden"),
        (&*name(ROOM, 0), json!({ "session": "ROOM" }), "forbidden"),
        (&*name(ROOM, 0), json!({ "last": 0 }), "bad_request"),
        (&*name(ROOM, 0), json!({ "after": 1, "epoch": EPOCH, "last": 1 }), "bad_request"),
    ] {
        let outcome = reader.function.invoke(over_socket(connection, &asked(rest).to_string()), AMPLE).await;
        let refusal = frame(&outcome);
        assert_eq!(
            (&refusal["type"], &refusal["code"], &refusal["id"]),
            (&json!("error"), &json!(code), &json!("h-1"))
        );
    }
    assert_eq!(calls(&reader.world, |_| true), 0);
    assert!(reader.world.gateway.posts().is_empty());
    let log = log(&reader.function.finish());
    let refused: Vec<_> = log.iter().filter(|line| line["message"] == "refused").collect();
    assert!(refused.len() == 7 && refused.iter().all(|line| line["level"] == "INFO"), "{refused:?}");
    assert_eq!((counted(&log, "HistoryReads"), counted(&log, "HandlerErrors")), (0.0, 0.0));
}

#[tokio::test]
async fn with_tokens_the_grant_says_whose_history_may_be_read_and_until_when() {
    let reader = Reader::start().await;
    lay(&reader.world.messages, ROOM, &[LIVE], 5000);
    let guarded = Function::with_settings("history", &reader.world, &[("REQUIRE_GRANT", "true")]).await;
    let text = asked(json!({ "last": 1 })).to_string();
    let ended = granted("x=", ROOM, &text).replace("4102444800", "1");
    for (event, code) in [
        (granted("x=", ROOM, &text), None),
        (granted("x=", "hall", &text), Some("forbidden")),
        (ended, Some("not_connected")),
        (over_socket(&name(ROOM, 0), &text), Some("not_connected")),
    ] {
        let answer = frame(&guarded.invoke(event, AMPLE).await);
        assert_eq!((answer["code"].as_str(), &answer["id"]), (code, &json!("h-1")), "{answer}");
    }
    assert!(reader.world.table.calls().is_empty(), "the grant says it all");
}

#[tokio::test]
async fn an_id_is_made_up_where_there_is_none() {
    let reader = Reader::start().await;
    let text = json!({ "action": "history", "session": ROOM }).to_string();
    let answer = frame(&reader.function.invoke(over_socket(&name(ROOM, 0), &text), AMPLE).await);
    assert!(answer["id"].as_str().is_some_and(|id| id.len() == 32), "{answer}");
}

#[tokio::test]
async fn whatever_fails_at_the_tables_is_internal_and_the_answer_itself() {
    use Operation::{GetItem, PutItem, Query, UpdateItem};
    for trouble in [
        Answer::Error(500, "InternalServerError"),
        Answer::Error(400, "AccessDeniedException"),
        super::THROTTLE,
        Answer::CutRead,
    ] {
        let reader = Reader::start().await;
        let fail = |operation: Operation| {
            let trouble = trouble.clone();
            // A void whose answer was lost is one that is there.
            let trouble = if operation == PutItem && matches!(trouble, Answer::CutRead) {
                Answer::CutUnread
            } else {
                trouble
            };
            reader.world.messages.script(move |call, _| match call.operation == operation {
                true => trouble.clone(),
                false => Answer::Serve,
            });
        };
        for operation in [UpdateItem, GetItem, Query, PutItem] {
            if operation == GetItem {
                lay(&reader.world.messages, ROOM, &[LIVE, Nothing, LIVE], 5000);
            }
            fail(operation);
            let answer = reader.ask(after(0, 100)).await;
            let expected = (&json!("error"), &json!("internal"), &json!("h-1"));
            assert_eq!(
                (&answer["type"], &answer["code"], &answer["id"]),
                expected,
                "{operation:?} {trouble:?}"
            );
            for internal in ["DynamoDB", "127.0.0.1", harness::MESSAGES, "scripted"] {
                assert!(!answer.to_string().contains(internal), "{answer}");
            }
        }
        reader.world.messages.script(|_, _| Answer::Serve);
        let held = trouble.clone();
        reader.world.table.script(move |_, _| held.clone());
        assert_eq!(reader.ask(json!({})).await["code"], "internal");
        reader.world.table.script(|_, _| Answer::Serve);
        assert_eq!(summary(&reader.ask(after(0, 100)).await), (vec![1, 3], false, Some(true)));
        assert!(reader.world.gateway.posts().is_empty());
        let log = log(&reader.function.finish());
        let failed: Vec<_> = log.iter().filter(|line| line["message"] == "failed").collect();
        assert_eq!(failed.len(), 5);
        assert!(failed.iter().all(|line| line["level"] == "ERROR" && line["cause"] == "table"), "{failed:?}");
        assert_eq!((counted(&log, "HandlerErrors"), counted(&log, "HistoryReads")), (5.0, 1.0));
    }
}

#[tokio::test]
async fn a_few_throttles_and_faults_are_ridden_out() {
    let reader = Reader::start().await;
    reader.world.messages.script(|_, count| if count < 3 { super::THROTTLE } else { Answer::Serve });
    let answer = reader.ask(json!({})).await;
    assert_eq!(summary(&answer), (vec![], false, None));
    lay(&reader.world.messages, ROOM, &[LIVE, Nothing, LIVE], 5000);
    assert_eq!(summary(&reader.ask(after(0, 100)).await), (vec![1, 3], false, Some(true)));
    assert_eq!(counted(&log(&reader.function.finish()), "TableThrottled"), 12.0);
}

#[tokio::test]
async fn a_table_that_hangs_is_answered_for_in_time() {
    const BUDGET: Duration = Duration::from_secs(3);
    let reader = Reader::start().await;
    lay(&reader.world.messages, ROOM, &[LIVE, Nothing, LIVE], 5000);
    for operation in [Operation::GetItem, Operation::Query, Operation::PutItem] {
        reader.world.messages.script(move |call, _| match call.operation == operation {
            true => Answer::Hang,
            false => Answer::Serve,
        });
        let outcome = reader.function.invoke(question(after(0, 100)), BUDGET).await;
        let answer = frame(&outcome);
        assert_eq!((&answer["code"], &answer["id"]), (&json!("internal"), &json!("h-1")), "{operation:?}");
        assert!(outcome.took < BUDGET, "{:?}", outcome.took);
    }
    reader.world.table.script(|_, _| Answer::Hang);
    let answer = frame(&reader.function.invoke(question(json!({})), BUDGET).await);
    assert_eq!(answer["code"], "internal");
    let log = log(&reader.function.finish());
    assert!(log.iter().filter(|line| line["message"] == "failed").all(|line| line["cause"] == "out_of_time"));
    assert_eq!(counted(&log, "HandlerErrors"), 4.0);
}

#[tokio::test]
async fn a_head_that_is_missing_is_created_once_though_two_ask_at_once() {
    let reader = Reader::start().await;
    let other = Function::start("history", &reader.world).await;
    let gate = hold(&reader.world, |call| call.operation == Operation::UpdateItem);
    let releasing = async {
        until(|| calls(&reader.world, |call| call.operation == Operation::UpdateItem) == 2).await;
        gate.add_permits(2);
    };
    let (one, two, ()) = tokio::join!(reader.ask(json!({})), super::ask(&other, after(0, 1)), releasing);
    assert_eq!((&one["epoch"], &one["offset"]), (&two["epoch"], &json!(0)));
    assert_eq!((summary(&one).2, summary(&two).2), (None, Some(false)));
    let items = reader.world.messages.items(ROOM);
    assert_eq!((items.len(), attribute(&items[0], "epoch")), (1, one["epoch"].as_str().expect("an epoch")));
    // The first message is number 1 of that epoch.
    reader.world.messages.script(|_, _| Answer::Serve);
    let position = super::append(&client(&reader.world), ROOM).await;
    assert_eq!(
        (json!(position.epoch), position.offset, numbers(&reader.world, ROOM).len()),
        (one["epoch"].clone(), 1, 1)
    );
    let answer = reader.ask(json!({ "epoch": one["epoch"], "after": 0 })).await;
    assert_eq!(summary(&answer), (vec![1], false, Some(true)));
}

#[tokio::test]
async fn a_head_that_is_damaged_is_internal_and_the_log_says_what_to_do() {
    let reader = Reader::start().await;
    for (part, value) in [
        ("epoch", Value::Null),
        ("epoch", json!({ "N": "1" })),
        ("last", Value::Null),
        ("last", json!({ "S": "1" })),
        ("last", json!({ "N": "-1" })),
        ("last", json!({ "N": "1.5" })),
    ] {
        let mut head = super::head(ROOM, 1, 5000);
        head.as_object_mut().expect("an object").retain(|name, _| name != part || !value.is_null());
        if !value.is_null() {
            head[part] = value;
        }
        reader.world.messages.put(&head);
        for asked in [json!({}), json!({ "last": 1 }), after(0, 1)] {
            assert_eq!(reader.ask(asked).await["code"], "internal", "{head}");
        }
    }
    let log = log(&reader.function.finish());
    let failed: Vec<_> = log.iter().filter(|line| line["message"] == "failed").collect();
    assert_eq!(failed.len(), 18);
    for line in failed {
        let says = |word| line["error"].as_str().is_some_and(|error| error.contains(word));
        assert!(says(ROOM) && says("delete"), "{line}");
    }
}

#[tokio::test]
async fn an_item_that_is_damaged_is_no_message() {
    let reader = Reader::start().await;
    for (part, value) in
        [("frame", json!({ "S": "{" })), ("frame", json!({ "N": "1" })), ("expires_at", json!({ "S": "" }))]
    {
        lay(&reader.world.messages, ROOM, &[LIVE; 3], 5000);
        let mut item = reader.world.messages.items(ROOM)[2].clone();
        item[part] = value;
        reader.world.messages.put(&item);
        // It is there, so that it cannot be sealed.
        assert_eq!(summary(&reader.ask(after(0, 100)).await), (vec![1, 3], false, Some(false)), "{item}");
        assert_eq!(summary(&reader.ask(json!({ "last": 100 })).await), (vec![1, 3], false, None), "{item}");
    }
}
