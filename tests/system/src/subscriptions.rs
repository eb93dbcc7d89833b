//! A connection that hears more sessions than its own.

mod ending;
mod races;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    client::Client,
    events::event,
    frames::{assert_delivery, assert_error, assert_receipt, take_position},
    stack::{Row, Stack, now_ms, number, unique},
};

async fn subscribe(client: &mut Client, sessions: &[impl AsRef<str>]) -> Value {
    ask(client, "subscribe", sessions).await
}

async fn unsubscribe(client: &mut Client, sessions: &[impl AsRef<str>]) -> Value {
    ask(client, "unsubscribe", sessions).await
}

async fn ask(client: &mut Client, action: &str, sessions: &[impl AsRef<str>]) -> Value {
    let names: Vec<&str> = sessions.iter().map(AsRef::as_ref).collect();
    let answer = client.ask(json!({"action": action, "sessions": names, "id": "s"})).await;
    assert_eq!(answer["id"], "s", "{answer}");
    answer
}

/// Subscribes, and says where each session stands.
async fn subscribed(client: &mut Client, sessions: &[&str]) -> Vec<(String, u64)> {
    let answer = subscribe(client, sessions).await;
    let entries = answer["sessions"].as_array().unwrap_or_else(|| panic!("no sessions in {answer}"));
    assert!(entries.iter().map(|entry| &entry["session"]).eq(sessions), "{answer}");
    let shape = json!({"type": "subscribed", "id": "s", "sessions": answer["sessions"]});
    assert_eq!(answer, shape);
    entries.iter().map(position).collect()
}

/// Where a session stands by an entry that has these three keys.
fn position(entry: &Value) -> (String, u64) {
    let (epoch, offset) = (&entry["epoch"], &entry["offset"]);
    assert_eq!(entry, &json!({"session": entry["session"], "epoch": epoch, "offset": offset}));
    let epoch = epoch.as_str().filter(|epoch| epoch.len() == 8).unwrap_or_else(|| panic!("{entry}"));
    (epoch.to_owned(), offset.as_u64().unwrap_or_else(|| panic!("{entry}")))
}

