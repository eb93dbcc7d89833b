//! What `hello` answers.

use std::time::Duration;

use harness::{Answer, Operation, Row, over_socket};
use serde_json::{Value, json};

use super::{ALICE, ID, Members, OWN, THROTTLE, asked, kind, lay, names, repair};
use crate::{
    history,
    support::{AMPLE, counted, ending_in, frame, now_ms},
};

pub(super) async fn hello(members: &Members, rest: Value) -> Value {
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
