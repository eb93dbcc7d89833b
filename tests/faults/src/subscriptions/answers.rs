//! Frames that are malformed, repeated or without an id, and the log's lines about all of them; and settings that are
//! missing or malformed.

use harness::{World, over_socket};
use serde_json::json;

use super::{ALICE, ID, Members, OWN, calls, hello::hello, kind, names, puts};
use crate::{
    startup::stops,
    support::{AMPLE, counted, frame, line},
};

/// The actions whose frames name sessions.
const ACTIONS: [&str; 2] = ["subscribe", "unsubscribe"];

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