/// The sessions that the hub says a connection is subscribed to.
async fn told(client: &mut Client) -> BTreeSet<String> {
    let hello = client.ask(json!({"action": "hello", "id": "h"})).await;
    let names = hello["subscriptions"].as_array().unwrap_or_else(|| panic!("{hello}"));
    names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Those of the connection's own row, and those that have a row.
async fn stored(stack: &Stack, connection_id: &str) -> [BTreeSet<String>; 2] {
    let own = stack.row(connection_id).await;
    let set = own.as_ref().and_then(|row| row.get("subscriptions")?.as_ss().ok());
    let rows = stack.subscriptions_of(connection_id).await;
    for row in &rows {
        // What a fan-out asks of a connection is copied.
        let own = own.as_ref().unwrap_or_else(|| panic!("{row:?} is left"));
        for time in ["connected_at", "expires_at"] {
            assert_eq!(row.get(time), own.get(time), "{time}");
        }
    }
    let session = |row: &Row| row["session_id"].as_s().expect("a name").clone();
    [set.into_iter().flatten().cloned().collect(), rows.iter().map(session).collect()]
}

fn names(count: usize) -> Vec<String> {
    let prefix = unique("room");
    (1..=count).map(|number| format!("{prefix}-{number}")).collect()
}

#[tokio::test]
async fn a_subscriber_hears_each_session_until_it_unsubscribes() {
    let stack = Stack::new().await;
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let (one, two) = (unique("one"), unique("two"));
    let mut before = alice.publish(&[&one], json!("before")).await;
    let earlier = take_position(&mut before["sessions"][0]);

    let positions = subscribed(&mut bob, &[&one, &two]).await;
    assert_eq!(positions[0], earlier);
    assert_eq!(positions[1].1, 0);
    // Its own session is one of three by which the connection is addressed.
    let own = bob.session.clone();
    let mut receipt = alice.publish(&[&one, &two, &own], json!("hello")).await;
    assert_receipt(&receipt, &receipt["id"], &[(&one, [1, 0, 0]), (&two, [1, 0, 0]), (&own, [1, 0, 0])]);
    let mut heard = Vec::new();
    for _ in 0..3 {
        let frame = bob.receive().await;
        let session = frame["session"].as_str().expect("a name").to_owned();
        assert_delivery(frame.clone(), &session, &receipt["id"], &json!(alice.session), &json!("hello"));
        heard.push((session, take_position(&mut frame.clone())));
    }
    for (index, session) in [&one, &two, &own].into_iter().enumerate() {
        let place = take_position(&mut receipt["sessions"][index]);
        assert!(heard.contains(&(session.clone(), place.clone())), "{session} {place:?} {heard:?}");
        if let Some((epoch, offset)) = positions.get(index) {
            assert_eq!(place, (epoch.clone(), offset + 1), "the first number after the subscription");
        }
    }

    let answer = unsubscribe(&mut bob, &[&one]).await;
    assert_eq!(answer, json!({"type": "unsubscribed", "id": "s", "sessions": [one]}));
    let receipt = alice.publish(&[&one, &two], json!("two alone")).await;
    assert_receipt(&receipt, &receipt["id"], &[(&one, [0, 0, 0]), (&two, [1, 0, 0])]);
    assert_eq!(bob.receive().await["session"], two);
    assert_eq!(unsubscribe(&mut bob, &[&two, &one]).await["sessions"], json!([two, one]));
    let receipt = alice.publish(&[&one, &two], json!("nobody")).await;
    assert_receipt(&receipt, &receipt["id"], &[(&one, [0, 0, 0]), (&two, [0, 0, 0])]);
    let id = stack.connection_id_of(&bob).await;
    assert_eq!(stored(&stack, &id).await, [BTreeSet::new(), BTreeSet::new()]);
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn a_message_to_a_subscribed_session_is_from_the_senders_own() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let room = unique("room");
    subscribed(&mut alice, &[&room]).await;
    subscribed(&mut bob, &[&room]).await;
    bob.send(json!({"action": "sendMessage", "sessions": [room], "message": 1, "id": "m"})).await;
    let from = json!(bob.session);
    for client in [&mut alice, &mut bob] {
        assert_delivery(client.receive().await, &room, &json!("m"), &from, &json!(1));
    }
    assert_receipt(&bob.receive().await, &json!("m"), &[(&room, [2, 0, 0])]);
}

#[tokio::test]
async fn the_own_session_is_answered_and_no_subscription() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let (own, room) = (alice.session.clone(), unique("room"));
    let mut receipt = Client::new("bob").await.publish(&[&own], json!(1)).await;
    let stands = take_position(&mut receipt["sessions"][0]);
    assert_eq!(alice.receive().await["message"], 1);

    assert_eq!(subscribed(&mut alice, &[&own]).await[0], stands);
    // Named twice, it is answered once.
    let answer = subscribe(&mut alice, &[&room, &own, &room]).await;
    let epoch = answer["sessions"][0]["epoch"].clone();
    let expected = [
        json!({"session": room, "epoch": epoch, "offset": 0}),
        json!({"session": own, "epoch": stands.0, "offset": stands.1}),
    ];
    assert_eq!(answer["sessions"], json!(expected));
    let id = stack.connection_id_of(&alice).await;
    let only = BTreeSet::from([room.clone()]);
    assert_eq!(stored(&stack, &id).await, [only.clone(), only]);
    // 100 besides it.
    let mut others = names(99);
    others.push(own.clone());
    assert_eq!(subscribe(&mut alice, &others).await["type"], "subscribed");
    assert_eq!(told(&mut alice).await.len(), 100);
    assert_eq!(unsubscribe(&mut alice, &[&own]).await["type"], "unsubscribed");
    let receipt = Client::new("carol").await.publish(&[&own], json!(2)).await;
    assert_receipt(&receipt, &receipt["id"], &[(&own, [1, 0, 0])]);
}

