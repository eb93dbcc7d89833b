//! What a client missed, asked for over its socket.

use serde_json::{Value, json};

use crate::{
    client::Client,
    events::event,
    frames::{assert_error, take_position},
    stack::{Answer, Stack, unique},
};

/// Asks about a session with these keys.
async fn ask(client: &mut Client, session: &str, keys: Value) -> Value {
    let mut question = json!({"action": "history", "session": session, "id": "q"});
    question.as_object_mut().expect("an object").extend(keys.as_object().expect("an object").clone());
    let answer = client.ask(question).await;
    assert_eq!(answer["id"], "q", "{answer}");
    answer
}

/// Sends the numbers from one to another and returns what the receipts say of their positions.
async fn send(
    sender: &mut Client,
    session: &str,
    numbers: std::ops::RangeInclusive<u64>,
) -> Vec<(String, u64)> {
    let mut positions = Vec::new();
    for number in numbers {
        let mut receipt = sender.publish(&[session], json!(number)).await;
        positions.push(take_position(&mut receipt["sessions"][0]));
    }
    positions
}

/// What an answer says, without the frames.
fn summary(answer: &Value) -> Value {
    let messages = answer["messages"].as_array().unwrap_or_else(|| panic!("no messages in {answer}"));
    let numbers: Vec<_> = messages.iter().map(|frame| frame["message"].clone()).collect();
    json!([numbers, answer["offset"], answer["more"], answer.get("complete")])
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_what_it_missed_in_order_and_the_proof_that_this_is_all() {
    let mut alice = Client::new("alice").await;
    let bob = unique("bob");
    let mut first = Client::in_session(&bob).await;
    let mut positions = send(&mut alice, &bob, 1..=4).await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(take_position(&mut first.receive().await));
    }
    first.leave().await;
    positions.extend(send(&mut alice, &bob, 5..=10).await);
    let epoch = positions[0].0.clone();
    assert_eq!(positions, (1..=10).map(|offset| (epoch.clone(), offset)).collect::<Vec<_>>());
    assert_eq!(heard, positions[..4], "deliveries and receipts should agree");

    let mut second = Client::in_session(&bob).await;
    let missed = ask(&mut second, &bob, json!({"epoch": epoch, "after": 4})).await;
    assert_eq!(summary(&missed), json!([[5, 6, 7, 8, 9, 10], 10, false, true]));
    for (frame, offset) in missed["messages"].as_array().expect("messages").iter().zip(5_u64..) {
        let keys = [&frame["type"], &frame["from"], &frame["session"], &frame["epoch"], &frame["offset"]];
        assert_eq!(json!(keys), json!(["message", alice.session, bob, epoch, offset]));
    }
    assert_eq!(
        (&missed["type"], &missed["session"], &missed["epoch"]),
        (&json!("history"), &json!(bob), &json!(epoch))
    );

    for (keys, expected) in [
        (json!({"epoch": epoch, "after": 4, "limit": 2}), json!([[5, 6], 10, true, true])),
        (json!({"epoch": epoch, "after": 8, "limit": 2}), json!([[9, 10], 10, false, true])),
        (json!({"epoch": epoch, "after": 10}), json!([[], 10, false, true])),
        (json!({"epoch": epoch, "after": 11, "limit": 1}), json!([[1], 10, true, false])),
        (
            json!({"epoch": "another0", "after": 9}),
            json!([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10, false, false]),
        ),
        (json!({"last": 3}), json!([[8, 9, 10], 10, false, null])),
        (json!({"last": 100}), json!([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10, false, null])),
        (json!({}), json!([[], 10, false, null])),
    ] {
        assert_eq!(summary(&ask(&mut second, &bob, keys.clone()).await), expected, "{keys}");
    }
}

#[tokio::test]
async fn a_gap_is_reported_and_a_history_that_begins_anew_has_another_epoch() {
    let (stack, mut alice) = (Stack::new().await, Client::new("alice").await);
    let mut bob = Client::new("bob").await;
    let session = bob.session.clone();
    let epoch = send(&mut alice, &session, 1..=3).await[0].0.clone();
    for _ in 0..3 {
        bob.receive().await;
    }
    // A message that has gone looks like a sender that died: the first number has nothing before it to prove that by.
    stack.forget(&session, 1).await;
    let after = |offset: u64| json!({"epoch": epoch, "after": offset});
    assert_eq!(summary(&ask(&mut bob, &session, after(0)).await), json!([[2, 3], 3, false, false]));
    assert_eq!(summary(&ask(&mut bob, &session, after(1)).await), json!([[2, 3], 3, false, true]));

    stack.forget(&session, 0).await;
    let begun = ask(&mut bob, &session, json!({})).await;
    assert_eq!(summary(&begun), json!([[], 0, false, null]));
    assert_ne!(begun["epoch"], json!(epoch));
    assert_eq!(summary(&ask(&mut bob, &session, after(3)).await), json!([[], 0, false, false]));
    // It takes the place of what the old epoch has left.
    let position = send(&mut alice, &session, 4..=4).await.remove(0);
    assert_eq!(json!(position), json!([begun["epoch"], 1]));
    assert_eq!(bob.receive().await["offset"], 1);
    let anew = ask(&mut bob, &session, json!({"epoch": begun["epoch"], "after": 0})).await;
    assert_eq!(summary(&anew), json!([[4], 1, false, true]));
}

