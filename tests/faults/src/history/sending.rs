//! What history adds to a send: which calls, in which order, what frames and receipts say, and what it costs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use harness::{Answer, Function, Operation, Outcome, Row, World, over_socket};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ROOM, ask, attribute, calls, hold, last, numbers, summary};
use crate::{
    startup::stops,
    support::{AMPLE, Hub, ID, IMPATIENT, SENDER, a_moment, counted, frame, line, log, name, totals, until},
};

/// The operations at both tables, in alphabetic order for each.
fn operations(world: &World) -> [Vec<String>; 2] {
    [world.table.calls(), world.messages.calls()].map(|calls| {
        let mut names: Vec<String> = calls.iter().map(|call| format!("{:?}", call.operation)).collect();
        names.sort_unstable();
        names
    })
}

async fn send(hub: &Hub, rest: Value) -> Outcome {
    let mut message = json!({ "action": "sendMessage", "sessions": [ROOM], "message": "hello", "id": ID });
    message.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    hub.function.invoke(over_socket(SENDER, &message.to_string()), AMPLE).await
}

/// The frames posted to the room's first connection.
fn posted(hub: &Hub) -> Vec<String> {
    let text = |frame: &[u8]| String::from_utf8(frame.to_vec()).expect("UTF-8");
    hub.posts_to(&name(ROOM, 0)).iter().map(|post| text(&post.frame)).collect()
}