#[tokio::test]
async fn hello_says_what_the_hub_knows_of_the_connection() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let row = stack.row_of(&alice).await;
    let expires_at: u128 = row["expires_at"].as_n().expect("a time").parse().expect("a time");
    let own = alice.session.clone();
    let mut rooms = names(2);
    rooms.sort_unstable();
    let positions = subscribed(&mut alice, &[&rooms[1], &rooms[0]]).await;
    let mut receipt = Client::new("bob").await.publish(&[&own], json!(1)).await;
    let stands = take_position(&mut receipt["sessions"][0]);
    alice.receive().await;

    let earliest = now_ms() / 1000;
    let mut hello = alice.ask(json!({"action": "hello", "id": "h"})).await;
    let expires_in = hello["expires_in"].as_u64().unwrap_or_else(|| panic!("{hello}"));
    let possible = (expires_at - now_ms() / 1000)..=(expires_at - earliest);
    assert!(possible.contains(&u128::from(expires_in)), "{expires_in} is not {possible:?}");
    for list in ["subscriptions", "positions"] {
        hello[list].as_array_mut().expect("a list").sort_by_key(|entry| entry["session"].to_string());
    }
    let position = |session: &str, (epoch, offset): &(String, u64)| json!({"session": session, "epoch": epoch, "offset": offset});
    let expected = json!({
        "type": "hello", "id": "h", "session": own, "expires_at": u64::try_from(expires_at).expect("a time"),
        "expires_in": expires_in, "subscriptions": rooms,
        "positions": [position(&own, &stands), position(&rooms[0], &positions[1]), position(&rooms[1], &positions[0])],
    });
    assert_eq!(hello, expected);
    assert!(alice.ask(json!({"action": "hello"})).await["id"].as_str().is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn a_malformed_frame_is_refused_with_its_id_and_changes_nothing() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    for action in ["subscribe", "unsubscribe"] {
        for sessions in [
            Value::Null,
            json!([]),
            json!({}),
            json!("room"),
            json!(["room", 7]),
            json!(["room", null]),
            json!(["room", ""]),
            json!(["room", "a b"]),
            json!(["room*"]),
            json!(["x".repeat(129)]),
        ] {
            let frame = json!({"action": action, "sessions": sessions, "id": "mine"});
            let answer = alice.ask(frame.clone()).await;
            assert!(assert_error(&answer, "bad_request").contains("`sessions"), "{frame}: {answer}");
            assert_eq!(answer["id"], "mine", "{frame}");
        }
        let answer = alice.ask(json!({"action": action, "id": "mine"})).await;
        assert!(assert_error(&answer, "bad_request").contains("missing"), "{answer}");
    }
    for action in ["subscribe", "unsubscribe", "hello"] {
        for id in [json!(7), json!(""), json!("x".repeat(129))] {
            let answer = alice.ask(json!({"action": action, "sessions": ["room"], "id": id})).await;
            assert!(assert_error(&answer, "bad_request").contains("`id`"), "{answer}");
        }
    }
    assert!(told(&mut alice).await.is_empty());
    let id = stack.connection_id_of(&alice).await;
    assert_eq!(stored(&stack, &id).await, [BTreeSet::new(), BTreeSet::new()]);
}

#[tokio::test]
async fn a_connection_that_has_expired_or_has_no_row_is_not_connected() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let room = unique("room");
    let mut row = stack.row_of(&alice).await;
    let id = stack.connection_id_of(&alice).await;
    row.insert("expires_at".to_owned(), number(now_ms() / 1000 - 1));
    stack.put_row(row).await;
    for is_there in [true, false] {
        if !is_there {
            stack.delete_row(&id).await;
        }
        assert_error(&subscribe(&mut alice, &[&room]).await, "not_connected");
        assert_error(&unsubscribe(&mut alice, &[&room]).await, "not_connected");
        let answer = alice.ask(json!({"action": "hello", "id": "h"})).await;
        assert_error(&answer, "not_connected");
        assert_eq!(answer["id"], "h");
        assert_eq!(stack.row(&id).await.is_some(), is_there, "no frame makes a row");
        assert!(stack.subscriptions_of(&id).await.is_empty());
    }
}

