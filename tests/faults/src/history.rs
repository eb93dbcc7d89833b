//! History: order, numbers and completeness while senders die, answers are lost, readers meet writers, and time passes.

mod answers;
mod expiry;
mod model;
mod pages;
mod sealing;
mod sending;
mod writing;

use std::{sync::Arc, time::Duration};

use harness::{Answer, Call, Function, HISTORY_SECONDS, Messages, Operation, World, over_socket};
use hub::{
    aws::sdk_config,
    config::Variables,
    history::{History, Range, Reading},
    protocol::{Position, SessionId},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{AMPLE, Hub, frame, name, now_ms, until};

/// The session whose history it is.
const ROOM: &str = "room";
/// That of what [`lay`] lays.
const EPOCH: &str = "k3f9q2xa";
const HOUR: i64 = 3600;
const SECOND: Duration = Duration::from_secs(1);
const THROTTLE: Answer = Answer::Error(400, "ProvisionedThroughputExceededException");

/// What stands at a number, with the seconds it has to live.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Message(i64),
    Void(i64),
    /// A message of another epoch.
    Foreign(i64),
    Nothing,
}

/// Stores a session's items from number 1 on, and their head. The last number was taken, and every message written, `age`
/// milliseconds ago.
fn lay(messages: &Messages, session: &str, slots: &[Slot], age: i64) {
    messages.put(&head(session, slots.len(), age));
    for (number, slot) in (1..).zip(slots) {
        let text = delivery(session, number, "");
        match *slot {
            Slot::Message(life) => messages.put(&message(session, number, EPOCH, &text, life, age)),
            Slot::Foreign(life) => messages.put(&message(session, number, "another1", &text, life, age)),
            Slot::Void(life) => {
                let mut item = message(session, number, EPOCH, &text, life, age);
                let attributes = item.as_object_mut().expect("an item is an object");
                attributes.retain(|name, _| name != "frame" && name != "written_at");
                attributes.insert("void".into(), json!({ "BOOL": true }));
                messages.put(&item);
            }
            Slot::Nothing => {}
        }
    }
}

fn head(session: &str, last: usize, age: i64) -> Value {
    let now = now_ms();
    json!({
        "session_id": { "S": session }, "offset": { "N": "0" }, "epoch": { "S": EPOCH }, "last": { "N": last.to_string() },
        "taken_at": { "N": (now - age).to_string() }, "taken_by": { "S": "another" },
        "keep_until": { "N": (now / 1000 + HOUR).to_string() }, "expires_at": { "N": (now / 1000 + 720 * HOUR).to_string() },
    })
}

fn message(session: &str, number: u64, epoch: &str, frame: &str, life: i64, age: i64) -> Value {
    json!({
        "session_id": { "S": session }, "offset": { "N": number.to_string() }, "epoch": { "S": epoch }, "frame": { "S": frame },
        "written_at": { "N": (now_ms() - age).to_string() }, "expires_at": { "N": (now_ms() / 1000 + life).to_string() },
    })
}

/// Removes everything of a session.
fn clear(messages: &Messages, session: &str) {
    messages.items(session).iter().for_each(|item| messages.delete(session, offset(item)));
}

/// A delivery, longer by `padding`.
fn delivery(session: &str, number: u64, padding: &str) -> String {
    format!(
        r#"{{"type":"message","id":"m-{number}","from":null,"message":"{padding}","sent_at":"2030-01-01T00:00:00.000Z","session":"{session}","epoch":"{EPOCH}","offset":{number}}}"#
    )
}

/// A delivery of so many bytes.
fn sized(session: &str, number: u64, bytes: usize) -> String {
    delivery(session, number, &"x".repeat(bytes - delivery(session, number, "").len()))
}

fn attribute<'a>(item: &'a Value, name: &str) -> &'a str {
    let value = item[name]["S"].as_str().or_else(|| item[name]["N"].as_str());
    value.unwrap_or_else(|| panic!("{name} should be a text or a number: {item}"))
}

fn number(item: &Value, name: &str) -> i64 {
    attribute(item, name).parse().expect("a whole number")
}

fn offset(item: &Value) -> u64 {
    attribute(item, "offset").parse().expect("an offset")
}

/// What stands at each number of the current epoch: a message's frame, or `None` for a void.
fn numbers(world: &World, session: &str) -> Vec<(u64, Option<String>)> {
    let items = world.messages.items(session);
    let epoch = attribute(items.first().expect("a head"), "epoch");
    let current = items.iter().skip(1).filter(|item| attribute(item, "epoch") == epoch);
    current.map(|item| (offset(item), item["frame"]["S"].as_str().map(str::to_owned))).collect()
}

