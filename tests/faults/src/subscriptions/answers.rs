//! The answers to hello, subscribe and unsubscribe: which connections may ask, and which may then read a history.

use std::time::Duration;

use harness::{Answer, Function, Operation, Row, World, granted, over_socket};
use serde_json::{Value, json};

use super::{
    ALICE, ID, Members, OWN, THROTTLE, asked, calls, counts, hold, kind, lay, names, puts, repair, set,
};
use crate::{
    history,
    startup::stops,
    support::{AMPLE, a_moment, counted, ending_in, frame, line, log, now_ms, until},
};

const ACTIONS: [&str; 2] = ["subscribe", "unsubscribe"];

async fn hello(members: &Members, rest: Value) -> Value {
    let mut asked = json!({ "action": "hello", "id": ID });
    asked.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    frame(&members.membership.invoke(over_socket(ALICE, &asked.to_string()), AMPLE).await)
}

#[tokio::test]
async fn hello_says_what_the_tables_hold() {
    for with_history in [false, true] {
        let members = if with_history { Members::with_history().await } else { Members::start().await };
        let expires_at = now_ms() / 1000 + 500;
        members.world().table.put(ALICE, Row { expires_at: Some(expires_at), ..Row::aged(OWN, 60) });
        if with_history {
            let client = history::client(members.world());
            for session in [OWN, "room-001", "room-001"] {
                history::append(&client, session).await;
            }
        }
        for subscriptions in [names(0..0), names(0..3)] {
            lay(members.world(), ALICE, &subscriptions);
            let answer = hello(&members, json!({ "sessions": 7 })).await;
            assert_eq!(
                (kind(&answer), &answer["id"], &answer["session"]),
                ("hello", &json!(ID), &json!(OWN))
            );
            let mut told: Vec<&str> = Vec::new();
            told.extend(answer["subscriptions"].as_array().expect("a list").iter().filter_map(Value::as_str));
            told.sort_unstable();
            assert_eq!(told, subscriptions);
            assert_eq!(answer["expires_at"], expires_at);
            let left = answer["expires_in"].as_i64().expect("seconds");
            assert!((490..=500).contains(&left), "{left}");
            let Some(positions) = answer["positions"].as_array() else {
                assert!(!with_history && answer.get("positions").is_none(), "{answer}");
                continue;
            };
            let mut expected: Vec<(String, u64)> = vec![(OWN.to_owned(), 1)];
            expected.extend(
                subscriptions
                    .iter()
                    .map(|session| (session.clone(), if session == "room-001" { 2 } else { 0 })),
            );
            let position = |entry: &Value| {
                assert_eq!(entry["epoch"].as_str().map(str::len), Some(8), "{entry}");
                (
                    entry["session"].as_str().expect("a name").to_owned(),
                    entry["offset"].as_u64().expect("a number"),
                )
            };
            let mut told: Vec<_> = positions.iter().map(position).collect();
            told.sort();
            assert_eq!(told, expected);
        }
        let reads = members.world().table.calls();
        assert!(
            reads
                .iter()
                .all(|call| call.operation == Operation::GetItem && call.input["ConsistentRead"] == true)
        );
        members.log();
    }
}

#[tokio::test]
async fn hello_from_a_connection_without_a_row_is_not_connected() {
    let members = Members::start().await;
    let reads = [(None, "gone"), (Some(ending_in(OWN, -1)), "expired")];
    for (row, what) in reads {
        members.world().table.delete(ALICE);
        if let Some(row) = row {
            members.world().table.put(ALICE, row);
        }
        let answer = hello(&members, json!({})).await;
        assert_eq!((kind(&answer), &answer["id"]), ("not_connected", &json!(ID)), "{what}");
    }
    members.log();
}

#[tokio::test]
async fn a_pruned_connection_learns_of_it_by_its_next_hello() {
    let members = Members::start().await;
    members.subscribe(&names(0..1)).await;
    members.world().gateway.script(|_, _| Answer::Bare(410));
    let receipt = frame(&members.hub.send(&["room-000"], AMPLE).await);
    assert_eq!((&receipt["gone"], kind(&hello(&members, json!({})).await)), (&json!(1), "not_connected"));
    members.log();
}

