//! Messages to more recipients than one function posts to: who hears them, and which functions share the work.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, eventually},
    frames::{assert_receipt, take_position},
    stack::{Stack, now_ms, unique},
};

const SOCKETS: usize = 1_500;
/// What a function of the local stack keeps of a message for itself, and the connections in a chunk.
const SPLIT: usize = 200;
/// The chunks of a message to all of them, and the functions that these are handed to at once. The last hundred recipients
/// fill none.
const CHUNKS: usize = 6;
const WORKERS: usize = 4;
/// Each connect and each disconnect runs a function, and the local stack has a process for each that runs.
const AT_ONCE: usize = 40;

#[tokio::test]
async fn fifteen_hundred_sockets_hear_each_message_once_whichever_functions_post_it() {
    let mut crowd = Crowd::gather().await;
    let (stadium, room) = (crowd.stadium.clone(), crowd.room.clone());

    // To their own session and to one that they are subscribed to, by a backend and over a socket.
    let own = crowd.hears(By::Backend, &stadium, SOCKETS).await;
    let subscribed = crowd.hears(By::Socket, &room, SOCKETS).await;
    let mut smaller = Vec::new();
    for (count, chunks) in [(SPLIT, 0), (SPLIT + 1, 0), (2 * SPLIT - 1, 0), (2 * SPLIT, 1)] {
        smaller.push((crowd.hears(By::Socket, &part(&room, count), count).await, chunks));
    }
    let (throttled, killed) = {
        let stack = Stack::new().await;
        let mut throttled = None;
        let send = async { throttled = Some(crowd.hears(By::Socket, &stadium, SOCKETS).await) };
        stack.without_room("deliver", Box::pin(send)).await;
        let killed = crowd.hears(By::BackendWhoseWorkersAreKilled, &stadium, SOCKETS).await;
        (throttled.expect("it was sent"), killed)
    };
    // A second copy of a message would come before the next one, and a log may be complete only then.
    for by in [By::Backend, By::Socket] {
        crowd.hears(by, &stadium, SOCKETS).await;
    }

    // Before anything fails: so many sockets that end at once are too much for the others' stack.
    crowd.leave().await;

    for message in [&own, &subscribed] {
        let work = crowd.work(message).await;
        assert!(work.is_shared() && work.failed == 0, "{message:?}: {work:?}");
        assert!(work.copies <= work.posted_again, "{work:?}");
    }
    for (message, chunks) in &smaller {
        let work = crowd.work(message).await;
        assert_eq!((work.chunks, work.failed), (*chunks, 0), "{message:?}: {work:?}");
        assert!(work.copies <= work.posted_again, "{work:?}");
    }
    let work = crowd.work(&throttled).await;
    assert!(work.is_shared() && work.failed == work.chunks, "{work:?}");
    assert!(work.copies <= work.posted_again, "{work:?}");
    assert!(work.cause.is_some_and(|cause| cause.starts_with("429 Too Many Requests")));
    // What was killed may have posted its chunk before, and does not say how often.
    let work = crowd.work(&killed).await;
    assert!(work.is_shared() && work.failed > 0, "{work:?}");
    assert!(work.cause.is_some_and(|cause| cause.starts_with("deliver failed (")));
}

/// How a message comes to the hub.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Socket,
    Backend,
    /// While they deliver it.
    BackendWhoseWorkersAreKilled,
}

/// A message that has arrived.
#[derive(Debug)]
struct Message {
    id: String,
    /// The function that has sent it.
    function: String,
    recipients: usize,
    began: u128,
}

/// How a message was shared out, by the logs.
#[derive(Debug)]
struct Work {
    /// What was handed to deliver.
    chunks: usize,
    /// Those of them that deliver did not answer for.
    failed: usize,
    /// What became of the first chunk that failed.
    cause: Option<String>,
    /// How often it was heard a second time, and how many posts of it were made again.
    copies: usize,
    posted_again: usize,
}

impl Work {
    /// That of a message to all. On a slow machine the function that has it does not wait for deliver to come to each chunk.
    fn is_shared(&self) -> bool {
        (WORKERS..=CHUNKS).contains(&self.chunks)
    }
}

/// The session that only the first so many of those in a room are subscribed to.
fn part(room: &str, count: usize) -> String {
    format!("{room}-{count}")
}

