//! Messages between sessions, and the receipts for them.

use serde_json::{Value, json};

use crate::{
    client::Client,
    frames::{assert_delivery, assert_error, assert_receipt},
    stack::{Stack, unique},
};

#[tokio::test]
async fn two_sessions_exchange_messages_and_each_sender_gets_a_receipt() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    exchange(&mut alice, &mut bob).await;
    exchange(&mut bob, &mut alice).await;
}

async fn exchange(from: &mut Client, to: &mut Client) {
    let (id, message) = (json!(unique("id")), json!({"text": "Hello", "to": to.session}));
    let answer = from
        .ask(json!({"action": "sendMessage", "sessions": [to.session], "message": message, "id": id}))
        .await;
    assert_receipt(&answer, &id, &[(&to.session, [1, 0, 0])]);
    assert_delivery(to.receive().await, &to.session, &id, &json!(from.session), &message);
}

#[tokio::test]
async fn every_connection_of_a_session_receives_a_message_once() {
    let mut alice = Client::new("alice").await;
    let session = unique("bob");
    let mut bobs = Vec::new();
    for _ in 0..3 {
        bobs.push(Client::in_session(&session).await);
    }

    let answer = alice.publish(&[&session], json!("to all of bob")).await;
    assert_receipt(&answer, &answer["id"], &[(&session, [3, 0, 0])]);
    for bob in &mut bobs {
        assert_delivery(
            bob.receive().await,
            &bob.session,
            &answer["id"],
            &json!(alice.session),
            &json!("to all of bob"),
        );
    }
    // A second copy of the message would come before this one.
    let second = alice.publish(&[&session], json!("again")).await;
    for bob in &mut bobs {
        assert_eq!(bob.receive().await["id"], second["id"]);
    }
}

#[tokio::test]
async fn a_sender_in_an_addressed_session_receives_its_own_message() {
    let mut alice = Client::new("alice").await;
    let mut other_tab = Client::in_session(&alice.session).await;
    let session = alice.session.clone();

    let first = alice.publish(&[&session], json!("to myself")).await;
    let second = alice.receive().await;
    let (delivery, answer) = if first["type"] == "message" { (first, second) } else { (second, first) };
    assert_receipt(&answer, &answer["id"], &[(&session, [2, 0, 0])]);
    assert_delivery(delivery, &session, &answer["id"], &json!(session), &json!("to myself"));
    assert_eq!(other_tab.receive().await["message"], "to myself");
}

#[tokio::test]
async fn a_receipt_lists_each_session_once_in_the_order_of_the_request_even_an_empty_one() {
    let mut alice = Client::new("alice").await;
    let (bob, zoe) = (Client::new("bob").await, Client::new("zoe").await);
    let nobody = unique("nobody");

    let sessions = [&*zoe.session, &nobody, &bob.session, &zoe.session, &nobody];
    let answer = alice.publish(&sessions, json!("hello")).await;
    let expected = [(&*zoe.session, [1, 0, 0]), (&nobody, [0, 0, 0]), (&bob.session, [1, 0, 0])];
    assert_receipt(&answer, &answer["id"], &expected);

    for mut recipient in [zoe, bob] {
        assert_eq!(recipient.receive().await["message"], "hello");
        recipient.assert_heard_nothing().await;
    }
}

#[tokio::test]
async fn a_sender_that_wants_no_receipt_is_answered_only_with_errors() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let (to, nobody) = (bob.session.clone(), unique("nobody"));
    let frame = |session: &str, receipt: Value, id: &str| json!({"action": "sendMessage", "sessions": [session], "message": "hello", "id": id, "receipt": receipt});
    alice.send(frame(&nobody, json!(false), "to nobody")).await;
    alice.send(frame(&to, json!(false), "without")).await;
    assert_delivery(
        bob.receive().await,
        &bob.session,
        &json!("without"),
        &json!(alice.session),
        &json!("hello"),
    );
    let mut without_id = frame(&to, json!(false), "");
    without_id.as_object_mut().expect("an object").remove("id");
    alice.send(without_id).await;
    assert_eq!(bob.receive().await["message"], "hello");

    // Each answer is the first frame since the last one: what was sent before has none.
    let answer = alice.ask(frame(&to, json!(true), "with")).await;
    assert_receipt(&answer, &json!("with"), &[(&to, [1, 0, 0])]);
    assert_eq!(bob.receive().await["id"], "with");
    for wrong in [json!(null), json!("false"), json!(0)] {
        let answer = alice.ask(frame(&to, wrong, "wrong")).await;
        assert!(assert_error(&answer, "bad_request").contains("true or false"), "{answer}");
        assert_eq!(answer["id"], "wrong");
    }
    let answer = alice.ask(frame("white space", json!(false), "malformed")).await;
    assert_error(&answer, "bad_request");
    assert_eq!(answer["id"], "malformed");
    let stack = Stack::new().await;
    stack.delete_row(&stack.connection_id_of(&alice).await).await;
    let answer = alice.ask(frame(&to, json!(false), "too late")).await;
    assert_error(&answer, "not_connected");
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn an_id_is_the_senders_own_or_made_up_and_never_the_same_twice() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    for id in ["1".to_owned(), "x".repeat(128), "é".repeat(128), " \"quoted\" \\ 👋 ".to_owned()] {
        let frame = json!({"action": "sendMessage", "sessions": [bob.session], "message": null, "id": id});
        assert_eq!(alice.ask(frame).await["id"], id);
        assert_eq!(bob.receive().await["id"], id);
    }

    let mut made_up = Vec::new();
    for _ in 0..5 {
        let id = alice.publish(&[&bob.session], Value::Null).await["id"].clone();
        assert_eq!(bob.receive().await["id"], id);
        assert!(id.as_str().is_some_and(|id| !id.is_empty()), "{id}");
        assert!(!made_up.contains(&id), "{id} is not new: {made_up:?}");
        made_up.push(id);
    }
}

#[tokio::test]
async fn a_session_that_is_not_addressed_hears_nothing() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let eve = Client::new("eve").await;
    // A name that is longer, shorter or in capitals is another session.
    let longer = Client::in_session(&format!("{}-2", bob.session)).await;
    let shorter = Client::in_session(&bob.session[..bob.session.len() - 1]).await;
    let capital = Client::in_session(&bob.session.to_uppercase()).await;

    alice.publish(&[&bob.session], json!("for bob only")).await;
    assert_eq!(bob.receive().await["message"], "for bob only");
    for silent in [eve, longer, shorter, capital, alice, bob] {
        silent.assert_heard_nothing().await;
    }
}

#[tokio::test]
async fn the_sender_cannot_forge_who_a_message_is_from() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    alice
        .ask(json!({
            "action": "sendMessage", "sessions": [bob.session], "message": "hello",
            "from": "mallory", "session_id": "mallory", "sent_at": "1970-01-01T00:00:00.000Z", "type": "pong",
        }))
        .await;
    let frame = bob.receive().await;
    assert_delivery(frame.clone(), &bob.session, &frame["id"], &json!(alice.session), &json!("hello"));
}

#[tokio::test]
async fn a_ping_is_answered_with_a_pong() {
    let mut alice = Client::new("alice").await;
    assert_eq!(alice.ask(json!({"action": "ping"})).await, json!({"type": "pong"}));
}