#[tokio::test]
async fn without_history_a_send_is_what_it_was_but_for_the_session_in_the_frame() {
    let hub = Hub::new().await;
    hub.crowd(ROOM, 1);
    for rest in [json!({}), json!({ "store": true }), json!({ "store": false })] {
        let receipt = frame(&send(&hub, rest).await);
        assert_eq!(receipt["sessions"], json!([{ "session": ROOM, "delivered": 1, "gone": 0, "failed": 0 }]));
    }
    let [connections, messages] = operations(&hub.world);
    assert_eq!((connections.concat(), messages.len()), ("GetItem".repeat(3) + &"Query".repeat(3), 0));
    for text in posted(&hub) {
        let begins =
            format!(r#"{{"type":"message","id":"{ID}","from":"senders","message":"hello","sent_at":""#);
        assert!(text.starts_with(&begins) && text.ends_with(r#"Z","session":"room"}"#), "{text}");
    }

    let publish = Function::start("publish", &hub.world).await;
    let outcome = publish.invoke(json!({ "sessions": [ROOM], "message": 1 }).to_string(), AMPLE).await;
    assert_eq!(totals(outcome.response()), [1, 0, 0]);
    let [connections, messages] = operations(&hub.world);
    assert_eq!((connections.concat(), messages.len()), ("GetItem".repeat(3) + &"Query".repeat(4), 0));
    assert!(posted(&hub)[3].ends_with(r#"Z","session":"room"}"#));

    let refusal = frame(&send(&hub, json!({ "store": 0 })).await);
    assert_eq!((&refusal["code"], &refusal["id"]), (&json!("bad_request"), &json!(ID)));
    assert!(hub.log().iter().filter(|line| line["message"] == "sent").all(|line| line["stored"] == 0));
}

#[tokio::test]
async fn with_history_a_message_has_its_offset_and_is_stored_before_it_is_posted() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    let row = Arc::new(Semaphore::new(0));
    let held = row.clone();
    hub.world.table.script(move |operation, _| match operation {
        Operation::GetItem => Answer::Serve.once(&held),
        _ => Answer::Serve,
    });
    let gate = hold(&hub.world, |_| true);
    let asked = |operation| calls(&hub.world, |call| call.operation == operation);
    let watching = async {
        until(|| hub.world.table.calls().len() == 2).await;
        a_moment().await;
        assert_eq!(calls(&hub.world, |_| true), 0, "the sender is not known yet");
        row.add_permits(1);
        until(|| asked(Operation::UpdateItem) == 1).await;
        a_moment().await;
        assert_eq!(asked(Operation::PutItem), 0, "there is no number yet");
        gate.add_permits(1);
        until(|| asked(Operation::PutItem) == 1).await;
        a_moment().await;
        assert_eq!(hub.posts().len(), 0, "it is not kept yet");
        gate.add_permits(3);
        row.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), watching);
    assert_eq!(totals(&frame(&outcome)), [1, 0, 0]);
    let expected = [["GetItem", "Query"], ["PutItem", "UpdateItem"]];
    assert_eq!(operations(&hub.world), expected.map(|names| names.map(str::to_owned).to_vec()));

    let silent = send(&hub, json!({ "receipt": false })).await;
    assert_eq!((silent.response(), last(&hub.world, ROOM)), (&json!({ "statusCode": 200 }), 2));
    assert!(hub.log().iter().filter(|line| line["message"] == "sent").all(|line| line["stored"] == 1));
}

#[tokio::test]
async fn the_message_is_written_while_the_index_is_read() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    let index = Arc::new(Semaphore::new(0));
    let held = index.clone();
    hub.world.table.script(move |operation, _| match operation {
        Operation::Query => Answer::Serve.once(&held),
        _ => Answer::Serve,
    });
    let watching = async {
        until(|| !hub.world.messages.items(ROOM).is_empty() && numbers(&hub.world, ROOM).len() == 1).await;
        index.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(hub.send(&[ROOM], AMPLE), watching);
    assert_eq!(totals(&frame(&outcome)), [1, 0, 0]);
}

#[tokio::test]
async fn a_message_that_is_not_to_be_stored_is_delivered_outside_the_order() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    let receipt = frame(&send(&hub, json!({ "store": false })).await);
    assert_eq!(receipt["sessions"], json!([{ "session": ROOM, "delivered": 1, "gone": 0, "failed": 0 }]));
    let publish = Function::start("publish", &hub.world).await;
    let request = |store| json!({ "sessions": [ROOM], "message": 1, "store": store }).to_string();
    let outcome = publish.invoke(request(json!(false)), AMPLE).await;
    assert_eq!(outcome.response()["sessions"], receipt["sessions"]);
    assert_eq!(calls(&hub.world, |_| true), 0);
    assert!(posted(&hub).iter().all(|text| text.ends_with(r#"Z","session":"room"}"#)));
    assert_eq!(publish.invoke(request(json!(null)), AMPLE).await.error()["errorType"], "bad_request");

    let outcome = publish.invoke(request(json!(true)), AMPLE).await;
    assert_eq!(outcome.response()["sessions"][0]["offset"], 1);
    assert_eq!(operations(&hub.world)[1], ["PutItem", "UpdateItem"]);
    let stored = |log: &[Value]| {
        log.iter()
            .filter(|line| line["message"] == "sent")
            .map(|line| line["stored"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (stored(&log(&publish.finish())), stored(&hub.log())),
        (vec![json!(0), json!(1)], vec![json!(0)])
    );
}

#[tokio::test]
async fn what_is_posted_is_what_is_kept_and_what_is_answered_byte_for_byte() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 1);
    hub.crowd("a|b", 1);
    let reader = Function::start("history", &hub.world).await;
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let contents = [
        "null",
        "\"\"",
        "1e400",
        "-0",
        "12345678901234567890123",
        "{\"b\":1, \"a\" : [ ]}",
        "{\"a\":1,\"a\":2}",
        "\"\\u0000\\ud83d \\ud83d\\ude00 😀 \\/ é\"",
        &deep,
    ];
    for (content, number) in contents.into_iter().zip(1..) {
        let text = format!(
            r#"{{"action":"sendMessage","sessions":["room","a|b","room"],"message":{content},"id":"é\"\\{number}"}}"#
        );
        let receipt = frame(&hub.function.invoke(over_socket(SENDER, &text), AMPLE).await);
        for (session, entry) in [ROOM, "a|b"].into_iter().zip(receipt["sessions"].as_array().expect("a list"))
        {
            let items = hub.world.messages.items(session);
            let kept = attribute(items.last().expect("a message"), "frame");
            let epoch = attribute(&items[0], "epoch");
            let posts = hub.posts_to(&name(session, 0));
            assert_eq!(std::str::from_utf8(&posts.last().expect("a post").frame), Ok(kept));
            let ends = format!(r#","session":"{session}","epoch":"{epoch}","offset":{number}}}"#);
            assert!(
                kept.contains(&format!(r#""message":{content},"sent_at""#)) && kept.ends_with(&ends),
                "{kept}"
            );
            assert_eq!((&entry["epoch"], &entry["offset"]), (&json!(epoch), &json!(number)));
            assert_eq!((epoch.len(), last(&hub.world, session)), (8, number));
        }
        let answer = reader.invoke(super::question(json!({ "last": 1 })), AMPLE).await;
        let body = answer.response()["body"].as_str().expect("text").to_owned();
        assert!(body.contains(posted(&hub).last().expect("a post")), "{body}");
    }
    let answer = reader.invoke(super::question(json!({ "last": 100 })), AMPLE).await;
    let body = answer.response()["body"].as_str().expect("text");
    assert!(body.ends_with(&format!(r#""messages":[{}]}}"#, posted(&hub).join(","))), "{body}");
}

#[tokio::test]
async fn a_recipient_that_could_not_be_reached_finds_the_message_in_the_history() {
    for trouble in [Answer::Hang, Answer::Error(429, "LimitExceededException")] {
        let mut hub = Hub::with_history().await;
        hub.crowd(ROOM, 2);
        hub.restart(&[IMPATIENT]).await;
        hub.world.gateway.script(move |connection, _| match crate::support::index(connection) {
            0 => trouble.clone(),
            _ => Answer::Serve,
        });
        let receipt = frame(&hub.send(&[ROOM], AMPLE).await);
        assert_eq!((totals(&receipt), &receipt["sessions"][0]["offset"]), ([1, 0, 1], &json!(1)));
        let reader = Function::start("history", &hub.world).await;
        let position = json!({ "epoch": receipt["sessions"][0]["epoch"], "after": 0 });
        let answer = ask(&reader, position).await;
        assert_eq!(summary(&answer), (vec![1], false, Some(true)));
        assert_eq!(answer["messages"][0]["id"], ID);
    }
}

#[tokio::test]
async fn a_kept_message_whose_recipients_cannot_be_read_is_counted_where_it_stands() {
    // Repeated for longer than writing takes, or refused before that has begun.
    for (trouble, writing) in [
        (Answer::Error(500, "InternalServerError"), Duration::ZERO),
        (Answer::Error(400, "AccessDeniedException"), Duration::from_millis(100)),
    ] {
        let hub = Hub::with_history().await;
        hub.crowd(ROOM, 1);
        hub.crowd("hall", 1);
        hub.world.messages.script(move |_, _| Answer::Serve.after(writing));
        hub.world.table.page_script(move |session, _| match session {
            "hall" => trouble.clone(),
            _ => Answer::Serve,
        });
        let receipt = frame(&hub.send(&["hall", ROOM], AMPLE).await);
        let hall = &receipt["sessions"][0];
        assert_eq!(
            (&hall["offset"], &hall["complete"], &hall["delivered"]),
            (&json!(1), &json!(false), &json!(0))
        );
        assert_eq!(numbers(&hub.world, "hall").len(), 1);
        let log = hub.log();
        assert_eq!(
            (&line(&log, "sessions not served")["count"], &line(&log, "sent")["stored"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(counted(&log, "HandlerErrors"), 1.0);
    }
}

#[tokio::test]
async fn a_receipt_says_where_each_message_stands_that_was_kept_also_when_the_time_is_up() {
    let hub = Hub::with_history().await;
    hub.crowd(ROOM, 3_000);
    hub.world.gateway.script(|_, _| Answer::Hang);
    let others: Vec<String> = (0..30).map(|index| format!("s{index}")).collect();
    let sessions: Vec<&str> = [ROOM].into_iter().chain(others.iter().map(String::as_str)).collect();
    let receipt = frame(&hub.send(&sessions, Duration::from_secs(4)).await);
    for entry in receipt["sessions"].as_array().expect("a list") {
        let kept = hub.world.messages.items(entry["session"].as_str().expect("a session"));
        let offset = kept.get(1).map(|item| attribute(item, "offset").parse::<u64>().expect("a number"));
        assert_eq!(entry["offset"].as_u64(), offset, "{entry}");
    }
    assert_eq!(receipt["sessions"][0]["offset"], 1);
}

#[tokio::test]
async fn a_hundred_sessions_are_written_eight_at_once_and_each_is_posted_as_soon_as_it_is() {
    let hub = Hub::with_history().await;
    let sessions: Vec<String> = (0..100).map(|index| format!("s{index}")).collect();
    for session in &sessions {
        hub.crowd(session, 1);
    }
    let gate = hold(&hub.world, |call| call.operation == Operation::UpdateItem);
    let watching = async {
        until(|| calls(&hub.world, |_| true) == 8).await;
        a_moment().await;
        assert_eq!((calls(&hub.world, |_| true), hub.posts().len()), (8, 0));
        gate.add_permits(1);
        until(|| hub.posts().len() == 1).await;
        gate.add_permits(99);
    };
    let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
    let (outcome, ()) = tokio::join!(hub.send(&sessions, AMPLE), watching);
    let receipt = frame(&outcome);
    assert_eq!(totals(&receipt), [100, 0, 0]);
    let entries = receipt["sessions"].as_array().expect("a list");
    let epochs: BTreeSet<&str> =
        entries.iter().map(|entry| entry["epoch"].as_str().expect("an epoch")).collect();
    assert!(entries.iter().all(|entry| entry["offset"] == 1) && epochs.len() == 100);
    for session in sessions {
        let [(1, Some(kept))] = &numbers(&hub.world, session)[..] else { panic!("one message: {session}") };
        assert_eq!(hub.posts_to(&name(session, 0))[0].frame, kept.as_bytes());
    }
}

/// The most memory that a process had in use while it sent 32,000 bytes to `count` sessions of one connection that hangs.
async fn peak(count: usize) -> u64 {
    let world = World::start().await.with_history().with_subscriptions();
    let sessions: Vec<String> = (0..count).map(|index| format!("s{index}")).collect();
    for session in &sessions {
        world.table.put(&name(session, 0), Row::aged(session, 60));
    }
    world.gateway.script(|_, _| Answer::Hang);
    let publish = Function::with_settings("publish", &world, &[IMPATIENT]).await;
    let request = json!({ "sessions": sessions, "message": "x".repeat(32_000) }).to_string();
    let outcome = publish.invoke(request, AMPLE).await;
    assert_eq!(totals(outcome.response()), [0, 0, count as u64]);
    assert!(sessions.iter().all(|session| numbers(&world, session).len() == 1));
    publish.peak_memory()
}

#[tokio::test]
async fn a_large_message_to_a_hundred_sessions_that_hang_takes_little_more_memory_than_to_one() {
    let (one, many) = (peak(1).await, peak(100).await);
    assert!(many <= one + (6 << 20), "{one} bytes for one session, {many} for a hundred");
}

#[tokio::test]
async fn a_delivery_is_measured_with_any_position_whether_history_is_on_or_off() {
    for history in [false, true] {
        let hub = if history { Hub::with_history().await } else { Hub::new().await };
        hub.crowd(ROOM, 1);
        let of = |bytes: usize| json!({ "message": "x".repeat(bytes), "sessions": [ROOM, "r".repeat(128)] });
        frame(&send(&hub, of(0)).await);
        let shared = posted(&hub)[0].find(r#","session""#).expect("a session");
        let fits = 32 * 1024 - shared - r#","session":"","epoch":"","offset":}"#.len() - 128 - 8 - 16;
        assert_eq!(frame(&send(&hub, of(fits)).await)["type"], "receipt", "history: {history}");
        assert_eq!(frame(&send(&hub, of(fits + 1)).await)["code"], "message_too_large", "history: {history}");
    }
}

#[tokio::test]
async fn the_largest_message_fits_into_an_answer_whatever_the_ids() {
    let mut hub = Hub::with_history().await;
    hub.restart(&[("MAX_MESSAGE_BYTES", "129024")]).await;
    let room = "~".repeat(128);
    hub.crowd(&room, 1);
    let connection = name(&room, 0);
    let long_id = "\u{1}".repeat(128);
    let of = |bytes: usize| json!({ "message": "x".repeat(bytes), "sessions": [room], "id": long_id });
    frame(&send(&hub, of(0)).await);
    let empty = hub.posts_to(&connection)[0].frame.len();
    let fits = 129_024 - empty - 15;
    assert_eq!(frame(&send(&hub, of(fits)).await)["sessions"][0]["offset"], 2);
    assert_eq!(frame(&send(&hub, of(fits + 1)).await)["code"], "message_too_large");

    // An offset of 16 digits.
    let number = (1_u64 << 53) - 2;
    let mut head = hub.world.messages.items(&room)[0].clone();
    head["last"] = json!({ "N": (number - 1).to_string() });
    hub.world.messages.put(&head);
    assert_eq!(frame(&send(&hub, of(fits)).await)["sessions"][0]["offset"], number);
    assert_eq!(hub.posts_to(&connection).last().expect("a post").frame.len(), 129_024);
    let reader = Function::start("history", &hub.world).await;
    let epoch = attribute(&head, "epoch");
    for rest in [json!({ "epoch": epoch, "after": number - 1, "limit": 100 }), json!({ "last": 100 })] {
        let mut question = rest;
        for (key, value) in [("action", "history"), ("session", &room), ("id", &long_id)] {
            question[key] = value.into();
        }
        let outcome = reader.invoke(over_socket(&connection, &question.to_string()), AMPLE).await;
        let answer = frame(&outcome);
        assert_eq!((&answer["messages"][0]["offset"], &answer["id"]), (&json!(number), &json!(long_id)));
        let bytes = outcome.response()["body"].as_str().expect("text").len();
        assert!((129_024..=128 * 1024).contains(&bytes), "{bytes}");
    }
}

#[tokio::test]
async fn a_bad_setting_of_the_history_stops_the_function_and_is_named() {
    const SENDERS: [&str; 2] = ["publish", "send-message"];
    let world = World::start().await.with_history();
    for (variable, value, functions) in [
        ("HISTORY_SECONDS", None, &SENDERS[..]),
        ("HISTORY_SECONDS", Some("0"), &SENDERS),
        ("HISTORY_SECONDS", Some("299"), &SENDERS),
        ("HISTORY_SECONDS", Some("604801"), &SENDERS),
        ("HISTORY_SECONDS", Some("1d"), &SENDERS),
        ("MAX_MESSAGE_BYTES", Some("129025"), &SENDERS),
        ("MESSAGES_TABLE", Some("a table"), &["publish", "send-message", "history"]),
        ("MESSAGES_TABLE", None, &["history"]),
        ("TABLE_NAME", None, &["history"]),
        ("REQUIRE_GRANT", Some("yes"), &["history"]),
    ] {
        for function in functions {
            stops(function, &world, variable, value).await;
        }
    }
}

#[tokio::test]
async fn settings_that_are_right_or_of_no_use_start_the_function() {
    let (off, on) = (World::start().await, World::start().await.with_history());
    for (function, world, settings) in [
        ("publish", &off, [("MAX_MESSAGE_BYTES", "131072"), ("HISTORY_SECONDS", "soon")]),
        ("publish", &on, [("MAX_MESSAGE_BYTES", "129024"), ("HISTORY_SECONDS", "300")]),
        ("publish", &on, [("MAX_MESSAGE_BYTES", "129024"), ("HISTORY_SECONDS", "604800")]),
        ("history", &on, [("HISTORY_SECONDS", ""), ("SESSION_INDEX", "!")]),
    ] {
        let started = Function::with_settings(function, world, &settings).await;
        started.idle().await;
        assert_eq!(line(&log(&started.finish()), "started")["level"], "INFO", "{function} {settings:?}");
    }
}
