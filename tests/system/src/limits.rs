//! The largest that the hub takes, and one more.

use serde_json::{Value, json};

use crate::{client::Client, frames::assert_error, stack::unique};

/// Of the whole delivery frame, unless the environment sets another.
const MAX_MESSAGE_BYTES: usize = 32_768;
/// As many as the offset of a frame is taken to have, so that a session's first message may be as large as all others.
const OFFSET_DIGITS: usize = 16;

#[tokio::test]
async fn a_delivery_of_32_kib_arrives_and_one_byte_more_is_too_large() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let to_bob = bob.session.clone();
    let frame = |message: &str| json!({"action": "sendMessage", "sessions": [to_bob], "message": message, "id": "one"});

    assert_eq!(alice.ask(frame("")).await["delivered"], 1);
    let first = bob.receive_text().await;
    let offset = |frame: &str| {
        let frame: Value = serde_json::from_str(frame).expect("a frame is JSON");
        frame["offset"].to_string()
    };
    let room = MAX_MESSAGE_BYTES - OFFSET_DIGITS - (first.len() - offset(&first).len());
    // Bytes count, not characters: half as many letters of two bytes fit.
    for (letter, fitting) in [("x", room), ("é", room / 2)] {
        for count in [fitting - 1, fitting] {
            assert_eq!(
                alice.ask(frame(&letter.repeat(count))).await["delivered"],
                1,
                "{count} times {letter}"
            );
            assert_eq!(
                bob.receive().await["message"].as_str().map(|message| message.chars().count()),
                Some(count)
            );
        }
        for count in [fitting + 1, 4 * fitting] {
            let answer = alice.ask(frame(&letter.repeat(count))).await;
            assert_error(&answer, "message_too_large");
            assert_eq!(answer["id"], "one");
        }
    }
    bob.assert_heard_nothing().await;
}

#[tokio::test]
async fn a_message_goes_to_100_different_sessions_and_not_to_101() {
    let mut alice = Client::new("alice").await;
    let mut bob = Client::new("bob").await;
    let prefix = unique("room");
    let mut names: Vec<String> = (1..=100).map(|number| format!("{prefix}-{number}")).collect();
    names.insert(99, bob.session.clone());
    let mut sessions: Vec<&str> = names[..100].iter().map(String::as_str).collect();

    assert_counts(&alice.publish(&sessions, json!("100")).await, &sessions);
    let repeated: Vec<&str> = sessions.iter().chain(&sessions[..50]).copied().collect();
    assert_counts(&alice.publish(&repeated, json!("150, 100 of them different")).await, &sessions);
    for message in ["100", "150, 100 of them different"] {
        assert_eq!(bob.receive().await["message"], message);
    }

    sessions.push(&names[100]);
    assert_error(&alice.publish(&sessions, json!("101")).await, "too_many_sessions");
    bob.assert_heard_nothing().await;
}

fn assert_counts(receipt: &Value, sessions: &[&str]) {
    assert_eq!(receipt["delivered"], 1, "{receipt}");
    let listed = receipt["sessions"].as_array().expect("a receipt lists its sessions");
    assert!(listed.iter().map(|entry| &entry["session"]).eq(sessions), "{receipt}");
}
