//! One message to a thousand sockets, which belong to its session or are subscribed to it.

use futures::{StreamExt, future::join_all, stream};
use serde_json::json;

use crate::{
    client::{CROWD, Client, eventually},
    frames::assert_receipt,
    stack::{Stack, unique},
};

const SOCKETS: usize = 1_000;
/// Each handshake and each good-bye runs a function, and the local stack has a process for each that runs.
const AT_ONCE: usize = 40;

#[tokio::test]
async fn a_thousand_sockets_receive_a_message_exactly_once() {
    let stack = Stack::new().await;
    assert_heard_once(Client::in_session, async |session| stack.rows_in(session).await.len()).await;
}

#[tokio::test]
async fn a_thousand_sockets_that_are_subscribed_receive_a_message_exactly_once() {
    let stack = Stack::new().await;
    let subscribed = async |session: &str| {
        let mut client = Client::new("fan").await;
        let answer = client.ask(json!({"action": "subscribe", "sessions": [session]})).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        client
    };
    let rows = async |session: &str| stack.subscribers_of(session).await.len();
    assert_heard_once(subscribed, rows).await;
}

/// Each socket that `join` opens for a session hears what it is sent, and leaves none of its `rows`.
async fn assert_heard_once(join: impl AsyncFn(&str) -> Client, rows: impl AsyncFn(&str) -> usize) {
    let _alone = CROWD.lock().await;
    let session = unique("stadium");
    let mut crowd: Vec<Client> =
        stream::iter(0..SOCKETS).map(|_| join(&session)).buffer_unordered(AT_ONCE).collect().await;
    let mut speaker = Client::new("speaker").await;

    // A second copy of a message would come before the next one.
    for message in ["first", "second"] {
        let answer = speaker.publish(&[&session], json!(message)).await;
        assert_receipt(&answer, &answer["id"], &[(&session, [SOCKETS, 0, 0])]);
        for frame in join_all(crowd.iter_mut().map(Client::receive)).await {
            assert_eq!((&frame["message"], &frame["id"]), (&json!(message), &answer["id"]));
        }
    }

    while !crowd.is_empty() {
        join_all(crowd.drain(..AT_ONCE).map(Client::leave)).await;
        eventually("their rows to go", async || (rows(&session).await == crowd.len()).then_some(())).await;
    }
}