#[tokio::test]
async fn a_message_that_is_not_to_be_stored_is_delivered_without_a_position() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let session = bob.session.clone();
    let typing =
        json!({"action": "sendMessage", "sessions": [session], "message": "…", "id": "t", "store": false});
    let receipt = alice.ask(typing.clone()).await;
    assert_eq!(receipt["sessions"], json!([{"session": session, "delivered": 1, "gone": 0, "failed": 0}]));
    let delivery = bob.receive().await;
    assert_eq!(
        (&delivery["session"], delivery.get("epoch"), delivery.get("offset")),
        (&json!(session), None, None)
    );
    assert_eq!(summary(&ask(&mut bob, &session, json!({"last": 10})).await), json!([[], 0, false, null]));
    for wrong in [json!(null), json!("false"), json!(0)] {
        let mut frame = typing.clone();
        frame["store"] = wrong;
        assert!(assert_error(&alice.ask(frame).await, "bad_request").contains("`store`"));
    }

    let stack = Stack::new().await;
    let publish = stack.name_of("publish").await;
    let Answer { payload, .. } =
        stack.invoke(&publish, &json!({"sessions": [session], "message": 1, "id": "p"})).await;
    assert_eq!(payload["sessions"][0]["offset"], 1, "{payload}");
    let Answer { payload, .. } = stack
        .invoke(&publish, &json!({"sessions": [session], "message": 2, "id": "q", "store": false}))
        .await;
    assert_eq!(payload["sessions"][0].get("offset"), None, "{payload}");
    assert_eq!((&bob.receive().await["offset"], bob.receive().await.get("offset")), (&json!(1), None));
}

#[tokio::test]
async fn the_history_of_another_session_is_forbidden_and_a_malformed_question_a_bad_request() {
    let (mut alice, bob) = (Client::new("alice").await, Client::new("bob").await);
    assert_error(&ask(&mut alice, &bob.session, json!({"last": 1})).await, "forbidden");
    let own = alice.session.clone();
    for (keys, part) in [
        (json!({"after": 1}), "`epoch`"),
        (json!({"epoch": "k3f9q2xa", "after": 1, "last": 1}), "`last`"),
        (json!({"epoch": "k3f9q2xa", "after": -1}), "`after`"),
        (json!({"last": 101}), "`last`"),
        (json!({"limit": 0}), "`limit`"),
        (json!({"session": "a b"}), "`session`"),
    ] {
        let answer = ask(&mut alice, &own, keys.clone()).await;
        assert!(assert_error(&answer, "bad_request").contains(part), "{keys}: {answer}");
    }
    let stack = Stack::new().await;
    stack.delete_row(&stack.connection_id_of(&alice).await).await;
    assert_error(&ask(&mut alice, &own, json!({})).await, "not_connected");
}

#[tokio::test]
async fn under_another_role_it_can_read_nothing_and_says_so_to_the_client_and_in_the_log() {
    let stack = Stack::new().await;
    let alice = Client::new("alice").await;
    let mut question = event("history");
    question["requestContext"]["connectionId"] = json!(stack.connection_id_of(&alice).await);
    question["body"] = json!(json!({"action": "history", "session": alice.session, "id": "q"}).to_string());
    for role in ["send-message", "disconnect"] {
        stack
            .with_copy("history", role, &[], async |copy| {
                let Answer { payload, function_error } = stack.invoke(copy, &question).await;
                assert_eq!(function_error, None, "{payload}");
                let body = payload["body"].as_str().expect("a frame");
                let frame: Value = serde_json::from_str(body).expect("JSON");
                assert_error(&frame, "internal");
                assert_eq!(frame["id"], "q");
                stack.wait_for_log_lines(copy, "AccessDenied", 1).await;
            })
            .await;
    }
}