#[tokio::test]
async fn unsubscribing_deletes_the_rows_and_then_the_names_in_the_set() {
    let members = Members::start().await;
    let world = members.world();
    lay(world, ALICE, &names(0..60));
    let gate = hold(&world.subscriptions, |_| true);
    let sessions = names(10..70);
    let watching = async {
        until(|| counts(&world.subscriptions, Operation::BatchWriteItem) == 3).await;
        gate.add_permits(2);
        a_moment().await;
        assert_eq!(
            members.subscriptions()[0],
            set(&names(0..60)),
            "the set is as it was until the rows are gone"
        );
        assert_eq!(counts(&world.table, Operation::UpdateItem), 0);
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(members.ask("unsubscribe", &sessions), watching);
    let asked: Vec<&str> = sessions.iter().map(String::as_str).collect();
    assert_eq!(
        (kind(&answer), &answer["id"], &answer["sessions"]),
        ("unsubscribed", &json!(ID), &json!(asked))
    );
    let rest = set(&names(0..10));
    assert_eq!(members.subscriptions(), [rest.clone(), rest]);
    repair(world);

    // Down to nothing: then there is no set, and again is no error.
    for _ in 0..2 {
        assert_eq!(kind(&members.ask("unsubscribe", &names(0..10)).await), "unsubscribed");
        assert_eq!(members.subscriptions(), [set(&[]), set(&[])]);
    }
    assert_eq!(world.table.row(ALICE).map(|row| row.session), Some(OWN.to_owned()));
    members.log();
}

#[tokio::test]
async fn an_unsubscribe_that_fails_is_internal_leaves_no_row_outside_the_set_and_may_be_repeated() {
    for of_rows in [true, false] {
        for trouble in
            [THROTTLE, Answer::Error(400, "AccessDeniedException"), Answer::CutUnread, Answer::CutRead]
        {
            let members = Members::start().await;
            let world = members.world();
            lay(world, ALICE, &names(0..40));
            let table = if of_rows { &world.subscriptions } else { &world.table };
            let (answer, what) = (trouble.clone(), format!("{of_rows} {trouble:?}"));
            table.call_script(move |call, _| match call.operation {
                Operation::GetItem => Answer::Serve,
                _ => answer.clone(),
            });
            assert_eq!(kind(&members.ask("unsubscribe", &names(0..30)).await), "internal", "{what}");
            let [all, rows] = members.subscriptions();
            assert!(rows.is_subset(&all), "{what}");
            repair(world);
            assert_eq!(kind(&members.ask("unsubscribe", &names(0..30)).await), "unsubscribed");
            assert_eq!(members.subscriptions(), [(); 2].map(|()| set(&names(30..40))), "{what}");
            let log = members.log();
            assert_eq!(
                (&line(&log, "failed")["cause"], counted(&log, "HandlerErrors")),
                (&json!("table"), 1.0)
            );
        }
    }
}

#[tokio::test]
async fn an_unsubscribe_rides_out_throttles_lost_answers_and_unprocessed_requests() {
    for trouble in [THROTTLE, Answer::CutRead, Answer::CutUnread] {
        let members = Members::start().await;
        let world = members.world();
        lay(world, ALICE, &names(0..40));
        for table in [&world.table, &world.subscriptions] {
            let answer = trouble.clone();
            table.script(move |_, count| if count < 3 { answer.clone() } else { Answer::Serve });
        }
        world.subscriptions.batch_script(|_, batch| if batch < 5 { 9 } else { 0 });
        assert_eq!(kind(&members.ask("unsubscribe", &names(0..30)).await), "unsubscribed");
        assert_eq!(members.subscriptions(), [(); 2].map(|()| set(&names(30..40))));
        members.log();
    }
}

#[tokio::test]
async fn a_malformed_frame_is_refused_with_its_id_before_a_table_is_asked() {
    let members = Members::with_history().await;
    let (many, long) = (names(0..101), "x".repeat(129));
    let mut asked = 0;
    for action in ACTIONS {
        let too_many = if action == "subscribe" { "too_many_subscriptions" } else { "too_many_sessions" };
        for (sessions, code) in [
            (Some(json!(null)), "bad_request"),
            (None, "bad_request"),
            (Some(json!([])), "bad_request"),
            (Some(json!("room")), "bad_request"),
            (Some(json!(["room", 1])), "bad_request"),
            (Some(json!(["room", ""])), "bad_request"),
            (Some(json!(["room", "a b"])), "bad_request"),
            (Some(json!(["room", "a*"])), "bad_request"),
            (Some(json!(["*"])), "bad_request"),
            (Some(json!(["room", "\u{e9}"])), "bad_request"),
            (Some(json!(["room", "a\"b"])), "bad_request"),
            (Some(json!(["room", "a\\b"])), "bad_request"),
            (Some(json!(["room", long])), "bad_request"),
            (Some(json!(many)), too_many),
        ] {
            let mut text = json!({ "action": action, "id": ID });
            if let Some(sessions) = sessions {
                text["sessions"] = sessions;
            }
            let outcome = members.membership.invoke(over_socket(ALICE, &text.to_string()), AMPLE).await;
            let answer = frame(&outcome);
            assert_eq!((kind(&answer), &answer["id"]), (code, &json!(ID)), "{text}");
            asked += 1;
        }
    }
    for (action, id) in
        [("subscribe", json!(1)), ("unsubscribe", json!("")), ("hello", json!("x".repeat(129)))]
    {
        let text = json!({ "action": action, "sessions": ["room"], "id": id });
        let outcome = members.membership.invoke(over_socket(ALICE, &text.to_string()), AMPLE).await;
        assert_eq!(kind(&frame(&outcome)), "bad_request", "{text}");
        asked += 1;
    }
    let calls = [
        members.world().table.calls(),
        members.world().subscriptions.calls(),
        members.world().messages.calls(),
    ];
    assert_eq!(calls.concat().len(), 0);
    assert!(members.world().gateway.posts().is_empty());
    let log = members.log();
    assert_eq!(log.iter().filter(|line| line["message"] == "refused").count(), asked);
    assert_eq!(counted(&log, "HandlerErrors"), 0.0);
}

#[tokio::test]
async fn an_id_is_made_up_where_there_is_none() {
    let members = Members::start().await;
    for action in ["subscribe", "unsubscribe", "hello"] {
        let text = json!({ "action": action, "sessions": ["room"], "colour": "ignored" });
        let answer = frame(&members.membership.invoke(over_socket(ALICE, &text.to_string()), AMPLE).await);
        assert!(answer["id"].as_str().is_some_and(|id| !id.is_empty()), "{answer}");
        assert!(["subscribed", "unsubscribed", "hello"].contains(&kind(&answer)), "{answer}");
    }
    members.log();
}

/// An event with a grant that may subscribe to `subscribe_to`.
fn with_grant(session: &str, subscribe_to: Option<Value>, exp: i64, text: &str) -> String {
    let mut event: Value = serde_json::from_str(&granted(ALICE, session, text)).expect("an event");
    event["requestContext"]["authorizer"]["exp"] = exp.to_string().into();
    if let Some(patterns) = subscribe_to {
        event["requestContext"]["authorizer"]["subscribe_to"] = patterns.to_string().into();
    }
    event.to_string()
}

const LATER: i64 = 4_102_444_800;

#[tokio::test]
async fn with_tokens_a_connection_subscribes_to_what_is_granted_and_to_its_own_session() {
    let members = Members::start().await;
    let guarded = Function::with_settings("membership", members.world(), &[("REQUIRE_GRANT", "true")]).await;
    for (grant, sessions, expected) in [
        (None, &[OWN][..], "subscribed"),
        (None, &["room-1"], "forbidden"),
        (None, &[OWN, "room-1"], "forbidden"),
        (Some(json!([])), &[OWN], "subscribed"),
        (Some(json!([])), &["room-1"], "forbidden"),
        (Some(json!(["room-1", "hall*"])), &["room-1", "hall", "hall-7", OWN], "subscribed"),
        (Some(json!(["room-1", "hall*"])), &["room-1", "room-10"], "forbidden"),
        (Some(json!(["room-1", "hall*"])), &["hal"], "forbidden"),
        (Some(json!(["room-1"])), &["Room-1"], "forbidden"),
        (Some(json!(["*"])), &["anything", "else"], "subscribed"),
    ] {
        members.world().table.put(ALICE, Row::aged(OWN, 60));
        members.world().subscriptions.delete(ALICE);
        let sessions: Vec<String> = sessions.iter().map(|name| (*name).to_owned()).collect();
        let event = with_grant(OWN, grant.clone(), LATER, &asked("subscribe", &sessions));
        let answer = frame(&guarded.invoke(event, AMPLE).await);
        assert_eq!(
            (kind(&answer), &answer["id"]),
            (expected, &json!(ID)),
            "{grant:?} {sessions:?}: {answer}"
        );
        let mut others = set(if expected == "subscribed" { &sessions } else { &[] });
        others.remove(OWN);
        assert_eq!(
            members.subscriptions(),
            [others.clone(), others],
            "all of them or none: {grant:?} {sessions:?}"
        );
    }
    log(&guarded.finish());
    members.log();
}

#[tokio::test]
async fn with_tokens_nothing_is_taken_without_one_or_after_its_end() {
    let members = Members::start().await;
    let guarded = Function::with_settings("membership", members.world(), &[("REQUIRE_GRANT", "true")]).await;
    for action in ["subscribe", "unsubscribe", "hello"] {
        let text = asked(action, &names(0..1));
        for event in
            [over_socket(ALICE, &text), with_grant(OWN, Some(json!(["*"])), now_ms() / 1000 - 1, &text)]
        {
            let answer = frame(&guarded.invoke(event, AMPLE).await);
            assert_eq!((kind(&answer), &answer["id"]), ("not_connected", &json!(ID)), "{action}");
        }
    }
    assert!(members.world().subscriptions.calls().is_empty() && members.world().table.calls().is_empty());
    // A token does not make a connection of one that is not there.
    members.world().table.delete(ALICE);
    for action in ["subscribe", "hello"] {
        let event = with_grant(OWN, Some(json!(["*"])), LATER, &asked(action, &names(0..1)));
        assert_eq!(kind(&frame(&guarded.invoke(event, AMPLE).await)), "not_connected", "{action}");
    }
    assert_eq!((members.world().table.row(ALICE), members.subscriptions()[1].len()), (None, 0));
    log(&guarded.finish());
    members.log();
}

#[tokio::test]
async fn a_history_is_read_by_its_own_session_and_by_subscribers_and_by_no_others() {
    let members = Members::with_history().await;
    let reader = Function::start("history", members.world()).await;
    let client = history::client(members.world());
    history::append(&client, "room-000").await;
    let read = async |session: &str, token: bool| {
        let text = json!({ "action": "history", "session": session, "last": 9, "id": ID }).to_string();
        let event =
            if token { with_grant(OWN, Some(json!(["*"])), LATER, &text) } else { over_socket(ALICE, &text) };
        let answer = frame(&reader.invoke(event, AMPLE).await);
        (kind(&answer).to_owned(), answer["messages"].as_array().map_or(0, Vec::len))
    };
    let refused = ("forbidden".to_owned(), 0);
    for token in [false, true] {
        assert_eq!(read(OWN, token).await, ("history".to_owned(), 0));
        assert_eq!(
            read("room-000", token).await,
            refused,
            "what it may subscribe to it need not be subscribed to"
        );
        members.subscribe(&names(0..2)).await;
        assert_eq!(read("room-000", token).await, ("history".to_owned(), 1));
        assert_eq!(read("room-001", token).await, ("history".to_owned(), 0));
        assert_eq!(read("room-002", token).await, refused);
        assert_eq!(kind(&members.ask("unsubscribe", &names(0..2)).await), "unsubscribed");
        assert_eq!(read("room-000", token).await, refused);
    }
    members.subscribe(&names(0..1)).await;
    let row = members.world().table.row(ALICE).expect("a row");
    members.world().table.put(ALICE, Row { expires_at: Some(now_ms() / 1000 - 1), ..row });
    assert_eq!(read("room-000", false).await.0, "not_connected");
    log(&reader.finish());
    members.log();
}

#[tokio::test]
async fn each_answer_is_one_line_with_its_counts_and_nothing_of_the_sessions_contents() {
    let members = Members::start().await;
    members.subscribe(&names(0..5)).await;
    members.ask("unsubscribe", &names(0..2)).await;
    hello(&members, json!({})).await;
    let log = members.log();
    for (message, route, sessions, metric, count) in [
        ("subscribed", "subscribe", 5, "Subscribed", 5.0),
        ("unsubscribed", "unsubscribe", 2, "Unsubscribed", 2.0),
        ("hello", "hello", 3, "Hellos", 1.0),
    ] {
        assert_eq!(counted(&log, metric), count, "{metric}: {log:#?}");
        let line = line(&log, message);
        assert_eq!((&line["level"], &line["route"]), (&json!("INFO"), &json!(route)));
        assert_eq!(line["sessions"], sessions);
        assert_eq!(line["connection_id"], ALICE);
        assert!(line["duration_ms"].is_number(), "{line}");
    }
    assert_eq!(log.len(), 7, "a start, and a line and its metrics for each: {log:#?}");
}

#[tokio::test]
async fn a_failing_read_of_hello_is_internal_and_a_hanging_one_too_in_time() {
    let members = Members::with_history().await;
    members.world().table.script(|_, _| THROTTLE);
    assert_eq!(kind(&hello(&members, json!({})).await), "internal");
    repair(members.world());
    members.world().messages.script(|_, _| Answer::Hang);
    let budget = Duration::from_secs(4);
    let outcome = members.membership.invoke(over_socket(ALICE, &asked("hello", &[])), budget).await;
    assert_eq!((kind(&frame(&outcome)), outcome.took < budget), ("internal", true));
    repair(members.world());
    assert_eq!(kind(&hello(&members, json!({})).await), "hello");
    let log = members.log();
    assert_eq!(counted(&log, "HandlerErrors"), 2.0);
}

#[tokio::test]
async fn a_function_whose_table_or_other_setting_is_missing_or_malformed_does_not_start() {
    let world = World::start().await.with_subscriptions();
    for (variable, value) in [
        ("SUBSCRIPTIONS_TABLE", None),
        ("SUBSCRIPTIONS_TABLE", Some("a table")),
        ("TABLE_NAME", Some("")),
        ("REQUIRE_GRANT", Some("perhaps")),
    ] {
        stops("membership", &world, variable, value).await;
    }
    for function in ["send-message", "publish", "disconnect"] {
        stops(function, &world, "SUBSCRIPTIONS_TABLE", Some("a table")).await;
    }
}

#[tokio::test]
async fn repeating_a_subscription_is_harmless() {
    let members = Members::with_history().await;
    let first = members.subscribe(&names(0..3)).await;
    let before = members.subscriptions();
    for _ in 0..3 {
        let again = members.subscribe(&names(0..3)).await;
        assert_eq!((&again["sessions"], members.subscriptions()), (&first["sessions"], before.clone()));
    }
    assert_eq!(calls(&members.world().subscriptions, puts), 4, "the rows are written each time");
    let own = members.subscribe(&[OWN.to_owned()]).await;
    assert_eq!((&own["sessions"][0]["session"], &own["sessions"][0]["offset"]), (&json!(OWN), &json!(0)));
    assert_eq!(members.subscriptions(), before, "its own session is no subscription");
    members.log();
}
