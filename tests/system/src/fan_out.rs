//! One message to a thousand sockets.

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
    let _alone = CROWD.lock().await;
    let stack = Stack::new().await;
    let session = unique("stadium");
    let mut crowd: Vec<Client> = stream::iter(0..SOCKETS)
        .map(|_| Client::in_session(&session))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
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
        eventually("their rows to go", async || {
            (stack.rows_in(&session).await.len() == crowd.len()).then_some(())
        })
        .await;
    }
}