/// Sockets that hear the same sessions.
struct Crowd {
    stack: Stack,
    clients: Vec<Client>,
    speaker: Client,
    /// Their own session.
    stadium: String,
    /// All are subscribed to it.
    room: String,
    /// Every message until now.
    ids: Vec<String>,
    /// Those that were heard once more, as often as they were.
    copies: Vec<String>,
}

impl Crowd {
    async fn gather() -> Self {
        let (stack, speaker) = (Stack::new().await, Client::new("speaker").await);
        let (stadium, room) = (unique("stadium"), unique("room"));
        let clients = stream::iter(0..SOCKETS)
            .map(async |place| {
                let mut client = Client::in_session(&stadium).await;
                let smaller = [SPLIT, SPLIT + 1, 2 * SPLIT - 1, 2 * SPLIT];
                let smaller = smaller.into_iter().filter(|count| place < *count);
                let mut sessions = vec![room.clone()];
                sessions.extend(smaller.map(|count| part(&room, count)));
                let frame = json!({"action": "subscribe", "sessions": sessions});
                let answer = client.ask(frame).await;
                assert_eq!(answer["type"], "subscribed", "{answer}");
                client
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        Self { stack, clients, speaker, stadium, room, ids: Vec::new(), copies: Vec::new() }
    }

    /// Sends a message that the first so many hear, and no other; the receipt says so.
    async fn hears(&mut self, by: By, session: &str, count: usize) -> Message {
        let (id, began, heard) = (unique("message"), now_ms(), AtomicUsize::new(0));
        let function = if by == By::Socket { "send-message" } else { "publish" };
        let function = self.stack.name_of(function).await;
        self.ids.push(id.clone());
        let mut request = json!({"sessions": [session], "message": 1, "id": id});
        let send = async {
            if by == By::Socket {
                request["action"] = json!("sendMessage");
                return self.speaker.ask(request).await;
            }
            self.stack.invoke(&function, &request).await.payload
        };
        let hear = async |client| {
            let found = hear(client, session, &self.ids).await;
            heard.fetch_add(1, Ordering::Relaxed);
            found
        };
        let kill = async {
            if by == By::BackendWhoseWorkersAreKilled {
                let some = async || (heard.load(Ordering::Relaxed) > SPLIT).then_some(());
                eventually("some to hear it", some).await;
                assert!(self.stack.kill("deliver").await > 0, "no function was at it");
            }
        };
        let listeners = self.clients.iter_mut().take(count);
        let ((mut receipt, ()), heard) = join(join(send, kill), join_all(listeners.map(hear))).await;

        assert_receipt(&receipt, &json!(id), &[(session, [count, 0, 0])]);
        let position = take_position(&mut receipt["sessions"][0]);
        for (copies, found) in heard {
            self.copies.extend(copies);
            assert_eq!(found, position);
        }
        Message { id, function, recipients: count, began }
    }

    /// What the function that has sent a message tells of it, and deliver.
    async fn work(&self, message: &Message) -> Work {
        let Message { id, function, recipients, began } = message;
        let line = async || {
            let lines = self.stack.log_lines(function, &format!("{recipients}.0")).await;
            let at = |line: &Value| line["_aws"]["Timestamp"].as_u64().map_or(0, u128::from);
            let later = lines.iter().map(|line| parsed(line));
            let later = later.filter(|line| line["FanoutSize"] == metric(*recipients) && at(line) >= *began);
            later.min_by_key(at)
        };
        let metrics = eventually("the message's metrics", line).await;
        let lines: Vec<Value> =
            self.stack.wait_for_log_lines(function, id, 1).await.iter().map(|line| parsed(line)).collect();
        let line = |message: &str| lines.iter().find(|line| line["message"] == message);
        let sent = line("sent").expect("a line that says so");
        let handed = line("chunks failed");
        assert_eq!(lines.len(), 1 + usize::from(handed.is_some()), "{lines:?}");
        let mut posted_again = number(&sent["retries"]);
        let (chunks, failed) = (number(&sent["chunks"]), handed.map_or(0, |line| number(&line["count"])));
        for (name, count) in [("Chunks", chunks), ("ChunksFailed", failed)] {
            let expected = if count > 0 { metric(count) } else { Value::Null };
            assert_eq!(metrics[name], expected, "{metrics}");
        }

        let deliver = self.stack.name_of("deliver").await;
        let delivered = self.stack.wait_for_log_lines(&deliver, id, chunks - failed).await;
        let delivered: Vec<Value> = delivered.iter().map(|line| parsed(line)).collect();
        assert_eq!(delivered.len(), chunks - failed, "{delivered:?}");
        for line in &delivered {
            assert_eq!(
                (&line["message"], number(&line["connections"])),
                (&json!("delivered"), SPLIT),
                "{line}"
            );
            // What deliver does not reach soon, it leaves to the function that has the message.
            let left = number(&line["left"]);
            assert_eq!(number(&line["delivered"]) + left, SPLIT, "{line}");
            posted_again += left;
        }
        let cause = handed.map(|line| line["error"].as_str().expect("a cause").to_owned());
        let copies = self.copies.iter().filter(|copy| *copy == id).count();
        Work { chunks, failed, cause, copies, posted_again }
    }

    async fn leave(&mut self) {
        while !self.clients.is_empty() {
            let some = self.clients.len().min(AT_ONCE);
            join_all(self.clients.drain(..some).map(Client::leave)).await;
            eventually("their rows to go", async || {
                (self.stack.rows_in(&self.stadium).await.len() == self.clients.len()).then_some(())
            })
            .await;
        }
        eventually("their subscriptions to go", async || {
            self.stack.subscribers_of(&self.room).await.is_empty().then_some(())
        })
        .await;
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
}

/// 0 where there is none.
fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_default().try_into().expect("a count")
}

/// As it stands among the metrics.
fn metric(count: usize) -> Value {
    json!(f64::from(u32::try_from(count).expect("a count")))
}

/// Reads up to the last of these messages. Returns those before it that have come once more, and where it stands.
async fn hear(client: &mut Client, session: &str, ids: &[String]) -> (Vec<String>, (String, u64)) {
    let mut copies = Vec::new();
    loop {
        let mut frame = client.receive().await;
        let id = frame["id"].as_str().expect("a message has an id").to_owned();
        if ids.last() == Some(&id) {
            assert_eq!(frame["session"], session);
            return (copies, take_position(&mut frame));
        }
        assert!(ids.contains(&id), "{frame}");
        copies.push(id);
    }
}

/// As docs/operations.md has it for a session that everybody joins.
#[tokio::test]
async fn a_message_to_sixteen_parts_of_one_session_is_one_message() {
    let stack = Stack::new().await;
    let live = unique("live");
    let names: Vec<String> = (0..16).map(|part| format!("{live}~{part}")).collect();
    let mut clients: Vec<Client> = stream::iter(names.iter().flat_map(|name| [name; 3]))
        .map(|name| async move { Client::through(name, &format!("?session_id={name}")).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut ids, mut copies, mut retries) = (Vec::new(), 0, 0);
    let mut publish = async |function: &str| {
        let id = unique("kick-off");
        ids.push(id.clone());
        let request = json!({"sessions": names, "message": "kick-off", "id": id});
        let answer = stack.invoke(function, &request).await.payload;
        let counts: Vec<_> = names.iter().map(|name| (name.as_str(), [3, 0, 0])).collect();
        assert_receipt(&answer, &json!(id), &counts);
        for client in &mut clients {
            let session = client.session.clone();
            copies += hear(client, &session, &ids).await.0.len();
        }
        let sent = parsed(&stack.wait_for_log_lines(function, &id, 1).await.remove(0));
        retries += number(&sent["retries"]);
        number(&sent["chunks"])
    };
    let deployed = stack.name_of("publish").await;
    assert_eq!(publish(&deployed).await, 0);
    // The same where nearly all of it is handed out: two of three recipients in each part, but for where the first two are.
    stack
        .with_copy("publish", "publish", &[("FANOUT_SPLIT", "2")], async |copy| {
            assert!(publish(copy).await >= 15);
            assert_eq!(stack.log_lines(copy, "chunks failed").await, Vec::<String>::new());
        })
        .await;
    // A second copy of a message would come before the next one.
    publish(&deployed).await;
    assert!(copies <= retries, "{copies} copies of messages that were posted again {retries} times");
}
