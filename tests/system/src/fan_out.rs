//! One message to a thousand sockets, each of which belongs to a session and is subscribed to another.

use futures::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};

use crate::{
    client::{CROWD, Client, eventually},
    frames::assert_receipt,
    stack::{Stack, unique},
};

const SOCKETS: usize = 1_000;
/// Each connect and each disconnect runs a function, and the local stack has a process for each that runs.
const AT_ONCE: usize = 40;

#[tokio::test]
async fn a_thousand_sockets_hear_a_message_once_in_their_session_and_in_one_that_they_are_subscribed_to() {
    let _alone = CROWD.lock().await;
    let stack = Stack::new().await;
    let (stadium, room) = (unique("stadium"), unique("room"));
    let join = async || {
        let mut client = Client::in_session(&stadium).await;
        let answer = client.ask(json!({"action": "subscribe", "sessions": [room]})).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        client
    };
    let mut crowd: Vec<Client> =
        stream::iter(0..SOCKETS).map(|_| join()).buffer_unordered(AT_ONCE).collect().await;
    let mut speaker = Client::new("speaker").await;

    // A second copy of a message would come before the next one.
    let (mut ids, mut copies, mut retries) = (Vec::new(), 0, 0);
    let log = stack.name_of("send-message").await;
    for session in [&stadium, &room, &stadium] {
        let id = unique("message");
        let frame = json!({"action": "sendMessage", "sessions": [session], "message": 1, "id": id});
        assert_receipt(&speaker.ask(frame).await, &json!(id), &[(session, [SOCKETS, 0, 0])]);
        ids.push(id.clone());
        let heard = join_all(crowd.iter_mut().map(|client| hear(client, session, &ids))).await;
        copies += heard.iter().sum::<u64>();
        let line = stack.wait_for_log_lines(&log, &id, 1).await.remove(0);
        let line: Value = serde_json::from_str(&line).expect("a line is JSON");
        retries += line["retries"].as_u64().unwrap_or_else(|| panic!("{line}"));
    }
    assert!(copies <= retries, "{copies} copies of messages that were posted again {retries} times");

    while !crowd.is_empty() {
        join_all(crowd.drain(..AT_ONCE).map(Client::leave)).await;
        eventually("their rows to go", async || {
            let rows = (stack.rows_in(&stadium).await.len(), stack.subscribers_of(&room).await.len());
            (rows == (crowd.len(), crowd.len())).then_some(())
        })
        .await;
    }
}

/// Reads up to the last of these messages, and says how many copies of those before it have come.
async fn hear(client: &mut Client, session: &str, ids: &[String]) -> u64 {
    for copies in 0.. {
        let frame = client.receive().await;
        let id = frame["id"].as_str().expect("a message has an id").to_owned();
        if ids.last() == Some(&id) {
            assert_eq!(frame["session"], session);
            return copies;
        }
        assert!(ids.contains(&id), "{frame}");
    }
    unreachable!("there is no end to counting")
}
