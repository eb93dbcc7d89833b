//! What a token allows a connection to subscribe to, and which histories it may read.

use harness::{Function, Row, granted, over_socket};
use serde_json::{Value, json};

use super::{ALICE, ID, Members, OWN, asked, kind, names, set};
use crate::{
    history,
    support::{AMPLE, frame, log, now_ms},
};

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
