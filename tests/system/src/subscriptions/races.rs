//! Frames, messages and disconnects that meet a subscription under way.

use std::{collections::BTreeSet, time::Duration};

use futures::future::{join, join_all};
use serde_json::json;
use tokio::sync::Notify;

use super::{names, position, stored, subscribed, told, unsubscribe};
use crate::{
    client::{Client, encoded},
    events::event,
    frames::{assert_error, assert_receipt},
    stack::{Stack, unique},
};

/// A client whose frames are handled in an order that the emulator knows, all at once where it is none.
async fn in_order(order: &str) -> Client {
    let session = unique("racer");
    Client::through(&session, &format!("?session_id={}&emulator_order={order}", encoded(&session))).await
}

#[tokio::test]
async fn frames_that_race_never_make_more_than_100_and_the_answers_are_true() {
    let stack = Stack::new().await;
    for order in ["", "sent", "reversed"] {
        let mut alice = in_order(order).await;
        let id = stack.connection_id_of(&alice).await;
        let frames: Vec<Vec<String>> = (0..20).map(|_| names(10)).collect();
        for (number, sessions) in frames.iter().enumerate() {
            alice.send(json!({"action": "subscribe", "sessions": sessions, "id": number.to_string()})).await;
        }
        let mut taken = BTreeSet::new();
        for _ in &frames {
            let answer = alice.receive().await;
            let sessions = &frames[answer["id"].as_str().expect("an id").parse::<usize>().expect("a number")];
            if answer["type"] == "subscribed" {
                taken.extend(sessions.iter().cloned());
            } else {
                assert_error(&answer, "too_many_subscriptions");
            }
        }
        // Each frame fits as long as there is room at all.
        assert_eq!(taken.len(), 100, "{order}");
        assert_eq!(told(&mut alice).await, taken);
        assert_eq!(stored(&stack, &id).await, [taken.clone(), taken]);
    }
}

#[tokio::test]
async fn frames_that_race_for_the_same_names_all_fit() {
    let stack = Stack::new().await;
    let mut alice = Client::new("alice").await;
    let id = stack.connection_id_of(&alice).await;
    let rooms = names(30);
    for number in 0..10 {
        alice.send(json!({"action": "subscribe", "sessions": rooms, "id": number.to_string()})).await;
    }
    for _ in 0..10 {
        assert_eq!(alice.receive().await["type"], "subscribed");
    }
    let all: BTreeSet<String> = rooms.into_iter().collect();
    assert_eq!(stored(&stack, &id).await, [all.clone(), all]);
}

#[tokio::test]
async fn after_subscribed_every_message_arrives() {
    let pair = async || {
        let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
        for round in 0..20 {
            let room = unique("room");
            subscribed(&mut bob, &[&room]).await;
            let receipt = alice.publish(&[&room], json!(round)).await;
            assert_receipt(&receipt, &receipt["id"], &[(&room, [1, 0, 0])]);
            assert_eq!(bob.receive().await["message"], round);
            assert_eq!(unsubscribe(&mut bob, &[&room]).await["type"], "unsubscribed");
        }
    };
    join_all((0..10).map(|_| pair())).await;
}

#[tokio::test]
async fn whatever_has_a_higher_offset_than_subscribed_says_arrives_though_it_was_sent_at_the_same_time() {
    const MESSAGES: u64 = 6;
    let pair = async |turn: u64| {
        let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
        let room = unique("room");
        let begin = Notify::new();
        let speaking = async {
            for number in 1..=MESSAGES {
                if number == turn {
                    begin.notify_one();
                }
                alice.publish(&[&room], json!(number)).await;
            }
        };
        let listening = async {
            begin.notified().await;
            bob.send(json!({"action": "subscribe", "sessions": [room], "id": "s"})).await;
            let (mut heard, mut stands) = (Vec::new(), None);
            // The rows are there before the answer is.
            while stands.is_none_or(|stands| stands < MESSAGES && heard.last() != Some(&MESSAGES)) {
                let frame = bob.receive().await;
                match frame["type"].as_str() {
                    Some("subscribed") => stands = Some(position(&frame["sessions"][0]).1),
                    _ => heard.push(frame["offset"].as_u64().unwrap_or_else(|| panic!("{frame}"))),
                }
            }
            (heard, stands.expect("an answer"))
        };
        let ((), (heard, stands)) = join(speaking, listening).await;
        let owed: Vec<u64> = (stands + 1..=MESSAGES).collect();
        assert!(heard.ends_with(&owed), "{heard:?} after {stands}");
        stands
    };
    let stood = join_all((0..20).map(|number| pair(1 + number % MESSAGES))).await;
    assert!(stood.iter().any(|stands| (1..MESSAGES).contains(stands)), "none came in between: {stood:?}");
}

/// The fault tests have the two meet at each step; here they meet where they will.
#[tokio::test]
async fn a_connection_that_ends_while_it_subscribes_leaves_nothing() {
    let stack = Stack::new().await;
    let membership = stack.name_of("membership").await;
    let body = json!({"action": "subscribe", "sessions": names(30), "id": "s"}).to_string();
    let leave = async |delay: u64| {
        let alice = Client::new("alice").await;
        let id = stack.connection_id_of(&alice).await;
        // By invocation, whose end the test sees: only then is there nothing that could still write.
        let mut subscribe = event("subscribe");
        subscribe["requestContext"]["connectionId"] = json!(id);
        subscribe["body"] = json!(body);
        drop(alice);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let answer = stack.invoke(&membership, &subscribe).await;
        assert_eq!(answer.function_error, None, "{}", answer.payload);
        stack.wait_until_nothing_is_left(&id).await;
    };
    join_all((0..12).map(|number| leave(number * 20))).await;
}