/// The session's last number.
fn last(world: &World, session: &str) -> u64 {
    attribute(world.messages.items(session).first().expect("a head"), "last").parse().expect("a number")
}

/// The session that a call at the table of messages is about.
fn session(call: &Call) -> &str {
    let session = ["/Key/session_id/S", "/Item/session_id/S", "/ExpressionAttributeValues/:session/S"];
    session.iter().find_map(|path| call.input.pointer(path)?.as_str()).unwrap_or_default()
}

/// Whether a call writes a message.
fn writes(call: &Call) -> bool {
    call.operation == Operation::PutItem && !seals(call)
}

/// Whether a call writes a void.
fn seals(call: &Call) -> bool {
    !call.input["Item"]["void"].is_null()
}

fn calls(world: &World, which: impl Fn(&Call) -> bool) -> usize {
    world.messages.calls().iter().filter(|call| which(call)).count()
}

/// Holds such calls back until the test gives a permit for each.
pub(crate) fn hold(world: &World, which: impl Fn(&Call) -> bool + Send + 'static) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    world.messages.script(move |call, _| if which(call) { Answer::Serve.once(&held) } else { Answer::Serve });
    gate
}

/// The history from within this process, as one more function would use it.
pub(crate) fn client(world: &World) -> History {
    client_keeping(world, HISTORY_SECONDS)
}

/// The same with another time that messages are kept.
fn client_keeping(world: &World, seconds: u64) -> History {
    let mut variables = world.environment();
    variables.retain(|(name, _)| *name != "HISTORY_SECONDS");
    variables.push(("HISTORY_SECONDS", seconds.to_string()));
    let variables = Variables::of(&variables);
    let sdk = sdk_config(&variables).expect("an environment for the SDK");
    History::new(&variables, &sdk).expect("an environment for the history").expect("a table")
}

fn named(session: &str) -> SessionId {
    SessionId::parse(session).expect("a session id")
}

pub(crate) async fn append(history: &History, session: &str) -> Position {
    let text = |position: &Position| delivery(session, position.offset, "");
    history.append(&named(session), text, || ()).await.expect("a number")
}

async fn read_after(history: &History, session: &str, epoch: &str, offset: u64, limit: usize) -> Reading {
    let after = Position { epoch: epoch.to_owned(), offset };
    history.read(&named(session), &Range::After(after, limit)).await.expect("an answer")
}

/// The offsets of an answer's messages.
fn offsets(reading: &Reading) -> Vec<u64> {
    let offset = |text: &str| serde_json::from_str::<Value>(text).ok()?["offset"].as_u64();
    reading.messages.iter().map(|frame| offset(frame.get()).expect("an offset")).collect()
}

/// The history function in a world of its own, and a connection of the session that asks.
struct Reader {
    world: World,
    function: Function,
}

impl Reader {
    async fn start() -> Self {
        let world = World::start().await.with_history();
        world.table.put(&name(ROOM, 0), harness::Row::aged(ROOM, 60));
        let function = Function::start("history", &world).await;
        Self { world, function }
    }

    async fn ask(&self, rest: Value) -> Value {
        ask(&self.function, rest).await
    }
}

/// The answer to a question about the room by one of its connections.
async fn ask(function: &Function, rest: Value) -> Value {
    frame(&function.invoke(question(rest), AMPLE).await)
}

fn question(rest: Value) -> String {
    over_socket(&name(ROOM, 0), &asked(rest).to_string())
}

fn asked(mut rest: Value) -> Value {
    for (key, value) in [("action", "history"), ("session", ROOM), ("id", "h-1")] {
        if rest.get(key).is_none() {
            rest[key] = value.into();
        }
    }
    rest
}

/// An answer's offsets, `more` and `complete`.
fn summary(answer: &Value) -> (Vec<u64>, bool, Option<bool>) {
    assert_eq!((&answer["type"], &answer["id"]), (&"history".into(), &"h-1".into()), "{answer}");
    let messages = answer["messages"].as_array().expect("a list");
    let offsets = messages.iter().map(|message| message["offset"].as_u64().expect("an offset")).collect();
    (offsets, answer["more"].as_bool().expect("true or false"), answer["complete"].as_bool())
}

/// Kills the sender of a message between its number and its write.
async fn dies_before_writing(hub: &mut Hub) {
    let before = calls(&hub.world, writes);
    let gate = hold(&hub.world, writes);
    tokio::select! {
        outcome = hub.send(&[ROOM], AMPLE) => panic!("it should be dead: {outcome:?}"),
        () = until(|| calls(&hub.world, writes) > before) => {}
    }
    let successor = Function::start("send-message", &hub.world).await;
    drop(std::mem::replace(&mut hub.function, successor));
    drop(gate);
    hub.world.messages.script(|_, _| Answer::Serve);
}