#[tokio::test]
async fn a_connection_has_100_subscriptions_and_what_does_not_fit_changes_nothing() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let id = stack.connection_id_of(&alice).await;
    let rooms = names(101);
    let (last, hundred) = rooms.split_last().expect("101");
    let all: BTreeSet<String> = hundred.iter().cloned().collect();

    assert_error(&subscribe(&mut alice, &rooms).await, "too_many_subscriptions");
    assert!(told(&mut alice).await.is_empty());
    assert_eq!(stored(&stack, &id).await, [BTreeSet::new(), BTreeSet::new()]);

    // Once more is harmless.
    for _ in 0..2 {
        let answer = subscribe(&mut alice, hundred).await;
        let entries = answer["sessions"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert!(entries.iter().map(|entry| &entry["session"]).eq(hundred), "{answer}");
        assert_eq!(stored(&stack, &id).await, [all.clone(), all.clone()]);
    }
    for sessions in [vec![last], vec![&hundred[0], last]] {
        assert_error(&subscribe(&mut alice, &sessions).await, "too_many_subscriptions");
    }
    assert_eq!(told(&mut alice).await, all);
    assert_eq!(stored(&stack, &id).await, [all.clone(), all.clone()]);
    assert_error(&unsubscribe(&mut alice, &rooms).await, "too_many_sessions");
    let hello = alice.ask(json!({"action": "hello"})).await;
    assert_eq!(hello["positions"].as_array().map(Vec::len), Some(101));

    assert_eq!(unsubscribe(&mut alice, &hundred[..1]).await["type"], "unsubscribed");
    assert_eq!(subscribe(&mut alice, &[last]).await["type"], "subscribed");
    let others: BTreeSet<String> = rooms[1..].iter().cloned().collect();
    assert_eq!(told(&mut alice).await, others);
    assert_eq!(stored(&stack, &id).await, [others.clone(), others]);
    assert_eq!(unsubscribe(&mut alice, &rooms[1..]).await["type"], "unsubscribed");
    assert_eq!(stored(&stack, &id).await, [BTreeSet::new(), BTreeSet::new()]);
}

#[tokio::test]
async fn the_history_of_a_session_is_open_to_its_subscribers_alone() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let (room, other) = (unique("room"), unique("other"));
    alice.publish(&[&room, &other], json!("before")).await;
    let question = |session: &str| json!({"action": "history", "session": session, "last": 10, "id": "q"});
    assert_error(&bob.ask(question(&room)).await, "forbidden");

    subscribed(&mut bob, &[&room]).await;
    let answer = bob.ask(question(&room)).await;
    assert_eq!((&answer["type"], &answer["messages"][0]["message"]), (&json!("history"), &json!("before")));
    assert_error(&bob.ask(question(&other)).await, "forbidden");

    unsubscribe(&mut bob, &[&room]).await;
    assert_error(&bob.ask(question(&room)).await, "forbidden");
}

#[tokio::test]
async fn under_another_role_it_can_subscribe_to_nothing_and_says_so_to_the_client_and_in_the_log() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let id = stack.connection_id_of(&alice).await;
    let mut question = event("subscribe");
    question["requestContext"]["connectionId"] = json!(id);
    // The last one may read the connection's row.
    for role in ["connect", "disconnect", "history"] {
        stack
            .with_copy("membership", role, &[], async |copy| {
                let answer = stack.invoke(copy, &question).await;
                assert_eq!(answer.function_error, None, "{}", answer.payload);
                let frame =
                    serde_json::from_str(answer.payload["body"].as_str().expect("a frame")).expect("JSON");
                assert_error(&frame, "internal");
                assert_eq!(frame["id"], "s-1");
                stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            })
            .await;
    }
    assert_eq!(stored(&stack, &id).await, [BTreeSet::new(), BTreeSet::new()]);
}
