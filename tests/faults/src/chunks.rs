//! Recipients that are handed over to workers: whatever becomes of the workers, each recipient is posted to and counted once.

mod answers;
mod crashes;
mod expiry;
mod model;
mod pace;
mod reading;
mod split;
mod time;
mod trouble;
mod wire;
mod worker;

use std::{collections::HashSet, ops::RangeInclusive, time::Duration};

use harness::{Answer, Invoke, Row, World, over_socket};
use serde_json::{Value, json};

use crate::support::{AMPLE, Hub, ID, SENDER, counted, frame, index, line, log, totals};

const ROOM: &str = "room";
/// Recipients that the planner posts to itself before it hands any out, and as many as a chunk has.
const SPLIT: usize = 200;
const WORKERS: usize = 4;
const THROTTLE: Answer = Answer::Error(429, "LimitExceededException");
/// What a backend has publish send to the room.
const TO_ROOM: &str = r#"{"sessions":["room"],"message":"hello","id":"m-1"}"#;

/// A world with workers, and no bound of posts.
async fn world() -> World {
    World::start().await.with_workers(SPLIT, WORKERS, 0)
}

async fn hub() -> Hub {
    Hub::start(world().await).await
}

/// A hub with a room of the recipients that the planner keeps, and of so many chunks.
async fn hub_of(chunks: usize) -> Hub {
    let hub = hub().await;
    hub.crowd(ROOM, SPLIT * (1 + chunks));
    hub
}

/// Whether a recipient of a room that is read in order is handed out.
fn is_handed_out(connection: &str) -> bool {
    (SPLIT..usize::MAX).contains(&index(connection))
}

/// Every Invoke so far, each with a chunk as it must be.
fn handed_out(hub: &Hub) -> Vec<Invoke> {
    let invokes = hub.world.lambda.invokes();
    check_chunks(&hub.world, &invokes, SPLIT);
    invokes
}

/// Whether the machine is so busy that the planner's patience with reading or with workers may end: then it posts more itself,
/// and hands out less.
fn is_busy(hub: &Hub) -> bool {
    hub.pauses.longest() > Duration::from_millis(100)
}

/// How many chunks were handed out, which must be so many unless the machine is busy.
fn hands_out(hub: &Hub, chunks: RangeInclusive<usize>) -> usize {
    let count = hub.world.lambda.invokes().len();
    let is_right = chunks.contains(&count) || count < *chunks.start() && is_busy(hub);
    assert!(is_right, "{count} chunks instead of {chunks:?}");
    count
}

/// Looks at the chunks of one message: each is full, of one session and kind, and of no connection that is in another.
fn check_chunks(world: &World, invokes: &[Invoke], size: usize) {
    let mut known = HashSet::new();
    for Invoke { chunk, .. } in invokes {
        let connections = chunk["connections"].as_array().expect("a list");
        assert_eq!((&chunk["v"], connections.len()), (&json!(1), size), "{chunk}");
        let session = chunk["session"].as_str().expect("a text");
        let frame: Value = serde_json::from_str(chunk["frame"].as_str().expect("a text")).expect("JSON");
        assert_eq!((&frame["type"], &frame["session"]), (&json!("message"), &chunk["session"]));
        let table = match chunk["kind"].as_str() {
            Some("connection") => &world.table,
            Some("subscription") => &world.subscriptions,
            other => panic!("{other:?} is no kind"),
        };
        for connection in connections {
            let id = connection[0].as_str().expect("a text");
            // It may have been pruned since.
            let sessions = table.sessions(id);
            assert!(
                sessions.is_empty() || sessions.contains(session),
                "{id} is not in {session}: {}",
                chunk["kind"]
            );
            assert!(known.insert((session, id)), "{id} is in two chunks");
        }
    }
}

/// Sends to the room, which must be answered with these counts.
async fn sends(hub: &Hub, expected: [usize; 3]) {
    let outcome = hub.send(&[ROOM], AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), expected.map(|count| count as u64));
}

/// The log lines of the planner, and those of every worker there was, none of which has a word that it must not have.
async fn logs(hub: Hub) -> (Vec<Value>, Vec<Vec<Value>>) {
    let outputs = hub.world.lambda.finish().await;
    let workers = outputs.iter().map(log).collect();
    (hub.log(), workers)
}

/// Ends a hub that sent one message, of which so many chunks were handed out and so many came back.
async fn counts_chunks(hub: Hub, chunks: usize, returned: usize) {
    let (planner, _) = logs(hub).await;
    assert_eq!(line(&planner, "sent").get("chunks"), (chunks > 0).then(|| json!(chunks)).as_ref());
    assert_eq!(
        ["Chunks", "ChunksFailed"].map(|metric| counted(&planner, metric)),
        [chunks, returned].map(|count| count as f64)
    );
    if returned > 0 {
        let line = line(&planner, "chunks failed");
        assert_eq!((&line["level"], &line["count"]), (&json!("WARN"), &json!(returned)), "{line}");
        assert!(line["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
    } else {
        assert!(planner.iter().all(|line| line["message"] != "chunks failed"), "{planner:#?}");
    }
}

/// How often the recipients of the room were posted to, and how often the gateway took it: those that were not handed out,
/// and those that were.
fn each_was_posted_to(hub: &Hub, kept: (u32, u32), handed_out: (u32, u32)) {
    let posts = hub.posts();
    for connection in hub.world.table.connections().iter().filter(|one| *one != SENDER) {
        let expected = if is_handed_out(connection) { handed_out } else { kept };
        assert_eq!(posts.get(connection), Some(&expected), "{connection}");
    }
}

/// The answer of a worker that has delivered to a whole chunk, with changes.
fn answer(changes: &Value) -> String {
    let none = json!({ "count": 0, "first_cause": null });
    let mut answer = json!({
        "delivered": SPLIT, "gone": 0, "failed": 0, "left": [], "retries": 0, "throttled": 0, "pruned": 0,
        "delivery_failures": none, "prune_failures": none,
    });
    let members = answer.as_object_mut().expect("an object");
    members.extend(changes.as_object().expect("changes are an object").clone());
    answer.to_string()
}

/// A chunk of such connections as the planner would hand it to a worker.
fn chunk(connections: &[String], budget_ms: u64, rate: u64) -> Value {
    let row = Row::aged(ROOM, 60);
    let connections: Vec<_> =
        connections.iter().map(|id| json!([id, row.connected_at, row.expires_at])).collect();
    let frame = json!({
        "type": "message", "id": ID, "from": "senders", "message": "hello", "sent_at": "2030-01-01T00:00:00.000Z",
        "session": ROOM,
    });
    json!({
        "v": 1, "session": ROOM, "kind": "connection", "frame": frame.to_string(), "sender": SENDER,
        "connections": connections, "budget_ms": budget_ms, "rate": rate,
    })
}

/// A sender's frame with any content.
fn saying(message: &Value, sessions: &[&str]) -> String {
    let frame = json!({ "action": "sendMessage", "sessions": sessions, "message": message, "id": ID });
    over_socket(SENDER, &frame.to_string())
}
